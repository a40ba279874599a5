"""Exact match: how many answers say just what was expected."""

from collections.abc import Sequence

from .text import normal


def exact_match(answers: Sequence[str], references: Sequence[str]) -> float:
    """Share of answers equal to their reference, in NFC and with spaces made equal."""
    pairs = zip(answers, references, strict=True)
    return sum(normal(answer) == normal(reference) for answer, reference in pairs) / len(references)
