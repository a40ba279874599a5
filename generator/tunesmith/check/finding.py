"""What a check hands over."""

from dataclasses import dataclass

from tunesmith.problem import Problem


@dataclass(frozen=True)
class Skipped:
    """A check that could not run, and why."""

    reason: str


Finding = Problem | Skipped
