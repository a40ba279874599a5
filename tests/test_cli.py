"""The command line: exit codes, help, and output for people and programs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PROJECT, spec_with, write_spec
from conftest import command as tunesmith
from tunesmith import __version__
from tunesmith.codes import CODES, RETIRED

COMMANDS = ["init", "validate", "plan", "apply", "check", "schema", "blueprints", "explain"]


def test_help_names_every_command() -> None:
    done = tunesmith("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f"  {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_gives_an_example(command: str) -> None:
    done = tunesmith(command, "--help")
    assert done.returncode == 0
    assert f"Example: tunesmith {command}" in done.stdout


def test_version() -> None:
    assert tunesmith("--version").stdout == f"tunesmith {__version__}\n"


def test_validate_takes_the_spec_or_its_folder(tmp_path: Path) -> None:
    root = write_spec(tmp_path, spec_with())
    for argument in (root, root / "pipeline.yaml"):
        done = tunesmith("validate", argument)
        assert done.returncode == 0
        assert "data/raw/support.jsonl: 40 rows" in done.stdout
    assert tunesmith("validate", cwd=root).returncode == 0


def test_plan_shows_each_change(repository: Callable[..., Path]) -> None:
    root = repository()
    write_spec(root, spec_with(train__epochs=7))
    done = tunesmith("plan", root, "--diff")
    assert done.returncode == 2
    assert "update   configs/default.yaml" in done.stdout
    assert "-  epochs: 3.0" in done.stdout
    assert "+  epochs: 7" in done.stdout
    steps = json.loads(tunesmith("plan", root, "--diff", "--json").stdout)["steps"]
    (changed,) = [step for step in steps if step["path"] == "configs/default.yaml"]
    assert "+  epochs: 7" in changed["diff"]


def test_apply_says_what_comes_next(tmp_path: Path) -> None:
    """A new repository is set up, and again when its dependencies change; else there is nothing to say."""
    root = write_spec(tmp_path / "my model", spec_with())
    assert f"Next: cd '{root}' && make setup && make smoke\n" in tunesmith("apply", root).stdout
    write_spec(root, spec_with(train__seed=7))
    assert "Next:" not in tunesmith("apply", root).stdout
    write_spec(root, spec_with(train__seed=7, tracking__provider="mlflow"))
    assert "Next: make setup, since" in tunesmith("apply", ".", cwd=root).stdout


def test_check_passes_what_was_generated_and_names_what_was_broken(repository: Callable[..., Path]) -> None:
    root = repository()
    done = tunesmith("check", root)
    assert done.returncode == 0, done.stderr
    script = root / "src" / "support_assistant" / "data.py"
    script.write_text(script.read_text() + "\ndef broken(:\n")
    (root / "src" / "support_assistant" / "mine.py").write_text("import os\n")
    (root / "configs" / "default.yaml").write_text("a: [\n")
    (root / "extra.toml").write_text("a = \n")
    (root / "extra.json").write_text("{")
    (root / ".github" / "workflows" / "ci.yml").write_text("name: ci\non: push\njobs:\n  test:\n    runs-on: x\n")
    (root / ".tunesmith" / "base.tar.xz").write_bytes(b"not an archive")
    done = tunesmith("check", root, "--json")
    assert done.returncode == 1
    found = {(problem["code"], problem["file"]) for problem in json.loads(done.stdout)["problems"]}
    assert {
        ("TS501", "src/support_assistant/data.py"),
        ("TS502", "src/support_assistant/mine.py"),
        ("TS503", "configs/default.yaml"),
        ("TS504", "extra.toml"),
        ("TS505", "extra.json"),
        ("TS506", ".github/workflows/ci.yml"),
        ("TS414", ".tunesmith/base.tar.xz"),
    } <= found


def test_a_misused_option_is_an_error_and_not_the_exit_code_for_changes(tmp_path: Path) -> None:
    for arguments in (
        ["plan", tmp_path, "--bogus"],
        ["init"],
        ["init", "support-assistant", "--data", "x", "--defaults"],
    ):
        done = tunesmith(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("TS606 ")
        assert len(done.stderr.strip().splitlines()) == 1
    assert json.loads(tunesmith("plan", "--json", "--bogus").stdout)["problems"][0]["code"] == "TS606"


def test_check_refuses_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "TS001 no such folder" in tunesmith("check", tmp_path / "missing").stderr
    assert "TS402 is a file" in tunesmith("check", tmp_path / "file").stderr


def test_check_refuses_a_folder_that_holds_no_repository(tmp_path: Path) -> None:
    done = tunesmith("check", tmp_path)
    assert done.returncode == 1
    assert "TS507" in done.stderr


def test_explain_knows_every_code_that_the_tool_uses() -> None:
    used = set()
    for path in (PROJECT / "generator").rglob("*.py"):
        if path.name != "codes.py":
            text = path.read_text()
            used |= {text[at + 1 : at + 6] for at in range(len(text)) if text.startswith('"TS', at)}
    assert used == set(CODES) - set(RETIRED)


def test_explain() -> None:
    assert CODES["TS101"].text in tunesmith("explain", "ts101").stdout
    assert len(tunesmith("explain").stdout.splitlines()) == len(CODES)
    assert json.loads(tunesmith("explain", "TS101", "--json").stdout)[0]["code"] == "TS101"
    missing = tunesmith("explain", "TS999")
    assert missing.returncode == 1
    assert "TS605 no code 'TS999'" in missing.stderr


def test_blueprints_are_listed() -> None:
    names = [found["name"] for found in json.loads(tunesmith("blueprints", "--json").stdout)]
    assert names == ["legal-qa-ko", "support-assistant", "support-preferences"]
    assert "support-assistant" in tunesmith("blueprints").stdout


def test_schema_is_the_committed_one() -> None:
    committed = PROJECT / "generator" / "tunesmith" / "spec" / "pipeline.schema.json"
    assert tunesmith("schema").stdout == committed.read_text(), "run `make reference`"


def test_schema_accepts_what_the_tool_accepts(tmp_path: Path) -> None:
    """An editor that checks by the schema agrees with the tool, for a good and a bad spec."""
    schema = PROJECT / "generator" / "tunesmith" / "spec" / "pipeline.schema.json"
    for name, spec, accepted in (("good", spec_with(), True), ("bad", spec_with(train__epoch=1), False)):
        path = write_spec(tmp_path / name, spec) / "pipeline.yaml"
        command = [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), str(path)]
        assert (subprocess.run(command, capture_output=True, check=False).returncode == 0) is accepted


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m tunesmith schema | head -1", shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
