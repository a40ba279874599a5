"""BLEU."""

from legal_qa.evaluation.bleu import bleu


def test_bleu_of_korean_needs_characters() -> None:
    answer, reference = ["환불은 이틀이 걸립니다"], ["환불은 이틀 걸립니다"]
    assert bleu(answer, reference, "char") > bleu(answer, reference, "13a")
