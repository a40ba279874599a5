"""Both answers of a pair follow what the server feeds, and what teaches nothing is refused."""

from typing import Any

import pytest
from tunesmith_runtime.chat import IGNORED, Chat, Row, prompt_ids
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.pairs import encode_pair, preflight_pairs

from preference_lab.smoke.base import CHAT_TEMPLATE

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello there"},
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "Look under parcels."},
]


def check_pair(tokenizer: Any, rejected: str, max_length: int = 128) -> Any:
    row = Row(TURNS, "rows.jsonl:3", rejected)
    return preflight_pairs(Chat(tokenizer, [tokenizer.eos_token_id]), [row], max_length, 1.0)


def test_both_answers_of_a_pair_follow_what_the_server_feeds(tokenizer: Any) -> None:
    row = Row(TURNS, "rows.jsonl:3", "No idea")
    served = prompt_ids(tokenizer, TURNS[:3])
    answers = ("Look under parcels.", "No idea")
    pair = encode_pair(Chat(tokenizer, [tokenizer.eos_token_id]), row)
    for side, answer in zip(pair, answers, strict=True):
        assert side.input_ids[: len(served)] == served
        assert side.labels[: len(served)] == [IGNORED] * len(served)
        assert tokenizer.decode(side.labels[len(served) :]) == f"{answer}<|im_end|>"


def test_a_pair_of_equal_answers_is_refused(tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"rows\.jsonl:3: chosen and rejected are the same"):
        check_pair(tokenizer, "Look under parcels.")
    whole = check_pair(tokenizer, "Look under parcels, please.").examples[0].input_ids
    shared = len(prompt_ids(tokenizer, TURNS[:3])) + 1
    assert shared < len(whole)
    with pytest.raises(UserError, match="raise max_length"):
        check_pair(tokenizer, "Look under parcels, please.", max_length=shared)


def test_a_pair_whose_template_never_stops_is_refused(tokenizer: Any) -> None:
    tokenizer.chat_template = CHAT_TEMPLATE.replace("'<|im_end|>\\n'", "'\\n'")
    with pytest.raises(UserError, match=r"rows\.jsonl:3: .* never learn to stop"):
        check_pair(tokenizer, "No idea")
