"""Merge the adapter into the base model: one directory that any engine serves.

It holds safetensors, the tokenizer with its chat template, and the generation config. The merged
model is checked against the adapter before it is written.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoTokenizer
from tunesmith_runtime.chat import encode_row, prompt_ids, read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import now, write_manifest
from tunesmith_runtime.pretrained import load_model, load_tokenizer, stop_token_ids


@dataclass(frozen=True)
class Config:
    """Top-level values and section ``export``."""

    run_dir: str
    seed: int
    base_model: str
    base_revision: str
    dtype: str  # of the exported weights
    max_length: int  # tokens
    chat_template_kwargs: dict[str, bool | str]
    system_prompt: str
    max_logit_difference: float  # between the merged model and the adapter, in float32
    max_shard_size: str


def main(config: Config) -> dict[str, float | str]:
    """Write ``run_dir/export``. Raises UserError where the merged model computes something else."""
    started = now()
    run_dir = Path(config.run_dir)
    trained, directory = run_dir / "train" / "final", run_dir / "export"
    if not trained.is_dir():
        raise UserError(f"{trained}: no such directory; run the train stage first")
    tokenizer = load_tokenizer(config.base_model, config.base_revision, config.chat_template_kwargs)
    stop_ids = stop_token_ids(tokenizer, config.base_model, config.base_revision)
    row = read_split(run_dir / "data" / "test.jsonl")[0]
    metrics: dict[str, float | str] = {}

    # Merged in float32: in bfloat16 the sum would round small updates away.
    model = load_model(config.base_model, config.base_revision, "float32")
    model = PeftModel.from_pretrained(model, trained).eval()
    sample = encode_row(tokenizer, row, stop_ids)[0].input_ids[: config.max_length]
    with_adapter = logits(model, sample)
    model = model.merge_and_unload()
    difference = (logits(model, sample) - with_adapter).abs().max().item()
    if not difference <= config.max_logit_difference:
        raise UserError(
            f"export: the merged model's logits differ from the adapter's by {difference:.2g} "
            f"(max_logit_difference allows {config.max_logit_difference:.2g})"
        )
    metrics["logit_difference"] = difference
    model.to(getattr(torch, config.dtype))
    model.config.dtype = config.dtype
    tokenizer.chat_template = with_system_prompt(tokenizer.chat_template, config.system_prompt)
    # Servers stop on what was trained to end an answer, whatever the base model listed.
    model.generation_config.eos_token_id = stop_ids if len(stop_ids) > 1 else stop_ids[0]
    model.generation_config.pad_token_id = tokenizer.pad_token_id

    # Under another name until it is whole and checked.
    partial = directory.with_name("export.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, max_shard_size=config.max_shard_size)
    tokenizer.save_pretrained(partial)
    for file in partial.iterdir():
        file.chmod(0o644)  # safetensors lets nobody else read, such as a server's own user
    exported = AutoTokenizer.from_pretrained(partial)
    if prompt_ids(exported, row.messages[:-1]) != prompt_ids(tokenizer, row.messages[:-1]):
        raise UserError(f"{partial}: the saved tokenizer renders {row.where} in another way")
    megabytes = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file()) / 1e6
    metrics["parameters"] = float(sum(parameter.numel() for parameter in model.parameters()))
    metrics["megabytes"] = megabytes
    write_manifest(partial, "export", config, [trained, config.base_model], started, metrics)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    print(f"export: {directory}: {megabytes:.1f} MB", flush=True)
    return metrics


def with_system_prompt(template: str, text: str) -> str:
    """The chat template, with a system message put before conversations that have none."""
    # JSON is a literal of Jinja's too.
    message = json.dumps({"role": "system", "content": text}, ensure_ascii=False)

    return (
        "{%- if not messages or messages[0].role != 'system' -%}"
        f"{{%- set messages = [{message}] + messages -%}}"
        "{%- endif -%}" + template
    )


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Next-token logits at every position, (tokens, vocabulary)."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]
