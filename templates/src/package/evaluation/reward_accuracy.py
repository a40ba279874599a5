"""Reward accuracy: has training raised the better answer of a pair above the other?"""

from collections.abc import Sequence


def reward_accuracy(base: Sequence[float] | None, tuned: Sequence[float]) -> float | None:
    """Share of pairs whose chosen answer gained more likelihood over the base than the rejected.

    What a model gained is the reward that DPO and KTO train (arXiv:2305.18290, section 4), up to
    ``beta``. Both are ``log_probs`` of chosen and rejected answers in turn. None without a base:
    the base itself has gained nothing.
    """
    if base is None:
        return None
    gained = [after - before for before, after in zip(base, tuned, strict=True)]
    pairs = list(zip(gained[::2], gained[1::2], strict=True))
    return sum(chosen > rejected for chosen, rejected in pairs) / len(pairs)
