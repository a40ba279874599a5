"""What is trained is what the server feeds, token for token, and preflight refuses the rest."""

from typing import Any

import pytest
from tunesmith_runtime.chat import IGNORED, Chat, Row, encode_row, prompt_ids
from tunesmith_runtime.chat_template import find_opening, with_variables
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.preflight import preflight
from tunesmith_runtime.pretrained import load_chat

from support_assistant.smoke.base import CHAT_TEMPLATE

TURNS = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello there"},
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "Look under parcels."},
]
ROW = Row(TURNS, "rows.jsonl:1")


def as_chat(tokenizer: Any) -> Chat:
    return Chat(tokenizer, [tokenizer.eos_token_id], find_opening(tokenizer))


def check(tokenizer: Any, row: Row = ROW, max_length: int = 128, fraction: float = 0.0) -> Any:
    return preflight(as_chat(tokenizer), [row], max_length, fraction)


def test_every_answer_is_trained_and_nothing_else(tokenizer: Any) -> None:
    (example,) = encode_row(as_chat(tokenizer), ROW)
    trained = [label for label in example.labels if label != IGNORED]
    assert tokenizer.decode(trained) == "Hello there<|im_end|>Look under parcels.<|im_end|>"
    prompt = prompt_ids(tokenizer, TURNS[:3])
    assert example.input_ids[: len(prompt)] == prompt
    assert example.labels[len(prompt) :] == example.input_ids[len(prompt) :]


def test_a_template_that_rewrites_earlier_answers_gives_an_example_per_turn(tokenizer: Any) -> None:
    tokenizer.chat_template = CHAT_TEMPLATE.replace(
        "message['content'] +",
        "('' if not loop.last and loop.index == 2 else message['content']) +",
    )
    examples = encode_row(as_chat(tokenizer), ROW)
    assert len(examples) == 2
    assert examples[1].input_ids[: len(prompt_ids(tokenizer, TURNS[:3]))] == prompt_ids(
        tokenizer, TURNS[:3]
    )


def test_the_sample_marks_what_is_trained(tokenizer: Any) -> None:
    assert check(tokenizer).sample.endswith("assistant\n⟦Look under parcels.<|im_end|>⟧")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("'<|im_end|>\\n'", "'\\n'", "never learn to stop"),
        ("'<|im_start|>assistant\\n'", "'<|im_start|>bot\\n'", "unlike the prompt"),
        ("+ message['content']", "+ 'So: ' + message['content']", "model.thinking .* drop"),
    ],
)
def test_templates_that_train_wrong_are_refused(
    tokenizer: Any, old: str, new: str, message: str
) -> None:
    tokenizer.chat_template = CHAT_TEMPLATE.replace(old, new)
    assert tokenizer.chat_template != CHAT_TEMPLATE
    with pytest.raises(UserError, match=message):
        check(tokenizer)


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_text_that_spells_a_control_token_is_refused(tokenizer: Any, role: str) -> None:
    text = {"user": "Hi", "assistant": "Hello", role: "a<|im_end|>b"}
    row = Row([{"role": each, "content": text[each]} for each in text], "rows.jsonl:7")
    with pytest.raises(
        UserError, match=r"rows\.jsonl:7: the text holds the control token '<\|im_end"
    ):
        check(tokenizer, row)


def test_a_template_that_writes_the_date_is_refused_until_it_is_fixed(tokenizer: Any) -> None:
    dated = "{{- strftime_now('%Y') -}}" + CHAT_TEMPLATE
    tokenizer.chat_template = dated
    with pytest.raises(UserError, match=r'rows\.jsonl:1: .* \{strftime_now: "\d{4}"\}'):
        check(tokenizer)
    tokenizer.chat_template = with_variables(dated, {"strftime_now": "2025"})
    assert "2025" in check(tokenizer).sample


def test_too_many_long_rows_are_refused_with_a_length_that_would_do(tokenizer: Any) -> None:
    (example,) = encode_row(as_chat(tokenizer), ROW)
    enough = len(example.input_ids)
    with pytest.raises(UserError, match=rf"100\.0% of the rows .* max_length: {enough} would do"):
        check(tokenizer, max_length=enough - 1)
    assert check(tokenizer, max_length=enough).truncated_fraction == 0
    cut = check(tokenizer, max_length=enough - 1, fraction=1.0)
    assert len(cut.examples[0].input_ids) == enough - 1


def test_template_settings_are_saved_in_the_template(project: Any, tokenizer: Any) -> None:
    settings = {"add_generation_prompt": False}
    changed = load_chat(str(project / "base"), "main", settings)
    assert prompt_ids(changed.tokenizer, TURNS[:1]) != prompt_ids(tokenizer, TURNS[:1])


def test_a_tokenizer_without_a_template_is_refused(project: Any, tmp_path: Any) -> None:
    from transformers import AutoTokenizer

    bare = AutoTokenizer.from_pretrained(project / "base")
    bare.chat_template = None
    bare.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="no chat template"):
        load_chat(str(tmp_path), "main", {})
