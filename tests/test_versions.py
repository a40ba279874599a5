"""A repository outlives the version of the tool that made it."""

from collections.abc import Callable
from pathlib import Path

from conftest import newer_tool, snapshot, spec_with, tunesmith, write_spec

Make = Callable[..., Path]
VERSION = ("generator/tunesmith/__init__.py", '__version__ = "', '__version__ = "9')
PIPELINE = "generator/tunesmith/spec/pipeline.py"
MIGRATIONS = "generator/tunesmith/spec/migrations.py"
MIGRATION = (
    'MIGRATIONS: Mapping[str, tuple[str, Migrate]] = {"tunesmith/v1": ("tunesmith/v2", _to_v2)}\n',
    'def _to_v2(document: MutableMapping[str, Any]) -> None:\n    document["tuning"] = document.pop("train", {})\n\n\n',
)


def test_a_newer_tool_regenerates_and_an_older_one_refuses(repository: Make, tmp_path: Path) -> None:
    root = repository()
    readme = root / "README.md"
    readme.write_text(readme.read_text() + "Ours.\n")
    tool = newer_tool(tmp_path / "tool", VERSION, ("templates/docs/data.md.j2", "# ", "# New: "))
    assert tool("apply", root).returncode == 0
    assert (root / "docs" / "data.md").read_text().startswith("# New: ")
    assert readme.read_text().endswith("Ours.\n")
    before = snapshot(root)
    for name in ("plan", "apply", "check"):
        done = tunesmith(name, root)
        assert done.returncode == 1
        assert "lock.json: TS410 was written by a newer Tunesmith ('90.2.0')" in done.stderr
    assert snapshot(root) == before


def test_the_stack_moves_on_by_one_line(repository: Make, tmp_path: Path) -> None:
    stack = Path(__file__).parents[1] / "generator" / "tunesmith" / "stacks" / "2026.11"
    newer = [
        (f"generator/tunesmith/stacks/2027.02/{name}", "", (stack / name).read_text().replace(old, new))
        for name, old, new in (
            ("constraints.txt", "optuna==5.0.0", "optuna==5.1.0"),
            ("serve.txt", "vllm==0.32.0", "vllm==0.34.0"),
        )
    ]
    tool = newer_tool(tmp_path / "tool", *newer)
    root = repository()
    assert "\nupdate   .tunesmith/lock.json" in "\n" + tool("plan", root).stdout
    assert "\n1 to update\n" in tool("plan", root).stdout, "a stack that nobody asked for changes nothing"
    spec = root / "pipeline.yaml"
    assert "2027.02" in tunesmith("validate", root).stderr + tool("schema").stdout
    spec.write_text(spec.read_text().replace("2026.11", "2027.02"))
    refused = tunesmith("plan", root)
    assert refused.returncode == 1
    assert "stack must be one of 2026.11, not '2027.02'" in refused.stderr
    assert 'spec     stack: "2026.11" → "2027.02"' in tool("plan", root).stdout
    assert tool("apply", root).returncode == 0
    assert "optuna==5.1.0" in (root / "constraints.txt").read_text()


def test_a_migration_rewrites_the_spec_and_keeps_comments(tmp_path: Path) -> None:
    patches = [
        (PIPELINE, '"tunesmith/v1"', '"tunesmith/v2"'),
        (
            PIPELINE,
            'Field(description="Method, adapter, hyper-parameters and how they are spread over GPUs.")',
            'Field(description="Method.", alias="tuning")',
        ),
        (MIGRATIONS, "MIGRATIONS: Mapping[str, tuple[str, Migrate]] = {}\n", MIGRATION[1] + MIGRATION[0]),
    ]
    text = (
        "# Of the house\napiVersion: tunesmith/v1  # for now\nproject:\n  name: 'quoted-name'\n  description: >-\n    Two\n"
        '    lines\nstack: "2026.11"\n\nmodel: {base: Qwen/Qwen3-0.6B}\ndata:\n  sources:\n    - path: data/raw/support.jsonl\n'
        "      columns: {prompt: question, completion: answer}  # ours\ntrain:\n  epochs: 2  # enough\n"
    )
    root = write_spec(tmp_path / "repository", text)
    assert tunesmith("apply", root).returncode == 0
    tool = newer_tool(tmp_path / "tool", *patches)
    assert tool("validate", root).returncode == 0
    assert (root / "pipeline.yaml").read_text() == text, "validate writes nothing"
    planned = tool("plan", root)
    assert "update   pipeline.yaml  (rewritten for this version of Tunesmith)" in planned.stdout, planned.stderr
    assert tool("apply", root).returncode == 0
    assert (root / "pipeline.yaml").read_text() == text.replace("tunesmith/v1", "tunesmith/v2").replace(
        "train:", "tuning:"
    )
    assert "  epochs: 2.0\n" in (root / "configs" / "default.yaml").read_text()
    assert tool("plan", root).returncode == 0


def test_an_api_version_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    done = tunesmith("plan", write_spec(tmp_path, spec_with(apiVersion="tunesmith/v9")))
    assert done.returncode == 1
    assert "apiVersion must be 'tunesmith/v1', not 'tunesmith/v9'" in done.stderr
