"""What a check hands over."""

from typing import NamedTuple

from tunesmith.problem import Problem


class Skipped(NamedTuple):
    """A check that could not run, and why."""

    reason: str


Finding = Problem | Skipped
