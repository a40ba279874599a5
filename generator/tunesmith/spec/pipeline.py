"""The whole spec."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.spec import data, evaluate, hpo, model, stacks, tracking, train
from tunesmith.spec.ci import Ci
from tunesmith.spec.data import Data
from tunesmith.spec.evaluate import Evaluate
from tunesmith.spec.hpo import Hpo
from tunesmith.spec.model import Model
from tunesmith.spec.project import Project
from tunesmith.spec.rule import Rule
from tunesmith.spec.section import Section
from tunesmith.spec.serve import Serve
from tunesmith.spec.tracking import Tracking
from tunesmith.spec.train import Train

API_VERSION = "tunesmith/v1"

# What sections may not say together. Each rule stands beside the section whose option it is reported at.
RULES: tuple[Rule, ...] = (
    *model.RULES,
    *data.RULES,
    *train.RULES,
    *hpo.RULES,
    *evaluate.RULES,
    *tracking.RULES,
)


class Spec(Section):
    """A language-model pipeline: what pipeline.yaml says, with every default filled in."""

    apiVersion: Annotated[Literal["tunesmith/v1"], Field(description="Version of this format.")]  # noqa: N815
    project: Annotated[Project, Field(description="What the repository is called and who owns it.")]
    stack: Annotated[
        str,
        Field(
            description="Tested set of pinned versions that the repository installs.",
            json_schema_extra={"enum": stacks.names()},
        ),
    ]
    model: Annotated[Model, Field(description="The base model and how it is loaded.")]
    data: Annotated[Data, Field(description="Where rows come from and how they are split.")]
    train: Annotated[
        Train, Field(description="Method, adapter, hyper-parameters and how they are spread over GPUs.")
    ] = Train()
    hpo: Annotated[Hpo, Field(description="The hyper-parameter search.")] = Hpo()
    evaluate: Annotated[Evaluate, Field(description="What the tuned model is measured by.")] = Evaluate()
    tracking: Annotated[Tracking, Field(description="Where runs are recorded beside their own files.")] = Tracking()
    serve: Annotated[Serve, Field(description="The server that answers with the tuned model.")] = Serve()
    ci: Annotated[Ci, Field(description="Continuous integration of the repository.")] = Ci()

    @field_validator("stack")
    @classmethod
    def _is_known(cls, stack: str) -> str:
        if stack not in stacks.names():
            raise ValueError(f"must be one of {', '.join(stacks.names())}, not {stack!r}")
        return stack
