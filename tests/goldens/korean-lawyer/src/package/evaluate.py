"""Compare the base model with the tuned one on the test split.

Both answer greedily from the prompts that the server would feed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from pydantic import PositiveInt
from tunesmith_runtime.answers import greedy_answers
from tunesmith_runtime.chat import Row, prompt_ids, read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import check_input, now, write_json, write_manifest
from tunesmith_runtime.metrics import (
    BleuTokenizer,
    bleu,
    exact_match,
    rouge_l,
)
from tunesmith_runtime.pretrained import load_model, load_tokenizer, stop_token_ids
from tunesmith_runtime.split import split_key

SAMPLES = 5  # answers shown side by side in the report


@dataclass(frozen=True)
class Config:
    """Top-level values and section ``evaluate``."""

    run_dir: str
    seed: int
    base_model: str
    base_revision: str
    dtype: str
    chat_template_kwargs: dict[str, bool | str]
    max_examples: PositiveInt
    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    bleu_tokenizer: BleuTokenizer


@dataclass(frozen=True)
class Measured:
    """What is known of one model."""

    metrics: dict[str, float | str]
    answers: list[str]


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
    metrics = {"examples": float(len(rows)), **base.metrics, **tuned.metrics}

    directory = run_dir / "evaluate"
    answers = [
        {
            "prompt": row.messages[-2]["content"],
            "reference": row.messages[-1]["content"],
            "base": base_answer,
            "tuned": tuned_answer,
            "source": row.where,
        }
        for row, base_answer, tuned_answer in zip(rows, base.answers, tuned.answers, strict=True)
    ]
    write_json(directory / "report.json", {"metrics": metrics, "answers": answers})
    (directory / "report.md").write_text(markdown(config, metrics, answers), encoding="utf-8")
    write_manifest(
        directory, "evaluate", config, [test_file, config.base_model, trained], started, metrics
    )
    return metrics


def measure(config: Config, model: Any, rows: Sequence[Row], name: str) -> Measured:
    """One model's metrics, as ``base_…`` or ``tuned_…``, and its greedy answers."""
    tokenizer = load_tokenizer(config.base_model, config.base_revision, config.chat_template_kwargs)
    stop_ids = stop_token_ids(tokenizer, config.base_model, config.base_revision)
    metrics: dict[str, float | str] = {}
    prompts = [prompt_ids(tokenizer, row.messages[:-1]) for row in rows]
    answers = greedy_answers(
        model,
        tokenizer,
        prompts,
        stop_ids,
        config.max_new_tokens,
        config.batch_size,
        f"evaluate: {name}",
    )
    references = [row.messages[-1]["content"] for row in rows]
    metrics[f"{name}_exact_match"] = exact_match(answers, references)
    metrics[f"{name}_rouge_l"] = rouge_l(answers, references)
    metrics[f"{name}_bleu"] = bleu(answers, references, config.bleu_tokenizer)
    return Measured(metrics, answers)


def markdown(
    config: Config,
    metrics: dict[str, float | str],
    answers: Sequence[dict[str, str]],
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
    for answer in answers[:SAMPLES]:
        lines += ["", f"## {one_line(answer['prompt'])}", "", f"From `{answer['source']}`.", ""]
        lines += [f"- {who}: {one_line(answer[who])}" for who in ("reference", "base", "tuned")]
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """Text as one line of Markdown that shows its characters as they are."""
    text = " ".join(text.split())
    return "".join(f"\\{c}" if c in "\\`*_#[]<>|" else c for c in text) or "(nothing)"
