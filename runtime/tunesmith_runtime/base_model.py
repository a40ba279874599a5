"""What a base model's files say before its weights load, and what a later stage would refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from tunesmith_runtime.chat import Chat, Example
from tunesmith_runtime.errors import UserError, in_one_line

Engine = Literal["fastapi", "vllm"]

# The entries of generation_config.json that servers apply, and those that do not change an answer.
# Any other would make `generate()` answer in another way than the server does.
_EVERYWHERE = {"do_sample", "temperature", "top_k", "top_p", "repetition_penalty", "eos_token_id"}
APPLIED: dict[Engine, set[str]] = {
    "fastapi": _EVERYWHERE,
    "vllm": _EVERYWHERE | {"min_p", "presence_penalty", "frequency_penalty"},
}
HARMLESS = {
    "bos_token_id",
    "cache_implementation",  # where keys and values lie
    "max_length",
    "max_new_tokens",
    "pad_token_id",
    "transformers_version",
}


class BaseModel(Protocol):
    """What a training's config says of the base model."""

    @property
    def base_model(self) -> str: ...
    @property
    def base_revision(self) -> str: ...
    @property
    def max_length(self) -> int: ...


def check_base_model(
    base: BaseModel, chat: Chat, examples: Sequence[Example], engine: Engine
) -> None:
    """Compare what will be trained with the model's config; no weights are loaded.

    Raises UserError where a token has no place in the embedding, where ``max_length`` is more than
    the model has positions, and where its generation config asks for what servers do not apply.
    """
    from transformers import AutoConfig, GenerationConfig

    name, revision, max_length = base.base_model, base.base_revision, base.max_length
    try:
        config = AutoConfig.from_pretrained(name, revision=revision).get_text_config()
    except (OSError, ValueError) as error:
        raise UserError(f"base_model: {name}: no config ({in_one_line(error)})") from None
    for example in examples:
        if max(example.input_ids) >= config.vocab_size:
            token = max(example.input_ids)
            raise UserError(
                f"{example.where}: token {token} ({chat.decode([token])!r}) has no place in the "
                f"embedding of {name}, which has {config.vocab_size}: tokens were added to its "
                "tokenizer; take the tokenizer that belongs to the model"
            )
    positions = max_positions(config.to_dict())
    if positions and max_length > positions:
        raise UserError(
            f"max_length: {max_length} tokens are more than the {positions} positions of {name}; "
            "lower model.max_length"
        )
    try:
        generation = GenerationConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError):  # a model may come without one
        return
    if settings := unsupported_settings(generation, engine):
        raise UserError(
            f"base_model: {name}: generation_config.json sets {', '.join(settings)}, which the "
            "server would not apply; take it out of a local copy of the model"
        )


def max_positions(config: Mapping[str, Any]) -> int | None:
    """How many tokens a model's config has positions for, scaled ones included; None for any."""
    positions: int | None = config.get("max_position_embeddings")
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if positions and scaling.get("rope_type", scaling.get("type")) in ("linear", "dynamic", "yarn"):
        original = scaling.get("original_max_position_embeddings") or positions
        return max(positions, int(original * scaling.get("factor", 1)))
    return positions


def unsupported_settings(config: Any, engine: Engine) -> list[str]:
    """Entries of a generation config that change answers and that the engine does not apply."""
    # What an unset entry means; not public in transformers 5.19: huggingface/transformers#42702
    defaults = config._get_default_generation_params()
    asked = {k for k, v in config.to_diff_dict().items() if v and v != defaults.get(k)}
    return sorted(k for k in asked - APPLIED[engine] - HARMLESS if not k.startswith("_"))
