"""Blueprints: what init writes is a spec that validates, and a target is never harmed."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from conftest import PROJECT, snapshot, tunesmith

SHIPPED = ["support-assistant", "legal-qa-ko", "support-preferences"]


@pytest.mark.parametrize("blueprint", SHIPPED)
def test_defaults_lead_to_a_repository_that_passes_its_check(blueprint: str, tmp_path: Path) -> None:
    root = tmp_path / "new" / "repository"
    done = tunesmith("init", blueprint, root, "--defaults")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in root.iterdir()) == ["data", "pipeline.yaml"]
    assert tunesmith("apply", root).returncode == 0
    done = tunesmith("check", root)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("blueprint", SHIPPED)
def test_starter_data_is_varied(blueprint: str) -> None:
    (path,) = (PROJECT / "blueprints" / blueprint / "template" / "data" / "raw").iterdir()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 300
    assert len({row.get("question", row.get("prompt")).casefold() for row in rows}) == len(rows)
    answers = [row.get("answer", row.get("chosen")) for row in rows]
    assert all(row.get("rejected") != answer for row, answer in zip(rows, answers, strict=True))
    assert len(set(answers)) >= 40
    assert all(answers.count(answer) >= 5 for answer in set(answers)), "an answer is learned from several questions"


@pytest.mark.parametrize("blueprint", SHIPPED)
@pytest.mark.parametrize("adapter", ["lora", "qlora", "full"])
@pytest.mark.parametrize("engine", ["fastapi", "vllm"])
def test_every_answer_of_the_interview_leads_to_a_valid_spec(
    blueprint: str, adapter: str, engine: str, tmp_path: Path
) -> None:
    data = [f"--data={item}" for item in (f"adapter={adapter}", f"engine={engine}", "project_name=shop-bot")]
    assert tunesmith("init", blueprint, tmp_path / "new", "--defaults", *data).returncode == 0
    spec = yaml.safe_load((tmp_path / "new" / "pipeline.yaml").read_text())
    assert (spec["train"]["adapter"], spec["serve"]["engine"]) == (adapter, engine)
    assert spec["project"]["name"] == "shop-bot"


@pytest.mark.parametrize("text", ['a"b: {{ 1 }}\n- c', "it's 🦜 \\ # x", "한국어", "${{ x }}"])
def test_hostile_answers_stay_text(text: str, tmp_path: Path) -> None:
    done = tunesmith("init", "support-assistant", tmp_path / "new", "--defaults", f"--data=description={text}")
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load((tmp_path / "new" / "pipeline.yaml").read_text(encoding="utf-8"))
    assert spec["project"]["description"] == text


def test_bad_answers_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for answer, code in (("project_name=class", "TS104"), ("adapter=prefix", "TS603"), ("nmae=x", "TS602")):
        done = tunesmith("init", "support-assistant", tmp_path / "new", "--defaults", f"--data={answer}")
        assert done.returncode == 1
        assert code in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not list(tmp_path.iterdir())


def test_a_target_that_is_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("keep")
    (tmp_path / "file").write_text("keep")
    before = snapshot(tmp_path)
    for target, code in (("full", "TS401"), ("file", "TS402"), ("file/below", "TS403")):
        done = tunesmith("init", "support-assistant", tmp_path / target, "--defaults")
        assert done.returncode == 1
        assert code in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert snapshot(tmp_path) == before
    (tmp_path / "empty").mkdir()
    assert tunesmith("init", "support-assistant", tmp_path / "empty", "--defaults").returncode == 0


def test_an_unknown_blueprint_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    done = tunesmith("init", "suport-assistant", tmp_path / "new", "--defaults")
    assert done.returncode == 1
    assert (
        "TS601 no blueprint 'suport-assistant'; there are legal-qa-ko, support-assistant, support-preferences"
        in done.stderr
    )


def test_a_folder_serves_as_a_blueprint_and_one_without_a_spec_does_not(tmp_path: Path) -> None:
    own = PROJECT / "blueprints" / "support-assistant"
    assert tunesmith("init", own, tmp_path / "new", "--defaults").returncode == 0
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "copier.yml").write_text("question: {type: str, default: x}\n")
    done = tunesmith("init", tmp_path / "none", tmp_path / "other", "--defaults")
    assert done.returncode == 1
    assert "TS603" in done.stderr
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("questions", ["a: [", "- a", "5: x", "a: {type: str, default: '{{ 1/0 }}'}", ""])
def test_a_broken_blueprint_is_said_to_be_one(questions: str, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "copier.yml").write_text(questions)
    done = tunesmith("init", tmp_path / "broken", tmp_path / "new", "--defaults")
    assert done.returncode == 1
    assert "TS603" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_blueprint_that_cannot_be_fetched_is_said_to_be_one(tmp_path: Path) -> None:
    done = tunesmith("init", f"git+file://{tmp_path}/nowhere", tmp_path / "new", "--defaults")
    assert done.returncode == 1
    assert "TS603" in done.stderr, done.stderr


def test_without_a_terminal_and_without_defaults_init_says_so(tmp_path: Path) -> None:
    done = tunesmith("init", "support-assistant", tmp_path / "new")
    assert done.returncode == 1
    assert "--defaults" in done.stderr
    assert not (tmp_path / "new").exists()


def test_the_interview_asks_on_a_terminal(tmp_path: Path) -> None:
    """Answers typed at a real terminal arrive in the spec."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tunesmith", "init", "support-assistant", str(tmp_path / "new")]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, close_fds=True) as process:
        os.close(slave)
        seen = b""
        for question, answer in (
            (b"Name of the repository", b"\x15typed-name\r"),
            (b"What the model is for", b"\r"),
            (b"Base model", b"\r"),
            (b"How is it trained", b"\r"),
            (b"What serves it", b"\r"),
        ):
            deadline = time.monotonic() + 30
            while question not in seen:
                assert time.monotonic() < deadline, seen.decode(errors="replace")
                chunk = os.read(master, 65_536)
                seen += chunk
                # The terminal is asked where its cursor is before anything is shown.
                if b"\x1b[6n" in chunk:
                    os.write(master, b"\x1b[1;1R")
            time.sleep(0.3)
            os.write(master, answer)
        while process.poll() is None:
            try:
                os.read(master, 65_536)
            except OSError:
                break
        assert process.wait(30) == 0
    os.close(master)
    assert yaml.safe_load((tmp_path / "new" / "pipeline.yaml").read_text())["project"]["name"] == "typed-name"
