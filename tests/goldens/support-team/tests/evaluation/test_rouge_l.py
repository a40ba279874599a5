"""ROUGE-L."""

import pytest

from support_assistant.evaluation.rouge_l import rouge_l


def test_rouge_counts_korean_words() -> None:
    assert rouge_l(["환불은 이틀 걸립니다"], ["환불은 이틀 걸립니다"]) == 1.0
    assert rouge_l(["환불은 사흘 걸립니다"], ["환불은 이틀 걸립니다"]) == pytest.approx(2 / 3)
