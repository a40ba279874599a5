"""Whether the adapter's target modules are in the model, and what export can merge."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D
from tunesmith_runtime.errors import UserError, in_one_line

ADAPTED = (torch.nn.Linear, torch.nn.Embedding, Conv1D)  # of the layers of language models, by PEFT


def check_target_modules(name: str, revision: str, targets: str | Sequence[str]) -> None:
    """Compare the names with those of the model's modules; no weights are loaded.

    Raises UserError where one matches none, or none that takes an adapter, and where it is tied to
    another, whose weights a merge would change too.
    """
    if isinstance(targets, str) and targets.lower() == "all-linear":
        return
    try:
        config = AutoConfig.from_pretrained(name, revision=revision)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        reason = in_one_line(error)
        raise UserError(f"base_model: {name}: no causal language model ({reason})") from None
    modules = dict(model.named_modules())
    layers = {path: module for path, module in modules.items() if isinstance(module, ADAPTED)}
    found: list[str] = []
    for target in [targets] if isinstance(targets, str) else targets:
        matched = [path for path in modules if path and _matches(path, target, targets)]
        if not matched:
            raise UserError(
                f"train.lora_target_modules: {target!r} matches no module of {name}; "
                + _near(target, layers)
            )
        if others := [path for path in matched if path not in layers]:
            inside = sorted(
                {path.rpartition(".")[2] for path in layers if path.startswith(f"{others[0]}.")}
            )
            raise UserError(
                f"train.lora_target_modules: {target!r} matches {others[0]}, which takes no adapter"
                + (f"; its layers are {', '.join(inside)}" if inside else "")
            )
        found += matched
    embeddings = (model.get_input_embeddings(), model.get_output_embeddings())
    tied = [path for path in found if any(modules[path] is each for each in embeddings)]
    if tied and config.get_text_config().tie_word_embeddings:
        raise UserError(
            f"train.lora_target_modules: {tied[0]} shares its weights with another layer, and an "
            "adapter on one of them cannot be merged at export; leave it out"
        )


def _matches(path: str, target: str, targets: str | Sequence[str]) -> bool:
    """As PEFT has it: text is a regular expression of the whole path, a list has ends of paths."""
    if not isinstance(targets, str):
        return path == target or path.endswith(f".{target}")
    try:
        return re.fullmatch(target, path) is not None
    except re.error as error:
        raise UserError(
            f"train.lora_target_modules: {target!r} is not a regular expression: {error}"
        ) from None


def _near(target: str, layers: dict[str, Any]) -> str:
    names = sorted({path.rpartition(".")[2] for path in layers})
    near = difflib.get_close_matches(target.rpartition(".")[2], names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"its layers are {', '.join(names)}"
