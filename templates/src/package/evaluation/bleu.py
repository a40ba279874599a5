"""BLEU, as sacreBLEU computes it."""

from collections.abc import Sequence
from typing import Literal

import sacrebleu

from .text import normal

BleuTokenizer = Literal["13a", "char", "intl"]


def bleu(answers: Sequence[str], references: Sequence[str], tokenizer: BleuTokenizer) -> float:
    """Corpus BLEU, from 0 to 100. Languages that do not part words well need ``char``."""
    expected = [normal(reference) for reference in references]
    score = sacrebleu.corpus_bleu(
        [normal(answer) for answer in answers], [expected], tokenize=tokenizer
    )
    return float(score.score)
