"""The `evaluate` section: what the tuned model is measured by."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from tunesmith.spec.rule import Broken, Rule
from tunesmith.spec.section import Section
from tunesmith.spec.train import PAIR_METHODS, REFERENCE_METHODS

if TYPE_CHECKING:
    from tunesmith.spec.resolve import Resolved

Metric = Literal["loss", "perplexity", "exact-match", "rouge-l", "bleu", "preference-accuracy", "reward-accuracy"]


class Evaluate(Section):
    """What the tuned model, and the base beside it, is measured by."""

    metrics: Annotated[
        list[Metric] | None,
        Field(
            min_length=1,
            description="`loss` and `perplexity` over the completion's tokens; `exact-match`, `rouge-l` and `bleu` "
            "of the generated answer; `preference-accuracy`: share of pairs whose chosen answer is likelier per token; "
            "`reward-accuracy`, with `dpo` and `kto`: share of pairs whose chosen answer gained more likelihood over the base "
            "than the rejected one. When left out: the first four; for preferences `preference-accuracy`, `reward-accuracy` (not with `orpo`), "
            "`exact-match` and `rouge-l`.",
            examples=[["loss"], ["exact-match", "bleu"], ["preference-accuracy"], ["reward-accuracy"]],
        ),
    ] = None
    max_examples: Annotated[
        int, Field(ge=1, le=1_000_000, description="Test rows used at most, the first by content hash.")
    ] = 500
    batch_size: Annotated[int, Field(ge=1, le=4096, description="Rows evaluated at once.")] = 16
    max_new_tokens: Annotated[int, Field(ge=1, le=131_072, description="Longest generated answer, in tokens.")] = 256

    @field_validator("metrics")
    @classmethod
    def _has_no_repeats(cls, metrics: list[Metric] | None) -> list[Metric] | None:
        given = metrics or []
        repeated = sorted({metric for metric in given if given.count(metric) > 1})
        if repeated:
            raise ValueError(f"names {', '.join(repeated)} more than once")
        return metrics


def _metrics_of_the_method(resolved: "Resolved") -> Broken:
    for index, metric in enumerate(resolved.evaluate.metrics):
        fitting = {"preference-accuracy": PAIR_METHODS, "reward-accuracy": REFERENCE_METHODS}.get(metric)
        if fitting is None or resolved.train.method in fitting:
            continue
        lacking = "a reference model" if resolved.pairs else "pairs of answers"
        yield (
            ("evaluate", "metrics", index),
            f"evaluate.metrics names {metric}, which needs {lacking}: train.method {resolved.train.method!r} has none; remove "
            f"it or choose {', '.join(map(repr, fitting[:-1]))} or {fitting[-1]!r}",
        )


RULES = (
    Rule(
        "TS218",
        "A metric that the method does not have",
        "`preference-accuracy` compares the two answers of each test row, which `sft` does not have. `reward-accuracy` is the "
        "share of rows whose chosen answer has the higher reward, for methods whose reward is what an answer gained over the "
        "base: `dpo` and `kto`.",
        _metrics_of_the_method,
    ),
)
