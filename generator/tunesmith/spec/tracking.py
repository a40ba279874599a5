"""The `tracking` section: where runs are recorded beside their own files."""

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tunesmith.spec.rule import Broken, no_effect
from tunesmith.spec.section import Section

if TYPE_CHECKING:
    from tunesmith.spec.resolve import Resolved

Provider = Literal["none", "mlflow", "wandb"]


class Tracking(Section):
    """Where runs are recorded beside their own files."""

    provider: Annotated[
        Provider,
        Field(description="`mlflow`: a local database or a server; `wandb`: Weights & Biases, or its offline files."),
    ] = "none"
    project: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9 _.-]*$",
            description="MLflow's experiment or W&B's project; `project.name` when left out.",
            examples=["support"],
        ),
    ] = None
    uri: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=1_000,
            pattern=r"^(sqlite:///|https?://)[^\s\x00-\x1f\x7f]+$",
            description="MLflow's database or server; `sqlite:///runs/mlflow.db` when left out. Credentials come from "
            "the environment.",
            examples=["https://mlflow.example.com"],
        ),
    ] = None

    @field_validator("uri")
    @classmethod
    def _holds_no_secret(cls, uri: str | None) -> str | None:
        if uri and "@" in urlsplit(uri).netloc:
            raise ValueError("must not hold a password; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD")
        return uri


def _project_of_no_tracker(resolved: "Resolved") -> Broken:
    if resolved.tracker is None and resolved.asked.tracking.project is not None:
        yield (
            ("tracking", "project"),
            "tracking.project has no effect with tracking.provider 'none'; remove it or choose 'mlflow' or 'wandb'",
        )


def _uri_of_no_mlflow(resolved: "Resolved") -> Broken:
    provider = resolved.tracking.provider
    if provider != "mlflow" and resolved.asked.tracking.uri is not None:
        yield (
            ("tracking", "uri"),
            f"tracking.uri has no effect with tracking.provider {provider!r}; remove it or choose 'mlflow'",
        )


RULES = (no_effect(_project_of_no_tracker), no_effect(_uri_of_no_mlflow))
