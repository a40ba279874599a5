"""Which checkpoint a training run goes on from."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerState
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import sha256, write_json

FILES = "files.json"  # names and sizes of a checkpoint's files, written when all are there


class CheckpointCallback(TrainerCallback):  # type: ignore[misc]
    """Saves as often as the config says; lists each checkpoint's files, to know a torn one."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # A resumed state has the intervals of the run that wrote it, and not the config's.
        state.compute_steps(args, state.max_steps)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if torch.distributed.is_initialized():
            torch.distributed.barrier()  # each process writes files of its own
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(checkpoint / FILES, _sizes(checkpoint))


def find_checkpoint(config: Any, method: str, directory: Path, files: Sequence[Path]) -> str | None:
    """The newest whole checkpoint of this very run; None for a new run, which is noted.

    ``config`` is the stage's dataclass, of which ``run_dir`` and ``watch`` may differ; ``method``
    says what the stage does whatever its config. Raises UserError where the directory holds
    checkpoints of another config, method or data.
    """
    # The effective batch and the order of rows depend on how many processes there are.
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    values = {**asdict(config), "method": method, "processes": processes}
    values["data"] = [sha256(path) for path in files]
    del values["run_dir"], values["watch"]  # they change no weights
    current = json.loads(json.dumps(values))
    noted = directory / "config.json"
    steps = {path: path.name.removeprefix("checkpoint-") for path in directory.glob("checkpoint-*")}
    found = sorted((path for path in steps if steps[path].isdigit()), key=lambda p: int(steps[p]))
    if not found or not noted.is_file():
        if os.environ.get("RANK", "0") == "0":
            write_json(noted, current)
            (directory / "manifest.json").unlink(missing_ok=True)  # it describes an older run
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


def is_finished(checkpoint: str) -> bool:
    """Whether no step is left to train after ``checkpoint``."""
    state = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))
    return bool(state.global_step >= state.max_steps)


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
