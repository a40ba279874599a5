"""Which checkpoint a training run goes on from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import sha256, write_json


def find_checkpoint(config: Any, directory: Path, files: Sequence[Path]) -> str | None:
    """The newest whole checkpoint of this very config and data; None for a new run.

    ``config`` is the stage's dataclass. Raises UserError where the directory holds a run with
    another one.
    """
    current = json.loads(json.dumps({**asdict(config), "data": [sha256(path) for path in files]}))
    record = directory / "config.json"
    # The trainer writes its state last, so a checkpoint with one was not cut short.
    found = [path.parent for path in directory.glob("checkpoint-*/trainer_state.json")]
    if not found or not record.is_file():
        write_json(record, current)
        return None
    before = json.loads(record.read_text(encoding="utf-8"))
    changed = sorted(key for key in current | before if current.get(key) != before.get(key))
    if changed:
        key = changed[0]
        raise UserError(
            f"{directory}: holds checkpoints of a run with another {', '.join(changed)} "
            f"({key}: {before.get(key)} there, {current.get(key)} now); remove that directory "
            "to start over, or choose another run_dir"
        )
    newest = max(found, key=lambda path: int(path.name.split("-")[1]))
    print(f"train: resuming from {newest}", flush=True)
    return str(newest)
