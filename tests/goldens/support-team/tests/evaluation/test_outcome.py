"""What is known of a model: found once, from the rows that are not too long."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoModelForCausalLM
from tunesmith_runtime.chat import Chat, Row, read_split
from tunesmith_runtime.errors import UserError

from support_assistant.evaluation.outcome import Outcome


@pytest.fixture
def base(project: Path, tokenizer: Any) -> Outcome:
    model = AutoModelForCausalLM.from_pretrained(project / "base")
    rows = read_split(project / "run" / "data" / "test.jsonl")[:4]
    return Outcome(
        name="base",
        model=model,
        chat=Chat(tokenizer, [tokenizer.eos_token_id]),
        rows=rows,
        batch_size=2,
        max_length=128,
        max_new_tokens=8,
        base=None,
    )


def test_a_model_is_asked_once_for_what_several_metrics_read(base: Outcome) -> None:
    assert not base.has_answered
    loss, answers = base.loss, base.answers
    assert base.has_answered
    base.model = None
    assert (base.loss, base.answers) == (loss, answers)


def test_what_was_not_read_in_time_is_said_in_a_line(base: Outcome) -> None:
    base.model = None
    assert "model=None" in repr(base)
    assert base.counts == {"examples": 4.0}
    with pytest.raises(UserError, match=r"has to read model\.answers of the base, too"):
        _ = base.answers


def test_rows_over_max_length_are_left_out_of_the_loss(base: Outcome) -> None:
    answer = {"role": "assistant", "content": "Look under orders. " * 40}
    long = Row([*base.rows[0].messages[:-1], answer], "rows.jsonl:1")
    assert replace(base, rows=[*base.rows, long]).loss == pytest.approx(base.loss)
    with pytest.raises(UserError, match="this and every test row is longer than"):
        _ = replace(base, rows=[long]).loss
