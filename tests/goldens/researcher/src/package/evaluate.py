"""Compare the base model with the tuned one on the test split.

The loss is over the tokens of the answers alone, each token weighing the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from pydantic import PositiveInt
from tunesmith_runtime.chat import Row, encode_rows, read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import check_input, now, write_json, write_manifest
from tunesmith_runtime.metrics import (
    completion_loss,
    perplexity,
)
from tunesmith_runtime.pretrained import load_model, load_tokenizer, stop_token_ids
from tunesmith_runtime.split import split_key


@dataclass(frozen=True)
class Config:
    """Top-level values and section ``evaluate``."""

    run_dir: str
    seed: int
    base_model: str
    base_revision: str
    dtype: str
    max_length: int  # tokens; longer rows are left out of likelihoods
    chat_template_kwargs: dict[str, bool | str]
    max_examples: PositiveInt
    batch_size: PositiveInt


def main(config: Config) -> dict[str, float | str]:
    """Write ``report.json`` and ``report.md`` to ``run_dir/evaluate``.

    Returns each metric twice: ``base_…`` and ``tuned_…``.
    """
    started = now()
    run_dir, trained = Path(config.run_dir), Path(config.run_dir) / "train" / "final"
    if not trained.is_dir():
        raise UserError(f"{trained}: no such directory; run the train stage first")
    check_input(run_dir / "train", run_dir / "data" / "train.jsonl")  # else it may hold test rows
    test_file = run_dir / "data" / "test.jsonl"
    rows = read_split(test_file)
    if len(rows) > config.max_examples:
        # By content hash: other rows may come and go, and scores stay comparable.
        rows = sorted(rows, key=lambda row: split_key(row.messages))[: config.max_examples]

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load_model(config.base_model, config.base_revision, config.dtype)
    model = PeftModel.from_pretrained(model, trained).to(device).eval()
    with model.disable_adapter():
        base = measure(config, model, rows, "base")
    tuned = measure(config, model, rows, "tuned")
    metrics = {"examples": float(len(rows)), **base, **tuned}

    directory = run_dir / "evaluate"
    write_json(directory / "report.json", {"metrics": metrics})
    (directory / "report.md").write_text(markdown(config, metrics), encoding="utf-8")
    write_manifest(
        directory, "evaluate", config, [test_file, config.base_model, trained], started, metrics
    )
    return metrics


def measure(config: Config, model: Any, rows: Sequence[Row], name: str) -> dict[str, float | str]:
    """One model's metrics, as ``base_…`` or ``tuned_…``."""
    tokenizer = load_tokenizer(config.base_model, config.base_revision, config.chat_template_kwargs)
    stop_ids = stop_token_ids(tokenizer, config.base_model, config.base_revision)
    metrics: dict[str, float | str] = {}
    examples = [
        example
        for example in encode_rows(tokenizer, rows, stop_ids)
        if len(example.input_ids) <= config.max_length
    ]
    if not examples:
        raise UserError(f"{rows[0].where}: this and every test row is longer than max_length")
    loss = completion_loss(model, examples, config.batch_size, tokenizer.pad_token_id)
    metrics[f"{name}_loss"] = loss
    metrics[f"{name}_perplexity"] = perplexity(loss)
    return metrics


def markdown(
    config: Config,
    metrics: dict[str, float | str],
) -> str:
    """The report for people."""
    lines = [
        "# Evaluation",
        "",
        f"Base model `{config.base_model}` and the tuned model on {metrics['examples']:.0f} rows "
        "of the test split.",
        "",
        "| metric | base | tuned |",
        "| --- | ---: | ---: |",
    ]
    for key, tuned in metrics.items():
        if key.startswith("tuned_"):
            name = key.removeprefix("tuned_")
            base = metrics[f"base_{name}"]
            lines.append(f"| {name.replace('_', ' ')} | {base:.4g} | {tuned:.4g} |")
    return "\n".join(lines) + "\n"
