"""Write the trained model as one directory that any engine serves.

It holds safetensors, the tokenizer with its chat template, the generation config and a model card.
The adapter is merged into the base model, and the result checked against it before it is written.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoTokenizer
from tunesmith_runtime.chat import encode_row, prompt_ids, read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import now, write_manifest
from tunesmith_runtime.pretrained import load_chat

from .exporting.card import model_card
from .exporting.merge import merged_model


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
    max_logit_difference: float  # between the merged model and the adapter, in float32
    max_shard_size: str
    description: str  # of the model card
    license: str | None  # of the model, as the Hub names it


def main(config: Config) -> dict[str, float | str]:
    """Write ``run_dir/export``. Raises UserError where it would not be what was trained."""
    started = now()
    run_dir = Path(config.run_dir)
    trained, directory = run_dir / "train" / "final", run_dir / "export"
    if not trained.is_dir():
        raise UserError(f"{trained}: no such directory; run the train stage first")
    chat = load_chat(config.base_model, config.base_revision, config.chat_template_kwargs)
    tokenizer, stop_ids = chat.tokenizer, list(chat.stop_ids)
    row = read_split(run_dir / "data" / "test.jsonl")[0]
    metrics: dict[str, float | str] = {}

    ids = encode_row(chat, row)[0].input_ids[: config.max_length]
    model, metrics["logit_difference"] = merged_model(
        config.base_model, config.base_revision, trained, ids, config.max_logit_difference
    )
    model.to(getattr(torch, config.dtype))
    model.config.dtype = config.dtype
    # Servers stop on what was trained to end an answer, whatever the base model listed.
    model.generation_config.eos_token_id = stop_ids if len(stop_ids) > 1 else stop_ids[0]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    parameters = sum(parameter.numel() for parameter in model.parameters())
    card = model_card(
        run_dir,
        "preference-lab",
        config.description,
        config.license,
        trained="a LoRA adapter on a 4-bit base (QLoRA)",
        method="DPO (direct preference optimisation)",
        weights=f"{parameters:,} parameters in {config.dtype}, with the adapter merged in",
        tags=["dpo", "qlora"],
    )

    # Under another name until it is whole and checked.
    partial = directory.with_name("export.partial")
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, max_shard_size=config.max_shard_size)
    tokenizer.save_pretrained(partial)
    card.save(partial / "README.md")
    for file in partial.iterdir():
        file.chmod(0o644)  # safetensors lets nobody else read, such as a server's own user
    exported = AutoTokenizer.from_pretrained(partial)
    if prompt_ids(exported, row.messages[:-1]) != prompt_ids(tokenizer, row.messages[:-1]):
        raise UserError(f"{partial}: the saved tokenizer renders {row.where} in another way")
    megabytes = sum(file.stat().st_size for file in partial.rglob("*") if file.is_file()) / 1e6
    metrics["parameters"] = float(parameters)
    metrics["megabytes"] = megabytes
    write_manifest(partial, "export", config, [trained, config.base_model], started, metrics)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    print(f"export: {directory}: {megabytes:.1f} MB", flush=True)
    return metrics
