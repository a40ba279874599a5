"""Read the source files, clean them, and split them into train, validation and test.

Supports JSONL, JSON, CSV and Parquet, as prompt-completion pairs or as chat messages. Rows that
cannot be read stop the stage; rows that cannot be trained on are dropped and counted.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import now, write_json, write_manifest
from tunesmith_runtime.records import Source, read_records
from tunesmith_runtime.split import SPLITS, Splits


@dataclass(frozen=True)
class Config:
    """Section ``data``; fractions are shares of the rows, from 0 to 1."""

    run_dir: str
    seed: int
    sources: list[Source]
    validation_fraction: float
    test_fraction: float


def main(config: Config) -> dict[str, float | str]:
    """Write ``run_dir/data/{train,validation,test}.jsonl`` and ``report.json``.

    Raises UserError where a row cannot be read or a split stays empty.
    """
    started = now()
    if not 0 < config.validation_fraction + config.test_fraction < 1:
        raise UserError("data: validation_fraction and test_fraction must add up to less than 1")
    directory = Path(config.run_dir) / "data"
    directory.mkdir(parents=True, exist_ok=True)

    splits = Splits(config.validation_fraction, config.test_fraction)
    partial = {split: directory / f"{split}.jsonl.partial" for split in SPLITS}

    with ExitStack() as stack:
        files = {s: stack.enter_context(partial[s].open("w", encoding="utf-8")) for s in SPLITS}
        for source in config.sources:
            for record in read_records(source, None):
                split = splits.assign(record)
                if split is None:
                    continue
                row = {"messages": record.messages, "source": record.where}
                files[split].write(json.dumps(row, ensure_ascii=False) + "\n")

    if empty := splits.empty():
        raise UserError(f"data: the {empty[0]} split is empty, {empty[1]}")
    for line in splits.drops():
        print(f"data: {line}")
    # Renamed only now: a run that fails leaves the last good files in place.
    for split in SPLITS:
        partial[split].replace(directory / f"{split}.jsonl")
    print("data: " + ", ".join(f"{splits.rows[split]} {split}" for split in SPLITS) + " rows")

    report = {
        "rows": {split: splits.rows[split] for split in SPLITS},
        "dropped": {
            reason: {"rows": count, "first": splits.first_dropped[reason]}
            for reason, count in splits.dropped.items()
        },
    }
    write_json(directory / "report.json", report)
    metrics: dict[str, float | str] = {f"{s}_rows": float(splits.rows[s]) for s in SPLITS}
    metrics["dropped_rows"] = float(splits.dropped.total())
    inputs = [source.path for source in config.sources]
    write_manifest(directory, "data", config, inputs, started, metrics)
    return metrics
