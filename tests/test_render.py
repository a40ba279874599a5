"""Rendering: the same bytes on every run and machine, and no text of the spec without a quoting filter."""

import os
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from conftest import snapshot, spec_with, tunesmith, write_spec
from tunesmith.files.tree import File, Tree
from tunesmith.render import jinja, quoting


def test_rendering_is_deterministic(tmp_path: Path) -> None:
    """Two folders, two hash seeds, two locales and time zones, a warm and a cold cache."""
    results = []
    for number in range(2):
        root = write_spec(tmp_path / f"place-{number}" / ("x" * number) / "repository", spec_with())
        environment = {
            "PYTHONHASHSEED": str(number + 1),
            "LC_ALL": ["C", "C.UTF-8"][number],
            "TZ": ["UTC", "Asia/Seoul"][number],
            "XDG_CACHE_HOME": str(tmp_path / f"cache-{number}"),
        }
        for _ in range(number + 1):
            assert tunesmith("apply", root, **environment).returncode == 0
        results.append(snapshot(root))
    assert results[0] == results[1]


def test_a_cache_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    """Bytecode is code: a folder that others could have filled is left alone."""
    from tunesmith.resources import generator_digest

    folder = tmp_path / "tunesmith" / f"jinja-{generator_digest()[:16]}"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    root = write_spec(tmp_path / "repository", spec_with())
    assert tunesmith("apply", root, XDG_CACHE_HOME=str(tmp_path)).returncode == 0
    assert not list(folder.iterdir())


def test_no_cache_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    root = write_spec(tmp_path / "repository", spec_with())
    assert tunesmith("apply", root, XDG_CACHE_HOME=str(tmp_path / "file")).returncode == 0


@pytest.mark.parametrize("text", ["two words", "a\nb", "'", '"', "{{ 1 }}", "$(id)", "a: b", "#"])
def test_text_is_refused_where_no_filter_quotes_it(text: str) -> None:
    environment = jinja.environment()
    template = environment.from_string("{{ text }}")
    with pytest.raises(jinja2.TemplateRuntimeError, match="without a quoting filter"):
        template.render(text=jinja.Unquoted(text))
    assert environment.from_string("{{ text | python }}").render(text=jinja.Unquoted(text)) == repr(text)


ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)))


@given(ANY_TEXT)
@example("🦜\u2028\x7f\x85\ufeff")
@example("no")
@example("2026.11")
@example("")
def test_quoted_text_is_read_back_as_it_was(text: str) -> None:
    """YAML, TOML, Python, JSON and the shell all give back what the filter was given."""
    import ast
    import json
    import shlex
    import tomllib

    filters = quoting.FILTERS
    assert yaml.safe_load(f"outer:\n  key: {filters['yaml'](text)}\n  next: 1") == {"outer": {"key": text, "next": 1}}
    assert tomllib.loads(f"key = {filters['toml'](text)}\nnext = 1")["key"] == text
    assert ast.literal_eval(filters["python"](text)) == text
    assert json.loads(filters["json"](text)) == text
    if "\0" not in text:
        assert shlex.split(filters["shell"](text)) == [text]
    assert "\n" not in filters["markdown"](text)
    assert "\n" not in filters["code"](text)
    assert "\n" not in filters["text"](text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | ANY_TEXT,
        lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
        max_leaves=8,
    )
)
def test_values_are_read_back_from_yaml_on_one_line(value: object) -> None:
    text = quoting.yaml_value(value)
    assert "\n" not in text
    assert yaml.safe_load(f"key: {text}") == {"key": value}


@pytest.mark.parametrize(
    "paths",
    [["a", "a"], ["README.md", "readme.md"], ["src", "src/train.py"]],
)
def test_two_components_cannot_claim_one_path(paths: list[str]) -> None:
    files = [File(str(number), path, 0o644, "merge", b"") for number, path in enumerate(paths)]
    with pytest.raises(ValueError, match=r"claims|folder"):
        Tree(files)


def test_two_files_cannot_share_an_id() -> None:
    file = File("same", "a", 0o644, "merge", b"")
    with pytest.raises(ValueError, match="same id"):
        Tree([file, file._replace(path="b")])


def test_importing_the_tool_imports_nothing_heavy() -> None:
    code = (
        "import pkgutil, importlib, sys, tunesmith\n"
        "for module in pkgutil.walk_packages(tunesmith.__path__, 'tunesmith.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "print(sorted({'torch', 'transformers', 'copier', 'github', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
