"""ROUGE-L: the longest common subsequence of words."""

import re
from collections.abc import Sequence

from rouge_score.rouge_scorer import RougeScorer

from .text import normal


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L F1, from 0 to 1."""
    scorer = RougeScorer(["rougeL"], tokenizer=Words())
    scores: list[float] = [
        scorer.score(normal(reference), normal(answer))["rougeL"].fmeasure
        for answer, reference in zip(answers, references, strict=True)
    ]
    return sum(scores) / len(scores)


class Words:
    """rouge-score's own tokenizer keeps a-z and 0-9 alone, and would score any Korean text 0."""

    def tokenize(self, text: str) -> list[str]:
        """Letters, digits and underscores that stand together, in lower case."""
        return re.findall(r"\w+", text.lower())
