"""Preference accuracy: does a model find the better answer of a pair likelier?"""

from collections.abc import Sequence

from tunesmith_runtime.chat import Example

from .likelihood import trained_tokens


def preference_accuracy(sides: Sequence[Example], found: Sequence[float]) -> float:
    """Share of pairs whose chosen answer is likelier, per token, than the rejected one.

    ``sides`` are chosen and rejected answers in turn, ``found`` their ``log_probs``.
    """
    means = [total / trained_tokens(side) for total, side in zip(found, sides, strict=True)]
    pairs = list(zip(means[::2], means[1::2], strict=True))
    return sum(chosen > rejected for chosen, rejected in pairs) / len(pairs)
