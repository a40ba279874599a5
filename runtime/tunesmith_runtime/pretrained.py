"""Loads tokenizers and models; what cannot be loaded is said in one line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith_runtime.chat import Chat
from tunesmith_runtime.chat_template import (
    Thinking,
    find_opening,
    with_opening,
    with_variables,
)
from tunesmith_runtime.errors import UserError, in_one_line

# What a tokenizer that transformers loads as another kind than it is does not give back.
PROBE = "Be brief: x = 1"


def load_chat(
    name: str,
    revision: str,
    template_kwargs: Mapping[str, bool | str],
    thinking: Thinking | None = None,
) -> Chat:
    """Load a tokenizer whose chat template has ``template_kwargs`` written into it.

    The template is saved with the model, so every server renders as training did, whichever engine
    it runs and whatever the request asks for; so is what ``thinking: drop`` adds to its prompts.
    Raises UserError where there is no template, where the tokenizer loses text, and where there is
    nothing that ``thinking`` could mean.
    """
    tokenizer = _load_tokenizer(name, revision)
    tokenizer.chat_template = with_variables(tokenizer.chat_template, template_kwargs)
    opening = find_opening(tokenizer)
    if thinking and not opening.text:
        raise UserError(
            f"thinking: {thinking}: the chat template of {name} puts nothing before an answer; "
            "remove model.thinking"
        )
    if thinking == "drop":
        tokenizer.chat_template = with_opening(tokenizer.chat_template, opening.text)
        opening = find_opening(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Chat(tokenizer, _stop_ids(tokenizer, name, revision), opening, thinking)


def _load_tokenizer(name: str, revision: str) -> Any:
    _check_folder(name)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        raise _not_loaded(name, "no tokenizer", error) from None
    if not tokenizer.chat_template:
        raise UserError(
            f"base_model: {name}: its tokenizer has no chat template; choose an instruct model, or "
            "put a chat_template.jinja beside its tokenizer"
        )
    if not isinstance(tokenizer.chat_template, str):
        raise UserError(f"base_model: {name}: its tokenizer has several chat templates; keep one")
    back = tokenizer.decode(tokenizer.encode(PROBE, add_special_tokens=False)).strip()
    if back != PROBE:
        raise UserError(
            f"base_model: {name}: its tokenizer turns {PROBE!r} into {back!r}: transformers loads "
            f"it as {type(tokenizer).__name__}, which its tokenizer.json is not; in a local copy, "
            "write PreTrainedTokenizerFast as tokenizer_class into tokenizer_config.json"
        )
    return tokenizer


def _stop_ids(tokenizer: Any, name: str, revision: str) -> list[int]:
    """Ids at which generation stops: the generation config's and the tokenizer's end token."""
    from transformers import GenerationConfig

    try:
        configured = GenerationConfig.from_pretrained(name, revision=revision).eos_token_id
    except (OSError, ValueError):  # a model may come without one
        configured = None
    ids = configured if isinstance(configured, list) else [configured]
    found = {tokenizer.eos_token_id, *ids} - {None}
    if not found:
        raise UserError(f"base_model: {name}: no end token in its tokenizer or generation config")
    return sorted(found)


def load_model(name: str | Path, revision: str, dtype: str, **options: Any) -> Any:
    """Load a causal language model in ``dtype``, on the CPU unless ``options`` say otherwise.

    They are those of ``from_pretrained``. Raises UserError where it cannot be loaded.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(
            name, revision=revision, dtype=getattr(torch, dtype), **options
        )
    except (OSError, ValueError) as error:
        raise _not_loaded(name, "no model", error) from None


def _not_loaded(name: str | Path, what: str, error: Exception) -> UserError:
    there = "" if Path(name).exists() else "; there is no folder of that name here either"
    return UserError(f"base_model: {name}: {what} ({in_one_line(error)}){there}")


def _check_folder(name: str) -> None:
    """Raises UserError for a path that is not there, which transformers would ask the Hub for."""
    looks_like_one = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_like_one and not Path(name).is_dir():
        raise UserError(
            f"base_model: {name}: no such folder; name one that is there, seen from here, or a "
            "model of the Hub as organisation/name"
        )
