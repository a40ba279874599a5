"""Compare the base model with the tuned one on the test split.

Both are measured by every entry of ``METRICS``; another metric is one more line there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt
from tunesmith_runtime.chat import Row, read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import check_input, now, write_manifest
from tunesmith_runtime.pretrained import load_chat, load_model
from tunesmith_runtime.split import split_key

from .evaluation.exact_match import exact_match
from .evaluation.likelihood import perplexity
from .evaluation.outcome import Outcome
from .evaluation.report import side_by_side, write_report
from .evaluation.rouge_l import rouge_l

# A metric reads what is known of a model; None where that model has no such value.
METRICS: dict[str, Callable[[Outcome, Config], float | None]] = {
    "loss": lambda model, _: model.loss,
    "perplexity": lambda model, _: perplexity(model.loss),
    "exact_match": lambda model, _: exact_match(model.answers, model.references),
    "rouge_l": lambda model, _: rouge_l(model.answers, model.references),
}


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
    max_new_tokens: PositiveInt


def main(config: Config) -> dict[str, float | str]:
    """Write ``report.json`` and ``report.md`` to ``run_dir/evaluate``.

    Returns each metric twice, as ``base_…`` and ``tuned_…``; once where it compares the two.
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
    base = measure(config, model.to(device).eval(), rows)
    del model  # before the next one is loaded
    model = load_model(trained, "main", config.dtype)
    tuned = measure(config, model.to(device).eval(), rows, base)
    metrics: dict[str, float | str] = {**tuned.counts, **base.metrics, **tuned.metrics}

    directory = run_dir / "evaluate"
    write_report(directory, config.base_model, metrics, side_by_side(base, tuned))
    write_manifest(
        directory, "evaluate", config, [test_file, config.base_model, trained], started, metrics
    )
    return metrics


def measure(
    config: Config, model: Any, rows: Sequence[Row], base: Outcome | None = None
) -> Outcome:
    """The base model by every metric or, beside what is known of the base, the tuned one."""
    name = "tuned" if base else "base"
    chat = load_chat(config.base_model, config.base_revision, config.chat_template_kwargs)
    outcome = Outcome(
        name=name,
        model=model,
        chat=chat,
        rows=rows,
        batch_size=config.batch_size,
        max_length=config.max_length,
        max_new_tokens=config.max_new_tokens,
        base=base,
    )
    for metric, function in METRICS.items():
        value = function(outcome, config)
        if value is not None:
            outcome.metrics[f"{name}_{metric}"] = value
    outcome.model = None  # what was found stays, and its memory is free for the next one
    return outcome
