"""Bad specs: one line per problem with its place and a stable code, exit code 1, and nothing written."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import snapshot, spec_with, tunesmith, write_spec
from tunesmith.spec.pipeline import RULES, Spec
from tunesmith.spec.resolve import resolve

PIPELINE = """\
apiVersion: tunesmith/v1
project:
  name: support-assistant
  description: Answers
stack: "2026.11"
model:
  base: Qwen/Qwen3-0.6B
data:
  sources:
    - path: data/raw/support.jsonl
      columns: {prompt: question, completion: answer}
train:
  epochs: 2
"""


def edited(old: str, new: str) -> str:
    assert old in PIPELINE
    return PIPELINE.replace(old, new)


BAD = {
    "unknown key": (
        edited("  epochs: 2", "  epoch: 2"),
        "13:3: TS101 train.epoch: unknown key; did you mean 'epochs'?",
    ),
    "unknown section": (PIPELINE + "trian: {}\n", "14:1: TS101 trian: unknown key; did you mean 'train'?"),
    "unknown key in a list": (
        edited("      columns: {prompt", "      colums: {prompt"),
        "11:7: TS101 data.sources[0].colums: unknown key; did you mean 'columns'?",
    ),
    "key of a section below": (
        edited("  epochs: 2", "  lora_rank: 8"),
        "13:3: TS101 train.lora_rank: unknown key; did you mean train.lora.rank?",
    ),
    "key that is nearly one here and one elsewhere": (
        edited("  epochs: 2", "  batch_size: 8"),
        "train.batch_size: unknown key; did you mean 'per_device_batch_size'?",
    ),
    "key of another section": (
        edited("  epochs: 2", "  name: x"),
        "train.name: unknown key; did you mean project.name?",
    ),
    "key that is one in a list": (edited("  epochs: 2", "  columns: x"), "train.columns: unknown key; known here: "),
    "empty key": (edited("  epochs: 2", '  "": 1'), "unknown key; known here: "),
    "initials of a key": (edited("  epochs: 2", "  lr: 1"), "train.lr: unknown key; did you mean 'learning_rate'?"),
    "beginning of a key": (
        edited("  epochs: 2", "  gpus: 8"),
        "train.gpus: unknown key; did you mean 'gpus_per_node'?",
    ),
    "nearly a value": (
        edited("  epochs: 2", "  adapter: qlorra"),
        "13:3: TS102 train.adapter must be 'full', 'lora' or 'qlora', not 'qlorra'; did you mean 'qlora'?",
    ),
    "a value's usual spelling": (edited("  epochs: 2", "  adapter: LoRA"), "not 'LoRA'; did you mean 'lora'?"),
    "empty list": (
        PIPELINE + "evaluate: {metrics: []}\n",
        "14:12: TS102 evaluate.metrics must have at least 1 item, not a list of 0",
    ),
    "wrong type": (edited("epochs: 2", "epochs: many"), "13:3: TS102 train.epochs must be a valid number, not 'many'"),
    "a word where a flag is meant": (PIPELINE + "hpo: {enabled: no}\n", "14:7: TS102 hpo.enabled must be"),
    "a number where text is meant": (edited('"2026.11"', "2026.11"), "5:1: TS102 stack must be text in quotes"),
    "unknown stack": (edited('"2026.11"', '"1999.01"'), "5:1: TS104 stack must be one of"),
    "out of range": (edited("epochs: 2", "epochs: -1"), "13:3: TS102 train.epochs must be greater than 0, not -1"),
    "not a number": (edited("epochs: 2", "epochs: .nan"), "13:3: TS102 train.epochs"),
    "empty section": (PIPELINE + "serve:\n", "14:1: TS102 serve must be a mapping, not empty"),
    "missing value": (edited("  base: Qwen/Qwen3-0.6B\n", "  dtype: float32\n"), "6:1: TS103 model.base is missing"),
    "missing section": (edited("model:\n  base: Qwen/Qwen3-0.6B\n", ""), "1:1: TS103 model is missing"),
    "invalid YAML": (edited("train:\n", "train: [\n"), "TS004 invalid YAML"),
    "tab": (edited("  epochs", "\tepochs"), "13:1: TS004 invalid YAML"),
    "Python tag": (edited("epochs: 2", "epochs: !!python/name:os.system 2"), "13:11: TS004 the tag"),
    "duplicate key": (PIPELINE + "train: {}\n", "14:1: TS005 duplicate key 'train'; it is already given on line 12"),
    "empty file": ("", "TS007 is empty"),
    "comments only": ("# nothing\n", "TS007"),
    "a list": ("- 1\n- 2\n", "1:1: TS007 must hold a mapping"),
    "two documents": (PIPELINE + "---\n" + PIPELINE, "TS004"),
    "newer format": (edited("tunesmith/v1", "tunesmith/v9"), "1:1: TS102 apiVersion must be 'tunesmith/v1'"),
    "no name of a package": (edited("support-assistant", "Support Assistant!"), "3:3: TS104 project.name must be"),
    "name with a leading digit": (edited("support-assistant", "9lives"), "3:3: TS104 project.name must begin"),
    "keyword as name": (edited("support-assistant", "lambda"), "which is a Python keyword"),
    "standard library as name": (edited("support-assistant", "json"), "TS104 project.name becomes the package 'json'"),
    "dependency as name": (edited("support-assistant", "torch"), "TS104 project.name becomes the package 'torch'"),
    "another dependency as name": (
        edited("support-assistant", "prometheus-client"),
        "becomes the package 'prometheus_client'",
    ),
    "no host": (PIPELINE + "serve: {host: a..b}\n", "14:9: TS104 serve.host must be an IP address or a host name"),
    "path with a newline": (
        edited("data/raw/support.jsonl", '"data\\n.jsonl"'),
        "10:7: TS102 data.sources[0].path must",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_spec_is_refused_at_its_place_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    text, expected = BAD[name]
    write_spec(tmp_path, text)
    before = snapshot(tmp_path)
    for command in ("validate", "apply"):
        done = tunesmith(command, tmp_path)
        assert done.returncode == 1, done.stdout
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert done.stderr.startswith(str(tmp_path / "pipeline.yaml"))
    assert snapshot(tmp_path) == before


PREFERENCES = [
    {
        "path": "data/raw/support.jsonl",
        "format": "preference",
        "columns": {"prompt": "question", "chosen": "answer", "rejected": "other"},
    }
]
# What a spec says, and the beginning of the line that refuses it.
BROKEN_RULES: list[tuple[dict[str, Any], str]] = [
    (
        {"train__adapter": "full", "train__lora": {"rank": 8}},
        "TS201 train.lora has no effect with train.adapter 'full'",
    ),
    (
        {"train__adapter": "full", "hpo__lora_ranks": [8]},
        "TS201 hpo.lora_ranks has no effect with train.adapter 'full'",
    ),
    ({"hpo__enabled": False, "hpo__trials": 3}, "TS201 hpo.trials has no effect with hpo.enabled false"),
    (
        {"data__sources": [{"path": "data/raw/support.jsonl", "columns": {"messages": "answer"}}]},
        "TS201 columns.messages has no effect with format 'prompt-completion', which reads prompt and completion",
    ),
    ({"train__qlora": {"double_quantization": False}}, "TS201 train.qlora has no effect with train.adapter 'lora'"),
    ({"train__beta": 0.2}, "TS201 train.beta has no effect with train.method 'sft'"),
    ({"train__gpus_per_node": 2}, "TS201 train.gpus_per_node has no effect with train.distributed 'none'"),
    ({"train__nodes": 1}, "TS201 train.nodes has no effect with train.distributed 'none'"),
    ({"tracking__project": "support"}, "TS201 tracking.project has no effect with tracking.provider 'none'"),
    (
        {"tracking__provider": "wandb", "tracking__uri": "http://127.0.0.1:5000"},
        "TS201 tracking.uri has no effect with tracking.provider 'wandb'; remove it or choose 'mlflow'",
    ),
    (
        {"data__sources": PREFERENCES, "train__method": "orpo", "train__lora__dropout": 0.1},
        "TS201 train.lora.dropout has no effect with train.method 'orpo', for which TRL switches dropout off; remove it",
    ),
    (
        {"data__validation_fraction": 0.5, "data__test_fraction": 0.4},
        "TS203 data.validation_fraction and data.test_fraction hold out 90% of the rows",
    ),
    (
        {"model__max_length": 64, "evaluate__max_new_tokens": 64, "serve__max_new_tokens": 32},
        "TS204 evaluate.max_new_tokens 64 leaves no room for a prompt within model.max_length 64",
    ),
    (
        {
            "data__sources": [
                {"path": "data/raw/support.jsonl", "columns": {"prompt": "answer", "completion": "answer"}}
            ]
        },
        "TS205 prompt and completion are both read from column 'answer'",
    ),
    ({"train__lora": {"target_modules": ["q_proj", "lm_head"]}}, "TS209 train.lora.target_modules names lm_head"),
    (
        {"data__sources": PREFERENCES, "train__method": "dpo", "train__packing": True},
        "TS211 train.packing is for train.method 'sft': dpo compares whole answers",
    ),
    (
        {"data__sources": PREFERENCES, "train__method": "kto", "train__per_device_batch_size": 1},
        "TS212 train.per_device_batch_size 1 cannot be used with train.method 'kto'",
    ),
    (
        {"train__adapter": "qlora", "train__distributed": "deepspeed-zero3"},
        "TS213 train.distributed 'deepspeed-zero3' cannot be used with train.adapter 'qlora': ZeRO-3 cannot shard",
    ),
    (
        {"train__optimizer": "adamw_8bit", "train__distributed": "fsdp"},
        "TS214 train.optimizer 'adamw_8bit' cannot be used with train.distributed 'fsdp'",
    ),
    (
        {"train__distributed": "ddp", "train__gpus_per_node": 1},
        "TS216 train.distributed 'ddp' needs two GPUs or more",
    ),
    ({"train__method": "orpo"}, "TS217 format 'prompt-completion' cannot be used with train.method 'orpo'"),
    (
        {"evaluate__metrics": ["preference-accuracy"]},
        "TS218 evaluate.metrics names preference-accuracy, which needs pairs of answers",
    ),
    (
        {"train__packing": True, "train__distributed": "deepspeed-zero3"},
        "TS220 train.packing cannot be used with train.distributed 'deepspeed-zero3'",
    ),
]


@pytest.mark.parametrize(
    ("method", "metric", "lacking"),
    [
        (
            "sft",
            "preference-accuracy",
            "pairs of answers: train.method 'sft' has none; remove it or choose 'dpo', 'orpo' or 'kto'",
        ),
        ("sft", "reward-accuracy", "pairs of answers: train.method 'sft' has none; remove it or choose 'dpo' or 'kto'"),
        (
            "orpo",
            "reward-accuracy",
            "a reference model: train.method 'orpo' has none; remove it or choose 'dpo' or 'kto'",
        ),
    ],
)
def test_a_metric_that_the_method_does_not_have_is_refused(
    method: str, metric: str, lacking: str, tmp_path: Path
) -> None:
    sources = PREFERENCES if method == "orpo" else spec_with()["data"]["sources"]
    metrics = ["exact-match", metric]
    write_spec(tmp_path, spec_with(data__sources=sources, train__method=method, evaluate__metrics=metrics))
    done = tunesmith("validate", tmp_path)
    assert f"TS218 evaluate.metrics names {metric}, which needs {lacking}" in done.stderr


@pytest.mark.parametrize(("changes", "expected"), BROKEN_RULES)
def test_sections_that_do_not_fit_together_are_refused_at_their_place(
    changes: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    write_spec(tmp_path, spec_with(**changes))
    done = tunesmith("validate", tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(rf"{re.escape(str(tmp_path))}/pipeline\.yaml:\d+:\d+: {re.escape(expected)}", line), line


@pytest.mark.parametrize(
    ("train", "reason"),
    [
        ({"adapter": "qlora", "distributed": "fsdp"}, "FSDP2 leaves 4-bit weights whole"),
        ({"adapter": "qlora", "distributed": "deepspeed-zero2", "lora": {"dora": True}}, "DoRA on 4-bit weights"),
        ({"adapter": "lora", "distributed": "fsdp", "lora": {"dora": True}}, "DoRA reads whole weights"),
    ],
)
def test_adapters_that_cannot_be_sharded_are_refused_with_the_reason(
    train: dict[str, object], reason: str, tmp_path: Path
) -> None:
    write_spec(tmp_path, spec_with(**{f"train__{key}": value for key, value in train.items()}))
    done = tunesmith("validate", tmp_path)
    assert done.returncode == 1
    assert f"TS213 train.distributed '{train['distributed']}'" in done.stderr
    assert reason in done.stderr


def test_every_rule_has_a_spec_that_breaks_it() -> None:
    specs = [resolve(Spec.model_validate(spec_with(**changes))) for changes, _ in BROKEN_RULES]
    idle = [rule.check.__name__ for rule in RULES if not any(list(rule.check(spec)) for spec in specs)]
    assert idle == []


def test_only_options_without_effect_share_a_code() -> None:
    shared = {code for code, count in Counter(rule.code for rule in RULES).items() if count > 1}
    assert shared == {"TS201"}
    assert len({(rule.title, rule.explanation) for rule in RULES if rule.code == "TS201"}) == 1


def test_a_password_in_a_trackers_address_is_refused_and_not_repeated(tmp_path: Path) -> None:
    uri = "https://me:hunter2@mlflow.example.com"
    write_spec(tmp_path, spec_with(tracking__provider="mlflow", tracking__uri=uri))
    done = tunesmith("validate", tmp_path)
    assert done.returncode == 1
    assert "TS104 tracking.uri must not hold a password; set MLFLOW_TRACKING_USERNAME" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    write_spec(tmp_path, spec_with(train__epochs="x", train__sed=1, serve__port=0, project__name="Bad Name"))
    lines = tunesmith("validate", tmp_path).stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["TS104", "TS102", "TS102", "TS101"], lines


def test_a_huge_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    with (tmp_path / "pipeline.yaml").open("wb") as file:
        file.truncate(50_000_000)
    done = tunesmith("apply", tmp_path)
    assert done.returncode == 1
    assert "TS002 is 50 MB" in done.stderr


def test_anchors_that_expand_without_end_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "pipeline.yaml").write_text("\n".join(lines))
    done = tunesmith("validate", tmp_path)
    assert done.returncode == 1
    assert "TS006" in done.stderr


@pytest.mark.parametrize("text", ["[" * 400_000, "- " * 400_000, "{a: " * 100_000, "a: &a [*a]", "? [complex]\n: 1\n"])
def test_odd_yaml_gives_a_line_and_no_traceback(text: str, tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(text)
    done = tunesmith("validate", tmp_path)
    assert done.returncode == 1
    assert "TS0" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_spec_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_bytes(PIPELINE.replace("Answers", "Réponses").encode("latin-1"))
    done = tunesmith("validate", tmp_path)
    assert done.returncode == 1
    assert "pipeline.yaml:4: TS003" in done.stderr


def test_numbers_and_words_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    """`2e-4` is a number and `no` a word: YAML 1.1 has both the other way round."""
    from tunesmith.spec.load import load_spec

    text = PIPELINE.replace("epochs: 2", "learning_rate: 2e-4").replace("description: Answers", "description: no")
    spec = load_spec(write_spec(tmp_path, text) / "pipeline.yaml")
    assert spec.train.learning_rate == 2e-4
    assert spec.project.description == "no"


def test_json_output_holds_the_problems_and_nothing_else(tmp_path: Path) -> None:
    write_spec(tmp_path, spec_with(train__epoch=1))
    done = tunesmith("validate", tmp_path, "--json")
    assert done.returncode == 1
    (problem,) = yaml.safe_load(done.stdout)["problems"]
    assert problem["code"] == "TS101"
    assert problem["line"] > 1
    assert done.stderr == ""
