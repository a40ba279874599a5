"""Loads tokenizers and models; what cannot be loaded is said in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunesmith_runtime.errors import UserError


def load_tokenizer(name: str, revision: str, template_kwargs: Mapping[str, Any]) -> Any:
    """Load a tokenizer whose chat template has ``template_kwargs`` written into it.

    The template is saved with the model, so every server renders as training did, whichever engine
    it runs and whatever the request asks for. Raises UserError where there is no template.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"base_model: {name}: no tokenizer ({reason})") from None
    if not tokenizer.chat_template:
        raise UserError(
            f"base_model: {name}: its tokenizer has no chat template; choose an instruct model, or "
            "put a chat_template.jinja beside its tokenizer"
        )
    if not isinstance(tokenizer.chat_template, str):
        raise UserError(f"base_model: {name}: its tokenizer has several chat templates; keep one")
    settings = "".join(
        # Jinja's literals are JSON's, but for the escape of non-ASCII text that it does not know.
        f"{{%- set {key} = {json.dumps(value, ensure_ascii=False)} -%}}"
        for key, value in template_kwargs.items()
    )
    if not tokenizer.chat_template.startswith(settings):
        tokenizer.chat_template = settings + tokenizer.chat_template
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def stop_token_ids(tokenizer: Any, name: str, revision: str) -> list[int]:
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
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"base_model: {name}: {reason}") from None
