"""Metrics of answers and of a model's loss, for any language that Unicode writes."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Literal

from tunesmith_runtime.chat import IGNORED, Example

BleuTokenizer = Literal["13a", "char", "intl"]


def exact_match(answers: Sequence[str], references: Sequence[str]) -> float:
    """Share of answers equal to their reference, in NFC and with spaces made equal."""
    pairs = zip(answers, references, strict=True)
    equal = [_normal(answer) == _normal(reference) for answer, reference in pairs]
    return sum(equal) / len(references)


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean ROUGE-L F1, from 0 to 1."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    scores: list[float] = [
        scorer.score(_normal(reference), _normal(answer))["rougeL"].fmeasure
        for answer, reference in zip(answers, references, strict=True)
    ]
    return sum(scores) / len(scores)


def bleu(answers: Sequence[str], references: Sequence[str], tokenizer: BleuTokenizer) -> float:
    """Corpus BLEU, from 0 to 100. Languages that do not part words well need ``char``."""
    import sacrebleu

    normal = [_normal(answer) for answer in answers]
    score = sacrebleu.corpus_bleu(
        normal, [[_normal(reference) for reference in references]], tokenize=tokenizer
    )
    return float(score.score)


def completion_loss(model: Any, examples: Sequence[Example], batch_size: int, pad_id: int) -> float:
    """Mean negative log-likelihood in nats of the trained tokens, each weighing the same.

    ``exp`` of it is the perplexity. The model is left in evaluation mode.
    """
    return -sum(log_probs(model, examples, batch_size, pad_id)) / sum(map(_tokens, examples))


def preference_accuracy(sides: Sequence[Example], found: Sequence[float]) -> float:
    """Share of pairs whose chosen answer is likelier, per token, than the rejected one.

    ``sides`` are chosen and rejected answers in turn, ``found`` their ``log_probs``.
    """
    means = [total / _tokens(side) for total, side in zip(found, sides, strict=True)]
    return _share([a - b for a, b in zip(means[::2], means[1::2], strict=True)])


def reward_accuracy(base: Sequence[float], tuned: Sequence[float]) -> float:
    """Share of pairs whose chosen answer gained more likelihood over the base than the rejected.

    What a model gained is the reward that DPO and KTO train (arXiv:2305.18290, section 4), up to
    ``beta``. Both are ``log_probs`` of chosen and rejected answers in turn.
    """
    gained = [after - before for before, after in zip(base, tuned, strict=True)]
    return _share([a - b for a, b in zip(gained[::2], gained[1::2], strict=True)])


def log_probs(model: Any, examples: Sequence[Example], batch_size: int, pad_id: int) -> list[float]:
    """Log-likelihood in nats of each example's trained tokens, summed; in evaluation mode."""
    import torch

    model.eval()
    found = [0.0] * len(examples)
    # Rows of like length share a batch, so that little is spent on padding.
    order = sorted(range(len(examples)), key=lambda n: len(examples[n].input_ids))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        batch = [examples[place] for place in places]
        width = max(len(example.input_ids) for example in batch)
        ids = [e.input_ids + [pad_id] * (width - len(e.input_ids)) for e in batch]
        mask = [[1] * len(e.labels) + [0] * (width - len(e.labels)) for e in batch]
        labels = [e.labels + [IGNORED] * (width - len(e.labels)) for e in batch]
        target = torch.tensor(labels, device=model.device)[:, 1:]
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                use_cache=False,
            ).logits[:, :-1]
        # Only the positions that count are widened to float32: the vocabulary is large.
        counted = target != IGNORED
        losses = torch.zeros(target.shape, device=model.device)
        losses[counted] = torch.nn.functional.cross_entropy(
            logits[counted].float(), target[counted], reduction="none"
        )
        for place, loss in zip(places, losses.sum(dim=1).tolist(), strict=True):
            found[place] = -loss
    return found


def _share(margins: Sequence[float]) -> float:
    return sum(margin > 0 for margin in margins) / len(margins)


def _tokens(example: Example) -> int:
    return sum(label != IGNORED for label in example.labels[1:])


def perplexity(loss: float) -> float:
    """``exp`` of a loss in nats; infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


class _Words:
    """rouge-score's own tokenizer keeps a-z and 0-9 alone, and would score any Korean text 0."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())
