"""What the command line does where training is several processes: starts them, and speaks once."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunesmith_runtime.errors import UserError

from .launch import check_machine, is_launched, launch, rank


@contextlib.contextmanager
def first_process_speaks() -> Iterator[None]:
    """Keep all processes but the first quiet; what goes wrong is told by each."""
    if rank() == 0:
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8") as nothing,
        contextlib.redirect_stdout(nothing),
    ):
        yield


def as_told(error: UserError) -> str:
    """An error, with the number of the process where it is not the first."""
    return str(error) if rank() == 0 else f"process {rank()}: {error}"


def needs_processes(config: Any) -> bool:
    """Whether the config asks for processes that are not there yet."""
    return bool(config.accelerate_config) and not is_launched()


def train_in_processes(
    module: Any, config: Any, files: Sequence[str], overrides: Sequence[str]
) -> int:
    """Check the rows once, then start the processes that ``config.accelerate_config`` names."""
    check_machine(config.accelerate_config)
    data = Path(config.run_dir) / "data"
    module.prepare(config, [data / "train.jsonl", data / "validation.jsonl"])
    arguments = ["train", *(part for file in files for part in ("--config", file))]
    arguments += [part for override in overrides for part in ("--set", override)]
    return launch(config.accelerate_config, str(__package__).split(".", maxsplit=1)[0], arguments)
