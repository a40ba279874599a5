"""Run the whole pipeline for real on a small model: offline, on a CPU, in about two minutes."""

from __future__ import annotations

from collections.abc import Sequence

from .base import make_base
from .learning import evaluate_and_judge
from .serving import serve_and_ask
from .stages import Metrics, Run, Step, run_stage, run_steps
from .training import train_briefly

STEPS = (
    Step("data", run_stage),
    Step("base", make_base),
    Step("train", train_briefly),
    Step("evaluate", evaluate_and_judge),
    Step("export", run_stage),
    Step("serve", serve_and_ask),
)


def main(files: Sequence[str], overrides: Sequence[str]) -> Metrics:
    """Write ``run_dir/summary.json``. Raises UserError where a step fails or nothing is learned."""
    return run_steps(STEPS, Run(files, overrides))
