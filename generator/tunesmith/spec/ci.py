"""The `ci` section: continuous integration of the repository."""

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.spec.section import Section

Provider = Literal["github", "none"]


class Ci(Section):
    """Continuous integration of the repository."""

    provider: Annotated[
        Provider,
        Field(description="`github`: a GitHub Actions workflow that lints, tests and runs the smoke pipeline."),
    ] = "github"
