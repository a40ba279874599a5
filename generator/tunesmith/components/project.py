"""What every repository has whatever its pipeline: README, licence, build and lint settings, Makefile."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith import __version__
from tunesmith.components.part import Copied, Output, Part, Rendered, Stage, Target, Variable
from tunesmith.resources import TEMPLATES
from tunesmith.spec.resolve import Resolved
from tunesmith.spec.schema import SCHEMA_FILE

# Beside what the stages' own tests need.
_DEVELOPMENT = ("mypy", "pre-commit", "pytest", "ruff", "types-pyyaml")


class FrontPage(NamedTuple):
    """What README and CONTRIBUTING see."""

    name: str
    description: str
    package: str
    python: str


class License(NamedTuple):
    """What the licence sees."""

    owner: str


class Overview(NamedTuple):
    """What the pipeline's guide and AGENTS see.

    Attributes:
        has_rewards: Whether `make smoke` is judged by rewards.
        serves_with_vllm: Whether the server is vLLM, which is added to the environment where it is wanted.
    """

    package: str
    python: str
    stack: str
    tool_version: str
    trains: str
    method: str
    has_rewards: bool
    serves_with_vllm: bool
    is_distributed: bool
    stages: list[Stage]
    environment: list[Variable]


class MakefileShape(NamedTuple):
    """What the Makefile sees."""

    package: str
    stages: list[str]
    targets: list[Target]


class Build(NamedTuple):
    """What pyproject.toml sees.

    Attributes:
        summary: The description on one line.
        untyped: Modules that mypy does not follow.
    """

    name: str
    summary: str
    owner: str
    package: str
    python: str
    requirements: list[str]
    development: list[str]
    untyped: list[str]


class Constraints(NamedTuple):
    """What constraints.txt sees: every pin of the stack, vLLM's where it serves."""

    stack: str
    pins: list[str]


class Environment(NamedTuple):
    """What .env.example sees."""

    variables: list[Variable]


def outputs(resolved: Resolved, parts: Sequence[Part]) -> Iterator[Output]:
    """README, licence, build and lint settings, Makefile."""
    project, stack, vllm = resolved.project, resolved.stack, resolved.serve.engine == "vllm"
    stages = [stage for part in parts for stage in part.stages]
    targets = [target for part in parts for target in part.targets]
    variables = [variable for part in parts for variable in part.environment]
    page = FrontPage(project.name, project.description, resolved.package, stack.python)
    overview = Overview(
        package=resolved.package,
        python=stack.python,
        stack=stack.name,
        tool_version=__version__,
        trains=f"{resolved.what_is_trained} {'for' if resolved.adapts else 'of'}",
        method=resolved.method_name,
        has_rewards=resolved.has_reference,
        serves_with_vllm=vllm,
        is_distributed=resolved.is_distributed,
        stages=stages,
        environment=variables,
    )
    makefile = MakefileShape(resolved.package, [stage.name for stage in stages], targets)
    pins = {**stack.versions, **(stack.serve if vllm else {})}
    constraints = Constraints(stack.name, [f"{name}=={version}" for name, version in sorted(pins.items())])
    build = Build(
        name=project.name,
        summary=" ".join(project.description.split()),
        owner=project.owner,
        package=resolved.package,
        python=stack.python,
        requirements=sorted({name for part in parts for name in part.requirements}),
        development=sorted({*_DEVELOPMENT, *(name for part in parts for name in part.development)}),
        untyped=sorted({name for part in parts for name in part.untyped}),
    )
    yield Rendered("project/readme", "README.md", "README.md.j2", page, "once")
    yield Rendered("project/contributing", "CONTRIBUTING.md", "CONTRIBUTING.md.j2", page, "once")
    if project.license == "apache-2.0":
        yield Copied("project/license", "LICENSE", TEMPLATES / "LICENSE.apache-2.0", "once")
    else:
        yield Rendered("project/license", "LICENSE", f"LICENSE.{project.license}.j2", License(project.owner), "once")
    yield Rendered("project/env", ".env.example", "env.example.j2", Environment(variables), "once")
    yield Rendered("project/pipeline", "docs/pipeline.md", "docs/pipeline.md.j2", overview)
    yield Rendered("project/agents", "AGENTS.md", "AGENTS.md.j2", overview)
    yield Rendered("project/makefile", "Makefile", "Makefile.j2", makefile)
    yield Rendered("project/pyproject", "pyproject.toml", "pyproject.toml.j2", build)
    yield Rendered("project/constraints", "constraints.txt", "constraints.txt.j2", constraints)
    yield Copied("project/gitignore", ".gitignore", TEMPLATES / "gitignore")
    yield Copied("project/gitattributes", ".gitattributes", TEMPLATES / "gitattributes")
    yield Copied("project/pre-commit", ".pre-commit-config.yaml", TEMPLATES / "pre-commit-config.yaml")
    yield Copied("project/schema", ".tunesmith/pipeline.schema.json", SCHEMA_FILE, "sealed")
