"""The `model` section: the base model and how it is loaded."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from tunesmith.spec.rule import Broken, Rule
from tunesmith.spec.section import Section

if TYPE_CHECKING:
    from tunesmith.spec.resolve import Resolved

_Keyword = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
_Text = Annotated[str, Field(max_length=10_000)]

# As in tunesmith_runtime.chat_template.
Thinking = Literal["drop", "keep", "train-empty"]
Dtype = Literal["bfloat16", "float16", "float32"]


class Model(Section):
    """The base model and how it is loaded."""

    base: Annotated[
        str,
        Field(
            min_length=1,
            max_length=500,
            pattern=r"^[^\x00-\x1f\x7f]+$",
            description="Repository on the Hugging Face Hub, or a local folder, of the instruct or chat model to tune. "
            "Its tokenizer must have a chat template.",
            examples=["Qwen/Qwen3-0.6B"],
        ),
    ]
    revision: Annotated[
        str,
        Field(
            min_length=1,
            max_length=200,
            pattern=r"^[\w./-]+$",
            description="Branch, tag or commit of the base model. A commit hash makes runs reproducible.",
        ),
    ] = "main"
    max_length: Annotated[
        int,
        Field(
            ge=16, le=1_048_576, description="Longest sequence trained on, in tokens: prompt and completion together."
        ),
    ] = 1024
    dtype: Annotated[
        Dtype,
        Field(description="Number type of the weights in training and serving; bfloat16 needs an Ampere GPU or newer."),
    ] = "bfloat16"
    chat_template_kwargs: Annotated[
        dict[_Keyword, bool | _Text],
        Field(
            max_length=50,
            description="Variables of the chat template, the same in training and serving.",
            examples=[{"enable_thinking": False}],
        ),
    ] = {}  # noqa: RUF012 — pydantic copies a default
    thinking: Annotated[
        Thinking | None,
        Field(
            description="What becomes of the text that a chat template puts between the prompt and an answer, such as "
            "an empty reasoning: `drop` makes it part of the prompt, so that the model answers at once; `keep` has it in "
            "the sequence, untrained, so that the model goes on to reason as it did; `train-empty` teaches the model to "
            "write it. Without it, training refuses such a template."
        ),
    ] = None


def _room_for_a_prompt(resolved: "Resolved") -> Broken:
    for section, value in (("evaluate", resolved.evaluate.max_new_tokens), ("serve", resolved.serve.max_new_tokens)):
        if value >= resolved.model.max_length:
            yield (
                (section, "max_new_tokens"),
                f"{section}.max_new_tokens {value} leaves no room for a prompt within model.max_length "
                f"{resolved.model.max_length}; lower it or raise model.max_length",
            )


RULES = (
    Rule(
        "TS204",
        "No room for a prompt",
        "`max_new_tokens` is the longest answer, and `model.max_length` the longest prompt and answer together.",
        _room_for_a_prompt,
    ),
)
