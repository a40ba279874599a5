"""Specs, repositories and the command line, as a user has them."""

import copy
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

# Imported for `tunesmith`, which forks.
from tunesmith import blueprints, cli, generate  # noqa: F401
from tunesmith.check import repository as _check  # noqa: F401
from tunesmith.cli import commands  # noqa: F401
from tunesmith.regeneration import apply, decide, plan, rebase  # noqa: F401

pytest.register_assert_rewrite("repositories")

PROJECT = Path(__file__).resolve().parents[1]
SHARED_DATA = PROJECT.parent / "shared" / "data"
PIPELINE_PYTHON = PROJECT / ".venvs" / "pipeline" / "bin" / "python"
EXTRAS_PYTHON = PROJECT / ".venvs" / "extras" / "bin" / "python"
VLLM_PYTHON = PROJECT / ".venvs" / "vllm" / "bin" / "python"

SPEC: dict[str, Any] = {
    "apiVersion": "tunesmith/v1",
    "project": {"name": "support-assistant", "description": "Answers customers' questions"},
    "stack": "2026.11",
    "model": {"base": "Qwen/Qwen3-0.6B"},
    "data": {
        "sources": [{"path": "data/raw/support.jsonl", "columns": {"prompt": "question", "completion": "answer"}}]
    },
    "serve": {"engine": "fastapi"},
}


def spec_with(**changes: Any) -> dict[str, Any]:
    """The smallest useful spec, with `section__key=value` set."""
    spec = copy.deepcopy(SPEC)
    for name, value in changes.items():
        *sections, key = name.split("__")
        target = spec
        for section in sections:
            target = target.setdefault(section, {})
        target[key] = value
    return spec


def write_spec(root: Path, spec: dict[str, Any] | str) -> Path:
    """Write pipeline.yaml and a little data below `root`."""
    (root / "data" / "raw").mkdir(parents=True, exist_ok=True)
    rows = [
        {"question": f"Question {number}?", "answer": f"Answer {number}.", "other": f"No answer {number}."}
        for number in range(40)
    ]
    (root / "data" / "raw" / "support.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = spec if isinstance(spec, str) else yaml.safe_dump(spec, sort_keys=False, allow_unicode=True)
    (root / "pipeline.yaml").write_text(text, encoding="utf-8")
    return root


def command(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "tunesmith", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def tunesmith(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """As `command`, in a copy of this process, which has everything imported: many times faster."""
    line = ["tunesmith", *map(str, arguments)]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, open(os.devnull, "rb") as nothing:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                for number, stream in enumerate((nothing, output, errors)):
                    os.dup2(stream.fileno(), number)
                sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: SIM115
                os.chdir(cwd or os.getcwd())
                os.environ.update(environment)
                sys.argv = line
                cli.main()
            except SystemExit as stop:
                code = int(stop.code or 0)
            except BaseException:  # noqa: BLE001 — the child must not go on as a test run
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(line, code, output.read().decode(), errors.read().decode())


def newer_tool(place: Path, *patches: tuple[str, str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A copy of the tool as it might be some day: `(file, old text, new text)` for each patch."""
    for folder in ("generator", "runtime", "templates", "blueprints"):
        shutil.copytree(PROJECT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in patches:
        path = place / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert old in text, f"{old!r} is not in {name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace(old, new) if old else new, encoding="utf-8")
    paths = os.pathsep.join((str(place / "generator"), str(place / "runtime")))
    return functools.partial(command, PYTHONPATH=paths, PYTHONDONTWRITEBYTECODE="1")


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file below `root` but git's own."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(root).parts
    }


def require(tool: Path | str) -> str:
    """The path of a tool; without it the test fails under CI, and is skipped by name elsewhere."""
    return shutil.which(str(tool)) or missing(f"{tool} is not there")


def require_data(path: Path) -> Path:
    """A file of real data; without it as `require`."""
    return path if path.is_file() else missing(f"{path} is not there")


def missing(message: str) -> NoReturn:
    """Fail under CI, and skip elsewhere, saying what is not there."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture
def repository(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder with a spec, and applies it."""

    def make(spec: dict[str, Any] | None = None, name: str = "repository") -> Path:
        root = write_spec(tmp_path / name, spec or spec_with())
        done = tunesmith("apply", root)
        assert done.returncode == 0, done.stderr
        return root

    return make
