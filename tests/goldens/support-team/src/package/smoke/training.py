"""The train step: as many steps as suit the length of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .stages import Metrics, Run, run_stage


@dataclass(frozen=True)
class Config:
    """Section ``smoke``, and the section of the stage."""

    train_tokens: int
    train: dict[str, Any]


def train_briefly(run: Run, name: str) -> Metrics:
    """Train; long rows get fewer steps, so that every pipeline's smoke run takes about as long."""
    config = run.config(Config, "smoke")
    step = config.train["per_device_batch_size"] * float(run.metrics["base"]["tokens_per_row"])
    steps = min(config.train["max_steps"], max(1, round(config.train_tokens / step)))
    return run_stage(run, name, f"train.max_steps={steps}")
