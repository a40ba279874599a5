"""Says how far the untrained model is in reading the answers, before the first step."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from datasets import disable_progress_bars

from .progress import duration

SECONDS = 30.0  # between two lines


@contextmanager
def reference_progress(trainer: Any, examples: int, name: str) -> Iterator[None]:
    """Lines where TRL would draw a bar, while the model reads ``examples`` of the set ``name``.

    Two sequences each: a pair's answers for DPO; for KTO an answer and its neighbour's.
    """
    os.environ["TQDM_DISABLE"] = "1"
    disable_progress_bars()
    begin = said = time.monotonic()
    read = 0.0

    def say(module: Any, inputs: Any, keywords: dict[str, Any], output: Any) -> None:
        nonlocal read, said
        read += len(keywords["input_ids"]) / 2 * trainer.accelerator.num_processes
        if trainer.is_world_process_zero() and time.monotonic() - said >= SECONDS:
            said = time.monotonic()
            left = duration((said - begin) * max(examples / read - 1, 0))
            place = f"{min(round(read), examples):,}/{examples:,}"
            print(
                f"train: log probabilities before training, {name} {place}  {left} left", flush=True
            )

    hook = trainer.model.register_forward_hook(say, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
