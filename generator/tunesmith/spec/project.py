"""The `project` section: what the repository is called and who owns it."""

import keyword
import sys
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.spec import stacks
from tunesmith.spec.section import Section

# What requirements are imported as, where it is not their own name, and folders of the repository.
_OTHER_NAMES = frozenset(
    [
        "attr",
        "dateutil",
        "google",
        "multipart",
        "pkg_resources",
        "sklearn",
        "vllm",
        "yaml",
        "tunesmith",
        "tunesmith_runtime",
        "tests",
        "src",
        "vendor",
        "configs",
        "docs",
        "data",
        "runs",
    ]
)


def _taken(package: str) -> bool:
    """Whether importing `package` would no longer find what a generated repository needs."""
    installed = {name.lower().replace("-", "_") for stack in stacks.names() for name in stacks.read(stack).versions}
    return package in sys.stdlib_module_names or package in _OTHER_NAMES or package in installed


License = Literal["apache-2.0", "mit", "proprietary"]


class Project(Section):
    """What the repository is called and who owns it."""

    name: Annotated[
        str,
        Field(
            max_length=60,
            description="Name of the repository and of the served model: lower-case words joined by hyphens. "
            "The Python package takes the same name with underscores.",
            examples=["support-assistant"],
        ),
    ]
    description: Annotated[
        str,
        Field(max_length=10_000, description="What the model is for; shown in the README and in pyproject.toml."),
    ]
    owner: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            description="Person or organisation named in LICENSE and pyproject.toml.",
        ),
    ] = "The project's authors"
    license: Annotated[License, Field(description="Licence of the repository's code.")] = "proprietary"

    @field_validator("name")
    @classmethod
    def _is_a_package_name(cls, name: str) -> str:
        package = name.replace("-", "_")
        words = name.split("-")
        if not all(word.isascii() and word.isalnum() and word == word.lower() for word in words):
            raise ValueError(
                "must be lower-case letters and digits in words joined by single hyphens, such as 'support-assistant'"
            )
        if not name[0].isalpha():
            raise ValueError("must begin with a letter, since it becomes a Python package name")
        if keyword.iskeyword(package) or keyword.issoftkeyword(package):
            raise ValueError(f"becomes the package {package!r}, which is a Python keyword; choose another name")
        if _taken(package):
            raise ValueError(
                f"becomes the package {package!r}, which would hide the module of that name; choose another name"
            )
        return name

    @property
    def package(self) -> str:
        """The Python package's name."""
        return self.name.replace("-", "_")
