"""The model card: each fact from its record, and text from outside without effect."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import write_json

from support_assistant import evaluate
from support_assistant.exporting.card import model_card

HOSTILE = (
    "---\nlicense: mit\n---\n# Heading\n\n1. <script>alert(1)</script> [a](javascript:b) ![x](y)\n"
    "```\n| a | b |\n\x00 & *bold* $x$ \u202e"
)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A trained run of its own, not evaluated yet."""
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "evaluate", ignore_errors=True)
    for stage in ("data", "train"):  # as if it had been made here
        edit(tmp_path / "run" / stage, str(trained / "run"), str(tmp_path / "run"))
    return tmp_path / "run"


def edit(directory: Path, old: str, new: str) -> None:
    file = directory / "manifest.json"
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def record(run: Path, stage: str) -> Any:
    return json.loads((run / stage / "manifest.json").read_text(encoding="utf-8"))


def card(run: Path, description: str = "Finds things.", license_id: str | None = None) -> str:
    words = ("an adapter", "hand", "12 of float32")
    made = model_card(run, "finder", description, license_id, *words, ["tag"])
    return str(made)


def parse(text: str) -> tuple[dict[str, Any], str]:
    """Front matter and body."""
    match = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    assert match
    return yaml.safe_load(match[1]), text[match.end() :]


def test_the_card_says_what_was_recorded(run: Path) -> None:
    metadata, body = parse(card(run, license_id="apache-2.0"))
    assert metadata == {
        "library_name": "transformers",
        "license": "apache-2.0",
        "pipeline_tag": "text-generation",
        "tags": ["tag"],
    }
    data, train = record(run, "data"), record(run, "train")
    digests = [*data["inputs"].values(), *train["inputs"].values()]
    assert len(digests) == 4
    assert all(f"`{digest}`" in body for digest in digests)
    rows = {name: f"{count:.0f}" for name, count in data["metrics"].items()}
    assert f"{rows['train_rows']} rows to train on, {rows['validation_rows']} to validate" in body
    assert f"{rows['test_rows']} held out" in body
    assert f"- learning\\_rate: `{json.dumps(train['config']['learning_rate'])}`" in body
    assert f"- seed: `{train['seed']}`" in body
    assert (
        f"- chat\\_template\\_kwargs: `{json.dumps(train['config']['chat_template_kwargs'])}`"
        in body
    )
    assert "log\\_every" not in body, "it says nothing of the model"
    assert f"at most {train['config']['max_length']} tokens" in body
    for package, version in train["packages"].items():
        assert f"- {package}: `{version}`" in body
    assert "- Trained: an adapter, by hand\n" in body
    assert "## Intended use\n\nFinds things.\n" in body
    assert "- Weights: 12 of float32\n" in body
    assert "This model's is `apache-2.0`." in body


def test_the_base_model_is_named_by_its_revision_where_it_is_on_the_hub(run: Path) -> None:
    train = record(run, "train")
    base = train["config"]["base_model"]
    train["config"] |= {"base_model": "some/base", "base_revision": "abc123"}
    train["inputs"].pop(base)
    write_json(
        run / "train" / "manifest.json", {**train, "inputs": {**train["inputs"], "some/base": None}}
    )
    metadata, body = parse(card(run))
    assert metadata["base_model"] == "some/base"
    assert "- Base model: `some/base`, revision `abc123`" in body
    assert "license" not in metadata
    assert "None is stated.\nSee also that of `some/base`, from which it is derived." in body


def test_metrics_stand_there_once_this_very_model_was_evaluated(run: Path, trained: Path) -> None:
    assert "This model has not been evaluated." in card(run)
    files = [trained / "config.yaml"]
    config = load_config(evaluate.Config, "evaluate", files, ["evaluate.max_examples=3"])
    metrics = evaluate.main(replace(config, run_dir=str(run)))
    body = card(run)
    assert "On 3 rows that were held out:" in body
    tuned = {key: value for key, value in metrics.items() if key.startswith("tuned_")}
    for key, value in tuned.items():
        name = key.removeprefix("tuned_")
        base = f"{metrics[f'base_{name}']:.4g}" if f"base_{name}" in metrics else ""
        assert f"| {name.replace('_', ' ')} | {base} | {value:.4g} |" in body

    (run / "train" / "final" / "changed").touch()
    assert "This model has not been evaluated." in card(run)


def test_data_that_was_made_anew_is_not_what_was_trained_on(run: Path) -> None:
    data, train = record(run, "data"), record(run, "train")
    (run / "data" / "train.jsonl").write_text("{}\n", encoding="utf-8")
    body = card(run)
    assert "rows to train on" not in body
    assert not any(digest in body for digest in data["inputs"].values())
    assert all(digest in body for digest in train["inputs"].values())


def test_addresses_are_not_told(run: Path) -> None:
    train = record(run, "train")
    train["config"]["store"] = "postgresql://someone:password@host"
    write_json(run / "train" / "manifest.json", train)
    assert "password" not in card(run)


def test_text_from_outside_stays_text(run: Path) -> None:
    before, plain_body = parse(card(run, license_id="mit"))
    train = record(run, "train")
    base = train["config"]["base_model"]
    train["config"]["base_model"] = HOSTILE
    train["inputs"] = {HOSTILE if path == base else path: d for path, d in train["inputs"].items()}
    write_json(run / "train" / "manifest.json", train)
    metadata, body = parse(card(run, description=HOSTILE, license_id="mit"))
    assert metadata == before
    assert len(body.splitlines()) == len(plain_body.splitlines()), "one line each"
    (use,) = [line for line in body.splitlines() if line.startswith("\\---")]
    assert "\\<script\\>" in use
    assert "\\[a\\](javascript:b)" in use
    assert "\\# Heading" in use
    assert "\\`\\`\\`" in use
    assert "\x00" not in body
    (named,) = [line for line in body.splitlines() if line.startswith("- Base model:")]
    assert named.startswith("- Base model: ````--- license: mit")

    train["inputs"][HOSTILE] = None  # as if it were on the Hub
    write_json(run / "train" / "manifest.json", train)
    metadata, _ = parse(card(run, license_id=HOSTILE))
    assert metadata == {**before, "base_model": HOSTILE, "license": HOSTILE}


def test_a_training_without_a_record_has_no_card(run: Path) -> None:
    (run / "train" / "manifest.json").unlink()
    with pytest.raises(UserError, match="run the train stage again"):
        card(run)
