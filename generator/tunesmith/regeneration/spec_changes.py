"""How a pipeline differs from the one that was generated last, option by option, with what follows from other options."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pydantic import ValidationError

from tunesmith.problem import printable
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.resolve import Resolved, resolve


class OptionChange(NamedTuple):
    """An option whose value is another one now.

    Attributes:
        option: Its dotted name.
        old: The value that held before, as JSON has it; None where the option did not apply.
        new: The value that holds now.
        reason: Why it has that value although the spec does not say it; None where the spec does.
    """

    option: str
    old: object
    new: object
    reason: str | None = None

    def __str__(self) -> str:
        because = f" ({self.reason})" if self.reason else ""
        return f"{self.option}: {_shown(self.old)} → {_shown(self.new)}{because}"


def spec_changes(old: Mapping[str, object], resolved: Resolved) -> tuple[OptionChange, ...]:
    """What is different from `old`, the spec that a lock records.

    An option that `old` does not know had its default then.
    """
    spec = spec_of(old)
    completed = None if spec is None else resolve(spec).values()
    before = old if completed is None else completed
    return tuple(_differences(before, resolved.values(), "", resolved.reasons, everywhere=completed is not None))


def spec_of(old: Mapping[str, object]) -> Spec | None:
    """The spec that a lock records, with every option that it knew; None where it is of a form no longer known."""
    try:
        return Spec.model_validate(dict(old))
    except ValidationError:
        return None


def _differences(
    old: object, new: object, name: str, reasons: Mapping[str, str], *, everywhere: bool
) -> Iterator[OptionChange]:
    """The leaves on which both differ: `everywhere`, or only where both have a value."""
    ours, theirs = _parts(old), _parts(new)
    if ours is not None or theirs is not None:
        # What one side does not have at all is shown by its parts, too.
        ours, theirs = ours or {}, theirs or {}
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if everywhere or (ours.get(key) is not None and key in theirs):
                part = f"{name}{key}" if key.startswith("[") or not name else f"{name}.{key}"
                yield from _differences(ours.get(key), theirs.get(key), part, reasons, everywhere=everywhere)
    elif old != new:
        yield OptionChange(name, old, new, _reason(name, reasons))


def _parts(value: object) -> dict[str, object] | None:
    """What a value is made of: a mapping's by key, a list of mappings' by index; None where it is one value."""
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return {f"[{index}]": item for index, item in enumerate(value)}
    return None


def _reason(name: str, reasons: Mapping[str, str]) -> str | None:
    """The reason of an option, or of the one that it is a part of."""
    return next((reason for option, reason in reasons.items() if f"{name}.".startswith(f"{option}.")), None)


def _shown(value: object) -> str:
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 60 else f"{text[:59]}…"
