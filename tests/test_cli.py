"""The command line: exit codes, help, and output for people and programs."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PROJECT, spec_with, write_spec
from conftest import command as tunesmith
from conftest import tunesmith as quickly
from tunesmith import __version__
from tunesmith.cli import at_once, commands
from tunesmith.codes import CODES, RETIRED

# In the order in which their examples can be run.
COMMANDS = ["init", "validate", "apply", "plan", "check", "schema", "blueprints", "explain"]
# What is told of a window is told in the tests as well, whatever they run in.
WINDOW = {"COLUMNS": "80", "TERM": "dumb"}


def test_help_names_every_command() -> None:
    done = tunesmith("--help", **WINDOW)
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^│ {command}  +[A-Z].*\. +│$", done.stdout, re.MULTILINE), command
    assert tunesmith(**WINDOW).stdout == done.stdout, "without a command there is help"


def test_the_example_in_the_help_of_every_command_runs(tmp_path: Path) -> None:
    for command in COMMANDS:
        done = quickly(command, "--help", **WINDOW)
        assert done.returncode == 0
        (example,) = re.findall(rf"Example: tunesmith ({command}\b.*?) *$", done.stdout, re.MULTILINE)
        ran = quickly(*shlex.split(example.partition(" > ")[0]), cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
    assert set(COMMANDS) == {command.callback.__name__ for command in commands.app.registered_commands}


def test_version() -> None:
    assert tunesmith("--version").stdout == f"tunesmith {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["plan"],
        ["plan", "generated"],
        ["plan", "edited"],
        ["plan", "clashing"],
        ["plan", "missing"],
        ["plan", "pipeline.yaml"],
        ["apply", "generated"],
        ["apply", "clashing"],
        ["apply", "missing"],
    ],
)
def test_what_runs_without_typer_is_what_runs_with_it(
    arguments: list[str], situations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = quickly(*arguments, cwd=situations)
    monkeypatch.setattr(at_once, "run", lambda arguments: None)
    with_typer = quickly(*arguments, cwd=situations)
    assert (without.returncode, without.stdout, without.stderr) == (
        with_typer.returncode,
        with_typer.stdout,
        with_typer.stderr,
    )


def test_each_situation_has_its_exit_code(situations: Path) -> None:
    expected = {".": 2, "generated": 0, "edited": 2, "clashing": 3, "missing": 1, "pipeline.yaml": 1}
    for directory, code in expected.items():
        assert quickly("plan", directory, cwd=situations).returncode == code, directory


@pytest.fixture(scope="module")
def situations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, and in it repositories that differ in what a plan for them says."""
    root = write_spec(tmp_path_factory.mktemp("situations"), spec_with())
    for name in ("generated", "edited", "clashing"):
        assert quickly("apply", write_spec(root / name, spec_with())).returncode == 0
    for name in ("edited", "clashing"):
        write_spec(root / name, spec_with(train__epochs=7))
    for config in (root / "clashing" / "configs").glob("*.yaml"):
        config.write_text(config.read_text().replace("epochs: 3.0", "epochs: 5.0"))
    return root


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["--version", "plan"],
        ["plan", "--help"],
        ["plan", "--diff"],
        ["plan", "-x"],
        ["plan", "--"],
        ["plan", "a", "b"],
        ["paln"],
        ["apply", "--json"],
        ["check"],
    ],
)
def test_all_else_is_read_by_typer(arguments: list[str]) -> None:
    assert at_once.run(arguments) is None


def test_what_is_asked_for_all_the_time_starts_without_typer(repository: Callable[..., Path]) -> None:
    code = "import sys, atexit; atexit.register(lambda: print({'typer', 'rich', 'pydantic'} & set(sys.modules)))\n"
    code += "from tunesmith.cli import main; main()"
    for arguments in (["--version"], ["plan", str(repository())]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.endswith("\nset()\n")


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


def test_check_names_a_key_that_is_given_twice(repository: Callable[..., Path]) -> None:
    """In one mapping: another document, an item of a list or a mapping inside has its own."""
    root = repository()
    with (root / "configs" / "default.yaml").open("a") as file:
        file.write('other: {a: 1, b: 2, "a": {a: 3}}\nseed: 7\n')
    (root / "sound.yaml").write_text("a: &a [{a: 1}, {a: 2}]\nb: {a: *a, ? [a, a] : a, c: a}\n---\na: 1\n")
    (root / "twice.json").write_text('{"a": {"b": 1}, "b": [{"a": 1, "a": 2}]}')
    lines = (root / "configs" / "default.yaml").read_text().splitlines()
    first = next(number for number, line in enumerate(lines, 1) if line.startswith("seed:"))
    done = tunesmith("check", root)
    assert done.returncode == 1
    last = len(lines)
    assert done.stderr.splitlines()[:3] == [
        f"configs/default.yaml:{last - 1}:21: TS503 the key 'a' is already given on line {last - 1}",
        f"configs/default.yaml:{last}:1: TS503 the key 'seed' is already given on line {first}",
        "twice.json: TS505 the key 'a' is given twice in one object",
    ]
    assert "sound.yaml" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "--bogus"], "--bogus"),
        (["plan", "--jsn"], "--json"),
        (["plan", "."] * 2, "unexpected extra argument"),
        (["plan", "--on-conflict", "mine"], "'mine' is not one of 'stop', 'markers', 'ours', 'theirs'."),
        (["plan", "--on-conflict"], "requires an argument"),
        (["init"], "Missing argument 'BLUEPRINT'."),
        (["init", "support-assistant", "--data", "x", "--defaults"], "'x' is not KEY=VALUE"),
        (["init", "support-assistant"], "there is no terminal to ask on"),
        (["aply"], "No such command 'aply'. Did you mean 'apply'?"),
        (["--bogus"], "--bogus"),
    ],
)
def test_misuse_is_an_error_and_not_the_exit_code_for_changes(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = quickly(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("TS606 ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_misuse_is_a_document_for_a_program() -> None:
    for arguments in (["plan", "--json", "--bogus"], ["aply", "--json"]):
        done = quickly(*arguments)
        assert (done.returncode, done.stderr) == (1, "")
        (problem,) = json.loads(done.stdout)["problems"]
        assert problem["code"] == "TS606"


@pytest.mark.parametrize("arguments", [["plan"], ["plan", "--diff"], ["apply"]])
def test_an_interrupt_is_told_by_the_exit_code_alone(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tunesmith.regeneration.plan.plan", interrupted)
    done = quickly(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.filterwarnings("ignore:Importing `Worker`")
def test_an_interrupted_interview_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import copier
    from copier.errors import CopierAnswersInterrupt

    def interrupted(worker: copier.Worker) -> None:
        raise CopierAnswersInterrupt(answers=None, last_question=None, template=worker.template)

    monkeypatch.setattr(copier.Worker, "run_copy", interrupted)
    done = quickly("init", "support-assistant", "--defaults", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
    assert not list(tmp_path.iterdir())


def test_check_refuses_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "TS001 no such folder" in tunesmith("check", tmp_path / "missing").stderr
    assert "TS402 is a file" in tunesmith("check", tmp_path / "file").stderr


@pytest.mark.parametrize("command", ["plan", "apply", "validate", "check"])
def test_a_folder_that_is_not_there_is_one_line_in_a_repository_of_gits_too(command: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    done = tunesmith(command, tmp_path / "missing")
    assert done.returncode == 1
    assert "TS001" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


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


@pytest.mark.parametrize("arguments", [["schema"], ["plan", "."], ["plan", ".", "--json"], ["--help"]])
def test_a_reader_that_goes_away_is_no_news(arguments: list[str], tmp_path: Path) -> None:
    line = shlex.join([sys.executable, "-m", "tunesmith", *arguments])
    write_spec(tmp_path, spec_with())
    done = subprocess.run(f"{line} | true", shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_can_show_any_spec(encoding: str, repository: Callable[..., Path]) -> None:
    root = repository()
    write_spec(root, spec_with(project__description="생활 법률 → Ünï"))
    for options in ([], ["--diff"], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "tunesmith", "plan", str(root), *options],
            env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (2, b"")
    assert json.loads(done.stdout.decode(encoding))["spec"][0]["new"] == "생활 법률 → Ünï"


@pytest.mark.parametrize(
    "arguments", ["plan .", "plan . --json", "--help", "plan --help", "explain", "--version", "nonsense"]
)
@pytest.mark.parametrize(
    ("streams", "said"),
    [
        (">&-", ""),
        ("2>&-", ""),
        (">&- 2>&-", ""),
        ("| head -c 1 >/dev/null", ""),
        (">/dev/full", "TS607 the output cannot be written: No space left on device\n"),
    ],
)
def test_no_state_of_the_output_ends_in_a_traceback(arguments: str, streams: str, said: str, tmp_path: Path) -> None:
    """Closed from the start, left by its reader, or a file on a full disk."""
    write_spec(tmp_path, spec_with())
    line = f"{shlex.quote(sys.executable)} -m tunesmith {arguments} {streams}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    if arguments == "nonsense":
        said = "" if "2>&-" in streams else "TS606 No such command 'nonsense'.\n"
    assert done.stderr == said


@pytest.mark.parametrize(
    "variables", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"NO_COLOR": "1", "TERM": "dumb"}]
)
def test_names_of_files_and_a_terminal_may_be_anything(variables: dict[str, str], tmp_path: Path) -> None:
    """A folder and files whose names are no UTF-8 or hold a line's end, in a locale that knows only ASCII."""
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff \x1b"))
    write_spec(place, spec_with(project__description="생활 → Ünï"))
    for arguments, code in (
        (["plan", place, "--json"], 2),
        (["apply", place], 0),
        (["check", place], 1),
        (["check", place, "--json"], 1),
        (["plan", place], 0),
        (["apply", place, "--restore", "\udcff"], 1),
        (["explain", "\udcff"], 1),
    ):
        if arguments[0] == "check":
            (place / "src" / os.fsdecode(b"\xff\n.py")).write_text("x = (\n", encoding="utf-8")
            workflow = place / ".github" / "workflows" / "자.yml"
            workflow.write_text(
                "on: push\njobs:\n  자: {runs-on: 자자, steps: [{run: '${{ 자 }}'}]}\n", encoding="utf-8"
            )
        done = tunesmith(*arguments, **variables)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, (arguments, done.stdout, done.stderr)
