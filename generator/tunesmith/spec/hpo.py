"""The `hpo` section: the hyper-parameter search."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from tunesmith.spec.rule import Broken, no_effect
from tunesmith.spec.section import Section

if TYPE_CHECKING:
    from tunesmith.spec.resolve import Resolved


class LearningRateRange(Section):
    """Bounds of the learning rate, searched on a logarithmic scale."""

    low: Annotated[float, Field(gt=0, le=1, description="Smallest learning rate tried.")]
    high: Annotated[float, Field(gt=0, le=1, description="Largest learning rate tried.")]

    @model_validator(mode="after")
    def _is_a_range(self) -> "LearningRateRange":
        if self.low >= self.high:
            raise ValueError(f"must have low < high, not {self.low:g} and {self.high:g}")
        return self


class Hpo(Section):
    """The hyper-parameter search, an Optuna study."""

    enabled: Annotated[bool, Field(description="Whether the repository has a search stage.")] = True
    trials: Annotated[int, Field(ge=1, le=10_000, description="Trainings to try.")] = 20
    learning_rate: Annotated[
        LearningRateRange | None,
        Field(
            description="Bounds of the learning rate; a tenth to ten times the usual one when left out.",
            examples=[{"low": 1e-5, "high": 1e-3}],
        ),
    ] = None
    lora_ranks: Annotated[
        list[Annotated[int, Field(ge=1, le=1024)]] | None,
        Field(min_length=1, max_length=20, description="LoRA ranks to try; 8, 16 and 32 when left out."),
    ] = None


def _settings_of_no_search(resolved: "Resolved") -> Broken:
    given = [key for key in ("trials", "learning_rate", "lora_ranks") if key in resolved.asked.hpo.model_fields_set]
    if not resolved.hpo.enabled:
        for key in given:
            yield ("hpo", key), f"hpo.{key} has no effect with hpo.enabled false; remove it or enable the search"


def _ranks_of_no_adapter(resolved: "Resolved") -> Broken:
    if not resolved.adapts and resolved.asked.hpo.lora_ranks is not None:
        yield (
            ("hpo", "lora_ranks"),
            "hpo.lora_ranks has no effect with train.adapter 'full'; remove it or choose 'lora'",
        )


RULES = (no_effect(_settings_of_no_search), no_effect(_ranks_of_no_adapter))
