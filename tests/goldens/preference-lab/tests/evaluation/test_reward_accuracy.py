"""Reward accuracy."""

from preference_lab.evaluation.reward_accuracy import reward_accuracy


def test_a_reward_is_what_an_answer_gained_over_the_base() -> None:
    base = [-9.0, -1.0, -9.0, -9.0, -5.0, -5.0, -7.0, -7.0, -2.0, -8.0]
    # The chosen gained more, as much, less, more, and lost less.
    tuned = [-8.0, -1.5, -7.0, -7.0, -5.0, -4.0, -5.0, -7.0, -3.0, -9.5]
    assert reward_accuracy(base, tuned) == 3 / 5
    assert reward_accuracy(None, base) is None, "the base itself has gained nothing"
