"""Which checkpoint a training run goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import sha256, write_json

FILES = "files.json"  # names and sizes of a checkpoint's files, written when all are there


class ListFiles(TrainerCallback):  # type: ignore[misc]
    """Lists the files of each checkpoint that was written, so that a torn one is known."""

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # each process writes files of its own
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(checkpoint / FILES, _sizes(checkpoint))


def find_checkpoint(
    config: Any, directory: Path, files: Sequence[Path], record: bool = True
) -> str | None:
    """The newest whole checkpoint of this very config and data; None for a new run.

    ``config`` is the stage's dataclass; ``record`` says whether to note it for the next run.
    Raises UserError where the directory holds a run with another one.
    """
    # The effective batch and the order of rows depend on how many processes there are.
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    values = {**asdict(config), "processes": processes, "data": [sha256(path) for path in files]}
    current = json.loads(json.dumps(values))
    noted = directory / "config.json"
    found = sorted(directory.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    if not found or not noted.is_file():
        if record:
            write_json(noted, current)
        return None
    before = json.loads(noted.read_text(encoding="utf-8"))
    changed = sorted(key for key in current | before if current.get(key) != before.get(key))
    if changed:
        key = changed[0]
        raise UserError(
            f"{directory}: holds checkpoints of a run with another {', '.join(changed)} "
            f"({key}: {before.get(key)} there, {current.get(key)} now); remove that directory "
            "to start over, or choose another run_dir"
        )
    for checkpoint in reversed(found):
        fault = _fault(checkpoint)
        if fault is None:
            print(f"train: resuming from {checkpoint}", flush=True)
            return str(checkpoint)
        print(f"train: warning: {checkpoint} is torn ({fault}) and is skipped", flush=True)
    return None


def _fault(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None for a whole one."""
    try:
        wanted = json.loads((checkpoint / FILES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "it was not written to its end"
    there = _sizes(checkpoint)
    for name, size in wanted.items():
        if name not in there:
            return f"{name} is missing"
        if there[name] != size:
            return f"{name} has {there[name]} of {size} bytes"
    return None


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = (path for path in sorted(checkpoint.rglob("*")) if path.is_file())
    return {str(p.relative_to(checkpoint)): p.stat().st_size for p in files if p.name != FILES}
