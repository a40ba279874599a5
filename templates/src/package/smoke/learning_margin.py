"""The evaluate step: did training move the held-out answers apart?"""

from __future__ import annotations

from tunesmith_runtime.errors import UserError

from .stages import Metrics, Run, run_stage


def evaluate_and_judge(run: Run, name: str) -> Metrics:
    """Evaluate. Raises UserError where nothing was learned."""
    require_learning(run.metrics["train"])
    return run_stage(run, name)


def require_learning(metrics: Metrics) -> Metrics:
    """Pass training metrics on. Raises UserError where the held-out margin is not positive."""
    margin = float(metrics["validation_margin"])
    if not margin > 0:
        raise UserError(f"nothing was learned: the validation margin is {margin:.4g}")
    return metrics
