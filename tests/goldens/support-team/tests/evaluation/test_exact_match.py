"""Exact match."""

from support_assistant.evaluation.exact_match import exact_match


def test_exact_match_ignores_spaces_and_composition() -> None:
    answers = ["cafe\u0301  open ", "no"]
    assert exact_match(answers, ["caf\u00e9 open", "yes"]) == 0.5
