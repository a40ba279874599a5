"""Real chat templates: what is trained is the answer that a server's prompt leads to, or the row is refused."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import real_models
from conftest import PIPELINE_PYTHON, PROJECT, require
from repositories import offline

pytestmark = pytest.mark.pipeline

# Answers of a word, without spaces, and of one token or two: what a check of words would not see.
ANSWERS = ("good", "不错，谢谢你。", "https://example.org/a?b=1", '{"a":1,"b":[2]}', "Two words", " padded ", "No")
DATE = {"strftime_now": "2025-06-01"}
# A family whose tokenizer has the control tokens, and one of its templates as TRL carries it.
TEMPLATES = {
    "qwen3": ("qwen3", "qwen3"),
    "qwen3.6": ("qwen3", "qwen3_6"),
    "nemotron": ("qwen3", "nemotron_3_nano"),
    "gpt-oss": ("gpt-oss", "gptoss"),
    "r1": ("qwen3", "deepseek_r1_distill"),
    "llama3.2": ("llama3.2", "llama3_2"),
    "gemma3": ("gemma3", "gemma3"),
    "gemma": ("gemma3", "gemma"),
    "qwen2.5": ("qwen2.5", "qwen2_5"),
    "phi3": ("gpt-oss", "phi3"),
}
Encode = Callable[..., list[dict[str, Any]]]
REASONING = ("qwen3", "qwen3.6", "nemotron", "gpt-oss", "r1")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with tokenizer and template for each of TEMPLATES."""
    (templates,) = Path(require(PIPELINE_PYTHON)).parents[1].glob("lib/python*/site-packages/trl/chat_templates")
    found = {}
    for name, (family, template) in TEMPLATES.items():
        folder = tmp_path_factory.mktemp("templates") / name
        shutil.copytree(real_models.tiny(family), folder, ignore=shutil.ignore_patterns("*.safetensors"))
        text = (templates / f"{template}.jinja").read_text(encoding="utf-8")
        if name == "r1":  # under the control tokens of the tokenizer that it is tried with
            text = text.replace("<｜end▁of▁sentence｜>", "<|im_end|>")
        (folder / "chat_template.jinja").write_text(text, encoding="utf-8")
        if name == "phi3":  # which ends a turn, and then the text: `<|end|>`, `<|return|>`
            (folder / "generation_config.json").write_text('{"eos_token_id": [200007, 200002]}', encoding="utf-8")
        found[name] = str(folder)
    for name, kind in (("deepseek", None), ("deepseek, mended", "PreTrainedTokenizerFast")):
        folder = shutil.copytree(real_models.deepseek_tokenizer(), tmp_path_factory.mktemp("templates") / "deepseek")
        file = folder / "tokenizer_config.json"
        config = json.loads(file.read_text(encoding="utf-8"))
        file.write_text(json.dumps({**config, **({"tokenizer_class": kind} if kind else {})}), encoding="utf-8")
        found[name] = str(folder)
    return found


@pytest.fixture(scope="module")
def encode(models: dict[str, str]) -> Iterator[Encode]:
    """Says what comes of each case, whose model is named as in TEMPLATES; one process for all tests."""
    line = [str(PIPELINE_PYTHON), str(PROJECT / "tests" / "encode_with_templates.py")]
    environment = offline(PYTHONPATH=str(PROJECT / "runtime"))
    with subprocess.Popen(line, env=environment, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        asking, answering = process.stdin, process.stdout

        def ask(*cases: dict[str, Any]) -> list[dict[str, Any]]:
            full = [{"kwargs": DATE, "thinking": None, **case, "model": models[case["model"]]} for case in cases]
            print(json.dumps(full), file=asking, flush=True)
            answer = next((text for text in answering if text.startswith("=> ")), None)
            assert answer, "the process has ended"
            results: list[dict[str, Any]] = json.loads(answer.removeprefix("=> "))
            return results

        yield ask
        asking.close()


def talk(*contents: str, roles: tuple[str, ...] = ("user", "assistant")) -> list[dict[str, str]]:
    return [{"role": roles[number % len(roles)], "content": content} for number, content in enumerate(contents)]


def trained(sample: str) -> str:
    """What the last turn trains."""
    return sample.rpartition("⟦")[2].removesuffix("⟧")


def test_nothing_is_trained_before_an_answer_whatever_the_answer_is(encode: Encode) -> None:
    """Refused with a way out that this template has, and each way out that is named works."""
    cases = [{"model": name, "rows": [talk("Hi", answer)]} for name in REASONING for answer in ANSWERS]
    for case, result in zip(cases, encode(*cases), strict=True):
        assert "between the prompt and the answer" in result["error"], (case, result)
        assert "model.thinking in pipeline.yaml: drop" in result["error"]
        switch = "model.chat_template_kwargs: {enable_thinking: false}" in result["error"]
        assert switch == (case["model"] in ("qwen3", "qwen3.6", "nemotron")), case
        assert "\n" not in result["error"]


def test_what_stands_before_an_answer_is_dropped_kept_or_trained_as_asked(encode: Encode) -> None:
    rows = [talk("Hi", answer, "And now?", answer) for answer in ANSWERS]
    cases = [
        {"model": name, "thinking": thinking, "rows": [row]}
        for name in REASONING
        for thinking in ("drop", "keep", "train-empty")
        for row in rows
    ]
    for case, result in zip(cases, encode(*cases), strict=True):
        assert "error" not in result, (case, result)
        learned = "".join(trained(result["sample"]).split())
        answer = "".join(case["rows"][0][-1]["content"].split())
        before = r"(.*</think>|<\|channel\|>final<\|message\|>)" if case["thinking"] == "train-empty" else ""
        assert re.fullmatch(before + re.escape(answer) + r"<\|(im_end|return)\|>", learned), (case, result)


def test_a_switch_of_the_template_is_a_way_out_too(encode: Encode) -> None:
    names = ("qwen3", "qwen3.6", "nemotron")
    rows = [talk("Hi", answer) for answer in ANSWERS]
    cases = [{"model": name, "kwargs": {"enable_thinking": False}, "rows": rows} for name in names]
    cases += [{"model": name, "rows": rows} for name in ("llama3.2", "gemma3", "qwen2.5")]
    for case, result in zip(cases, encode(*cases), strict=True):
        assert trained(result["sample"]).startswith("No<"), (case, result)


def test_reasoning_that_an_answer_brings_is_trained_or_refused_and_never_lost(encode: Encode) -> None:
    answer = "<think>\nHe greets.\n</think>\n\nHello"
    cases = [{"model": name, "rows": [talk("Hi", answer)]} for name in ("qwen3", "nemotron", "qwen2.5", "r1")]
    *kept, lost = encode(*cases)
    for result in kept:
        assert "He greets." in trained(result["sample"]), result
    # Answers are compared without the reasoning before them, on both sides.
    assert kept[0]["answer"].strip() == "Hello"
    assert "does not render the answer as it is" in lost["error"]
    assert "reasoning, say" in lost["error"]


def test_reasoning_where_the_prompt_leaves_no_place_for_it_is_refused_and_an_empty_one_is_not(encode: Encode) -> None:
    closed = {"model": "qwen3", "kwargs": {"enable_thinking": False}}
    drop = {"model": "qwen3", "thinking": "drop"}
    some, none = ([talk("Hi", f"<think>\n{text}\n</think>\n\nHello")] for text in ("He greets.", ""))
    *refused, one, other = encode(*({**case, "rows": rows} for rows in (some, none) for case in (closed, drop)))
    for result in refused:
        assert "the answer brings a reasoning of its own, in <think>" in result["error"]
        assert "take model.thinking: keep" in result["error"]
    for result in (one, other):
        assert trained(result["sample"]) == "Hello<|im_end|>"


def test_an_answer_ends_at_the_first_token_that_stops(encode: Encode) -> None:
    (result,) = encode({"model": "phi3", "rows": [talk("Hi", "Hello there", "And?", "Bye")]})
    assert result["sample"].count("⟦") == 2
    assert trained(result["sample"]) == "Bye<|end|>"


def test_a_tokenizer_that_loses_text_is_refused_until_it_is_loaded_as_what_it_is(encode: Encode) -> None:
    rows = [talk("Hi there", "不错，谢谢你 x = 1")]
    lost, whole = encode({"model": "deepseek", "rows": rows}, {"model": "deepseek, mended", "rows": rows})
    assert "its tokenizer turns 'Be brief: x = 1' into 'Bebrief:x=1'" in lost["error"]
    assert "write PreTrainedTokenizerFast as tokenizer_class" in lost["error"]
    assert trained(whole["sample"]) == "不错，谢谢你 x = 1<｜end▁of▁sentence｜>"


def test_a_choice_that_means_nothing_to_a_template_is_refused(encode: Encode) -> None:
    case = {"model": "qwen2.5", "thinking": "drop", "rows": [talk("Hi", "Hello")]}
    (result,) = encode(case)
    assert result["error"].startswith("thinking: drop: the chat template of ")
    assert "remove model.thinking" in result["error"]


def test_a_template_that_writes_the_date_is_refused_until_it_is_fixed(encode: Encode) -> None:
    rows = [talk("Hi", "Hello")]
    cases = [
        {"model": name, "kwargs": {}, "thinking": thinking, "rows": rows}
        for name, thinking in (("llama3.2", None), ("gpt-oss", "drop"))
    ]
    cases += [
        {**case, "kwargs": kwargs} for case, kwargs in zip(cases, ({"date_string": "26 Jul 2024"}, DATE), strict=True)
    ]
    llama, gpt, *fixed = encode(*cases)
    assert 'model.chat_template_kwargs: {date_string: "' in llama["error"]
    assert 'model.chat_template_kwargs: {strftime_now: "' in gpt["error"]
    assert "26 Jul 2024" in fixed[0]["sample"]
    assert "2025-06-01" in fixed[1]["sample"]


def test_what_a_template_refuses_is_said_with_the_row_and_a_way_out(encode: Encode) -> None:
    fine = talk("Hi", "Hello")
    system = [{"role": "system", "content": "Be brief."}, *fine]
    twice = talk("Hi", "Are you there?", "Yes", roles=("user", "user", "assistant"))
    cases = [{"model": "gemma", "rows": [fine, system]}, {"model": "gemma3", "rows": [fine, twice]}]
    no_system, two_questions = (result["error"] for result in encode(*cases))
    assert no_system.startswith("rows.jsonl:2: the chat template refuses this conversation (system, user): ")
    assert "leave out data.system_prompt" in no_system
    assert two_questions.startswith("rows.jsonl:2: the chat template refuses this conversation (user, user): ")
    assert "join messages of one role" in two_questions


def test_text_that_spells_a_control_token_is_refused_in_any_role(encode: Encode) -> None:
    spelt = {
        "qwen3": "<|im_start|>",
        "llama3.2": "<|start_header_id|>",
        "gemma3": "<start_of_turn>",
        "gpt-oss": "<|channel|>",
    }
    cases = []
    for name, token in spelt.items():
        rows = [talk("Hi", "Hello"), talk(f"Say {token}system", "No"), talk("Hi", f"{token}user")]
        cases += [{"model": name, "rows": rows[:2]}, {"model": name, "rows": rows}]
    results = [result["error"] for result in encode(*cases)]
    for token, one, more in zip(spelt.values(), results[::2], results[1::2], strict=True):
        assert one.startswith(f"rows.jsonl:2: the text holds the control token {token!r}"), one
        assert "(and 1 rows more hold one)" in more
