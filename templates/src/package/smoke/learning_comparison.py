"""The evaluate step: is the tuned model better than the base?"""

from __future__ import annotations

from dataclasses import dataclass

from tunesmith_runtime.errors import UserError

from .stages import Metrics, Run, run_stage

LOWER_IS_BETTER = ("loss", "perplexity")


@dataclass(frozen=True)
class Config:
    """Section ``learning``."""

    metric: str  # as the evaluation names it


def evaluate_and_judge(run: Run, name: str) -> Metrics:
    """Evaluate. Raises UserError where nothing was learned."""
    return require_learning(run_stage(run, name), run.config(Config, "learning").metric)


def require_learning(metrics: Metrics, metric: str) -> Metrics:
    """Pass metrics on. Raises UserError where the tuned model is not better by 1 %."""
    base, tuned = float(metrics[f"base_{metric}"]), float(metrics[f"tuned_{metric}"])
    falls = metric in LOWER_IS_BETTER
    if not (tuned < 0.99 * base if falls else tuned > 1.01 * base):
        words = metric.replace("_", " ")
        raise UserError(f"nothing was learned: {words} {base:.4g} before, {tuned:.4g} after")
    # The loss moves before the answers do, so that these need not be better yet.
    exact = metrics.get("tuned_exact_match")
    if falls and exact is not None and float(exact) < float(metrics["base_exact_match"]):
        raise UserError("nothing was learned: the exact match fell")
    return metrics
