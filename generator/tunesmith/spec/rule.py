"""A rule: what options may not say together, and why."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tunesmith.spec.document import Location

if TYPE_CHECKING:
    from tunesmith.spec.resolve import Resolved

Broken = Iterator[tuple[Location, str]]


class Rule(NamedTuple):
    """One thing that is refused.

    Attributes:
        explanation: Why, and what to do; what `tunesmith explain` and docs/errors.md say of the code.
        check: Yields the place and the message of each option that breaks the rule.
    """

    code: str
    title: str
    explanation: str
    check: Callable[["Resolved"], Broken]


def no_effect(check: Callable[["Resolved"], Broken]) -> Rule:
    """A rule against options that something else in the spec switches off: one code for all."""
    return Rule(
        "TS201",
        "An option that has no effect",
        "Another option decides that this one does nothing, as `train.adapter: full` does with `train.lora`. It is refused, "
        "so that nobody believes that it does something. The message says what to choose where it is wanted.",
        check,
    )
