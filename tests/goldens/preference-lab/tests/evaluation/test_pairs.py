"""Pairs: how likely both answers are, of the pairs that are not too long."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM
from tunesmith_runtime.chat import Chat, read_split
from tunesmith_runtime.errors import UserError

from preference_lab.evaluation.pairs import PairOutcome


@pytest.fixture
def base(project: Path, tokenizer: Any) -> PairOutcome:
    model = AutoModelForCausalLM.from_pretrained(project / "base")
    rows = read_split(project / "run" / "data" / "test.jsonl")[:4]
    return PairOutcome(
        name="base",
        model=model,
        chat=Chat(tokenizer, [tokenizer.eos_token_id]),
        rows=rows,
        batch_size=2,
        max_length=128,
        max_new_tokens=8,
        base=None,
    )


def test_the_tuned_model_is_compared_with_the_base_pair_by_pair(base: PairOutcome) -> None:
    tuned = replace(base, name="tuned", base=base)
    assert base.base_log_probs is None
    assert tuned.base_log_probs == base.log_probs == tuned.log_probs
    assert len(base.log_probs) == 8
    assert base.counts == {"examples": 4.0, "pairs": 4.0}


def test_pairs_with_a_side_over_max_length_are_left_out(
    base: PairOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    long = replace(base.rows[0], rejected="Nobody knows of orders. " * 40, where="rows.jsonl:1")
    more = replace(base, rows=[*base.rows, long])
    assert more.log_probs == pytest.approx(base.log_probs)
    assert more.counts == {"examples": 5.0, "pairs": 4.0}
    assert "evaluate: 1 pairs over max_length are left out" in capsys.readouterr().out
    with pytest.raises(UserError, match="this and every test row is longer than"):
        _ = replace(base, rows=[long]).log_probs
