"""How a training is watched: what it says, keeps and looks at. None of it changes a weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, PositiveFloat


@dataclass(frozen=True)
class Watch:
    """Section ``train.watch``, which may differ when a stopped run goes on.

    ``log_every`` and ``save_every`` are steps or, below 1, shares of them.
    """

    log_every: PositiveFloat
    save_every: PositiveFloat
    keep_checkpoints: Annotated[int, Field(ge=2)]  # so that a whole one is left by a kill
    sample_every: PositiveFloat  # seconds
    max_loss_growth: PositiveFloat  # times its first value
