"""The evaluate step: are the trained rewards better than chance?"""

from __future__ import annotations

import math

from tunesmith_runtime.errors import UserError

from .stages import Metrics, Run, run_stage


def evaluate_and_judge(run: Run, name: str) -> Metrics:
    """Evaluate. Raises UserError where nothing was learned."""
    return require_learning(run_stage(run, name))


def require_learning(metrics: Metrics) -> Metrics:
    """Pass metrics on. Raises UserError where the rewards are no better than chance."""
    tuned = float(metrics["tuned_reward_accuracy"])
    # A coin's share, and its standard error.
    chance = 0.5 + 0.5 / math.sqrt(float(metrics["pairs"]))
    if not tuned >= chance:
        raise UserError(
            f"nothing was learned: the reward accuracy is {tuned:.4g}, "
            f"and better than chance from {chance:.4g} on"
        )
    return metrics
