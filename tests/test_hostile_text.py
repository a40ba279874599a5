"""Text of the spec is data: whatever it holds, everything that comes out parses and says the same."""

import ast
import itertools
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from conftest import require, snapshot, spec_with, tunesmith, write_spec
from tunesmith.problem import TunesmithError
from tunesmith.regeneration.apply import apply
from tunesmith.regeneration.plan import plan
from tunesmith.spec.load import _section_in
from tunesmith.spec.pipeline import Spec

QUOTES = 'it\'s "quoted" and `ticked` \\ and \\n'
WORKFLOW = "${{ github.token }} ${{ secrets.X }}"
SHELL = "$(touch /tmp/owned) `id` ; rm -rf / && echo $HOME | sh > x"
MAKE = "$(shell touch owned) $$HOME\n\tid"
YAML = "a: b, [c, {d: e}] # f\n--- !!python/object:os.system &a *a |\n  g"
TOML = 'x"\n[tool.evil]\ny = """z'
PYTHON = '"""\nimport os\nos.system("id")\n"""'

HOSTILE = {
    "quotes": QUOTES,
    "newlines": "one\ntwo\r\nthree\n\n# four\n- five: 6",
    "Jinja": "{{ 7 * 7 }} {% raw %} {# no #} {%- include '/etc/passwd' -%}",
    "commands": f"{WORKFLOW} {SHELL} {MAKE}",
    "documents": f"{YAML}\n{TOML}\n{PYTHON}",
    "Markdown": "<script>alert(1)</script> [a](javascript:b) ![x](y) | ||\n# head\n```\n",
    "Unicode": "한국어 🦜 \u202e reversed \u2028 \u0085 \x7f \ufeff",
    "long": "x" * 10_000,
}


def string_fields(section: type[BaseModel] = Spec, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the spec takes text that is not one of a few given words."""
    for name, field in section.model_fields.items():
        inner = _section_in(field.annotation)
        in_list = "list[" in str(field.annotation)
        if inner is not None:
            yield from string_fields(inner, (*path, name, 0) if in_list else (*path, name))
        elif "dict[" in str(field.annotation):
            yield (*path, name, "key")
        elif "Literal" not in str(field.annotation) and "str" in str(field.annotation):
            yield (*path, name, 0) if in_list else (*path, name)


FIELDS = sorted(string_fields(), key=str)


def test_the_fields_that_take_text_are_found() -> None:
    """The list below is derived; if deriving it broke, the tests that use it would pass for nothing."""
    names = {".".join(str(key) for key in field if key != 0) for field in FIELDS}
    assert {"project.name", "project.description", "data.sources.path", "data.sources.columns.prompt"} <= names
    assert {
        "model.base",
        "data.system_prompt",
        "train.lora.target_modules",
        "serve.api_key_env",
        "project.owner",
    } <= names


def spec_that_says(field: tuple[str | int, ...], text: str) -> dict[str, Any]:
    spec = spec_with(project__license="mit", data__system_prompt="Be kind.")
    target: Any = spec
    for key, following in itertools.pairwise(field):
        empty: Any = [""] if following == 0 and not isinstance(target, list) else {}
        if isinstance(target, list):
            target = target[0]
            if key == 0:
                continue
        target = target.setdefault(key, empty)
    if isinstance(target, list):
        target[0] = text
    else:
        target[field[-1]] = text
    return spec


def parse_all(tree: dict[str, bytes]) -> None:
    for path, content in tree.items():
        if path.endswith(".py"):
            ast.parse(content, path)
        elif path.endswith((".yaml", ".yml")):
            list(yaml.safe_load_all(content))
        elif path.endswith(".toml"):
            tomllib.loads(content.decode())
        elif path.endswith(".json"):
            json.loads(content)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: ".".join(map(str, field)))
def test_hostile_text_is_refused_or_harmless(field: tuple[str | int, ...], tmp_path: Path) -> None:
    accepted = 0
    for kind, text in HOSTILE.items():
        root = write_spec(tmp_path / kind.replace(" ", "-"), spec_that_says(field, text))
        before = snapshot(root)
        if field[:3] == ("data", "sources", 0) and "columns" in field:
            rows = [{text: f"Q{n}", "question": f"Q{n}", "answer": f"A{n}", "completion": "x"} for n in range(40)]
            (root / "data/raw/support.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
            before = snapshot(root)
        try:
            apply(plan(root))
        except TunesmithError as error:
            assert all(str(problem).isprintable() for problem in error.problems)
            assert len(error.problems) == 1
            assert snapshot(root) == before
            continue
        accepted += 1
        tree = snapshot(root)
        parse_all(tree)
        for path, content in tree.items():
            assert b"49 " not in content or kind != "Jinja", f"{path}: a template in the text was run"
        project = tomllib.loads(tree["pyproject.toml"].decode())
        assert set(project["tool"]) == {"setuptools", "ruff", "mypy", "pytest"}
        if field == ("project", "description"):
            assert project["project"]["description"].split() == text.split()
        if field == ("data", "system_prompt"):
            assert yaml.safe_load(tree["configs/default.yaml"]).get("system_prompt", "") == text
        if field == ("model", "base"):
            assert yaml.safe_load(tree["configs/default.yaml"])["base_model"] == text
    if field in {("project", "description"), ("data", "system_prompt")}:
        assert accepted == len(HOSTILE), "free text may say anything"


def test_hostile_text_runs_nothing_when_make_and_workflows_are_read(tmp_path: Path) -> None:
    """The parsers that matter read the files: make itself, and GitHub's linter."""
    text = f"{SHELL} {MAKE} {WORKFLOW}"
    root = write_spec(tmp_path, spec_with(project__description=text, project__owner="$(touch owned)"))
    assert tunesmith("apply", root).returncode == 0
    listed = subprocess.run([require("make"), "-n", "lint"], cwd=root, capture_output=True, text=True, check=True)
    assert "touch" not in listed.stdout
    assert not (root / "owned").exists()
    checked = subprocess.run(
        [sys.executable, "-m", "tunesmith", "check", str(root)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
