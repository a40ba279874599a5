"""How the tool is built holds: a stage is added in few places, values stay in configs/, templates stay readable."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import goldens
from conftest import PIPELINE_PYTHON, PROJECT, newer_tool, require, snapshot, spec_with, tunesmith
from option_pairs import ABSENT, OPTIONS, Option, loaded
from repositories import run_smoke
from test_generated_code import VARIANTS
from tunesmith.components.part import Output, Rendered
from tunesmith.components.repository import outputs_of
from tunesmith.generate import generate
from tunesmith.spec.load import load_spec
from tunesmith.spec.pipeline import RULES, Spec
from tunesmith.spec.resolve import resolve

# --- A stage is added in its own files, the tuple of components, and spec/pipeline.py

SECTION = '''"""The `count` section: the words that rows use most."""

from typing import Annotated

from pydantic import Field

from tunesmith.spec.section import Section


class Count(Section):
    """The words that rows use most."""

    top: Annotated[int, Field(ge=1, le=1_000, description="How many words are listed.")] = 10
'''
COMPONENT = '''"""Count: the words that rows use most."""

from typing import NamedTuple

from tunesmith.components.part import Check, Part, Rendered, Setting, Settings, Stage, Verbatim
from tunesmith.spec.resolve import Resolved


class CountShape(NamedTuple):
    """Nothing decides the stage's code."""


def part(resolved: Resolved) -> Part:
    """The stage's script and guide, where the spec asks for it."""
    if resolved.asked.count is None:
        return Part()
    shape = CountShape()
    return Part(
        outputs=(
            Rendered("count/script", f"src/{resolved.package}/count.py", "src/package/count.py.j2", shape),
            Rendered("count/guide", "docs/count.md", "docs/count.md.j2", shape),
        ),
        requirements=("numpy",),
        stages=(Stage("count", "list the words that rows use most", Verbatim("rows"), Verbatim("`words.json`")),),
        settings=(Settings("count", (Setting("top", resolved.asked.count.top, smoke=3),)),),
        checks=(Check("count"),),
    )
'''
SCRIPT = '''"""List the words that rows use most."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tunesmith_runtime.chat import read_split
from tunesmith_runtime.manifest import now, write_json, write_manifest


@dataclass(frozen=True)
class Config:
    """Section ``count``."""

    run_dir: str
    seed: int
    top: int


def main(config: Config) -> dict[str, float | str]:
    """Write ``run_dir/count/words.json``."""
    started, file = now(), Path(config.run_dir) / "data" / "train.jsonl"
    text = " ".join(message["content"] for row in read_split(file) for message in row.messages)
    words = dict(Counter(text.split()).most_common(config.top))
    directory = Path(config.run_dir) / "count"
    write_json(directory / "words.json", words)
    metrics: dict[str, float | str] = {"words": float(len(words))}
    write_manifest(directory, "count", config, [file], started, metrics)
    return metrics
'''
NEW_FILES = {
    "generator/tunesmith/spec/count.py": SECTION,
    "generator/tunesmith/components/count.py": COMPONENT,
    "templates/src/package/count.py.j2": SCRIPT,
    "templates/docs/count.md.j2": "# Count\n\n`make count` lists the words that rows use most.\n",
}
COMPONENTS, PIPELINE = "generator/tunesmith/components/repository.py", "generator/tunesmith/spec/pipeline.py"
CHANGES = [
    (COMPONENTS, "    configs,\n", "    configs,\n    count,\n"),
    (COMPONENTS, "COMPONENTS = (data, ", "COMPONENTS = (data, count, "),
    (
        PIPELINE,
        "from tunesmith.spec.ci import Ci\n",
        "from tunesmith.spec.ci import Ci\nfrom tunesmith.spec.count import Count\n",
    ),
    (
        PIPELINE,
        "    hpo: Annotated[",
        '    count: Annotated[Count | None, Field(description="Words.")] = None\n    hpo: Annotated[',
    ),
]


@pytest.mark.pipeline
def test_a_new_stage_touches_its_own_files_the_tuple_of_components_and_the_spec(tmp_path: Path) -> None:
    """And the repository that comes out lists it, documents it, and runs it in its `make smoke`."""
    require(PIPELINE_PYTHON)
    require("make")
    place = tmp_path / "tool"
    tool = newer_tool(place, *((path, "", text) for path, text in NEW_FILES.items()), *CHANGES)
    changed = {
        path.relative_to(place).as_posix()
        for path in place.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
        and not ((PROJECT / path.relative_to(place)).is_file() and (PROJECT / path.relative_to(place)).read_bytes() == path.read_bytes())
    }  # fmt: skip
    assert changed == {*NEW_FILES, COMPONENTS, PIPELINE}

    root = tmp_path / "repository"
    answers = ["--defaults", "--data=engine=fastapi", "--data=project_name=support-assistant"]
    assert tool("init", "support-assistant", root, *answers).returncode == 0
    spec = yaml.safe_load((root / "pipeline.yaml").read_text(encoding="utf-8"))
    spec |= {"hpo": {"enabled": False}, "count": {"top": 5}}
    (root / "pipeline.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    done = tool("apply", root)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((root / "configs" / "default.yaml").read_text(encoding="utf-8"))
    assert config["count"] == {"top": 5}
    assert "STAGES := data count train " in (root / "Makefile").read_text(encoding="utf-8")
    assert '    "numpy",\n' in (root / "pyproject.toml").read_text(encoding="utf-8")
    assert "| `count` | rows | `words.json` | [count.md](count.md) |" in (root / "docs" / "pipeline.md").read_text()
    # As few steps as a smoke run takes for learning.
    run_smoke(root, "ARGS=--set train.max_steps=100 --set evaluate.max_examples=8 --set evaluate.max_new_tokens=8")
    stages = json.loads((root / "runs" / "smoke" / "summary.json").read_text(encoding="utf-8"))["stages"]
    (counted,) = [stage for stage in stages if stage["name"] == "count"]
    assert (counted["status"], counted["metrics"]) == ("passed", {"words": 3.0})


# --- Values stand in configs/ alone

# Options that decide what code there is, or whose repository it is. Every other one is a value, new ones too.
SHAPE: set[Option] = {
    ("apiVersion",),
    *(("project", name) for name in ("name", "description", "owner", "license")),
    ("stack",),
    ("data", "sources", 0, "format"),
    *(("train", name) for name in ("method", "adapter", "optimizer", "packing", "distributed")),
    ("train", "lora", "rslora"),
    ("train", "lora", "dora"),
    ("hpo", "enabled"),
    ("evaluate", "metrics"),
    ("tracking", "provider"),
    ("serve", "engine"),
    ("ci", "provider"),
}
# Whether they are given decides code; what they say does not.
GIVEN_OR_NOT: set[Option] = {("data", "system_prompt"), ("train", "early_stopping_patience"), ("model", "thinking")}
# What an option needs to have an effect.
NEEDS: dict[Option, dict[str, Any]] = {
    ("model", "max_length"): {"serve__max_new_tokens": 16, "evaluate__max_new_tokens": 16},
    ("data", "language"): {"evaluate__metrics": ["bleu"]},
    ("train", "beta"): {"train__method": "dpo"},
    ("train", "qlora", "double_quantization"): {"train__adapter": "qlora"},
    ("train", "gpus_per_node"): {"train__distributed": "ddp"},
    ("train", "nodes"): {"train__distributed": "ddp"},
    ("tracking", "project"): {"tracking__provider": "mlflow"},
    ("tracking", "uri"): {"tracking__provider": "mlflow"},
    **{("data", "sources", 0, "columns", name): {"train__method": "dpo"} for name in ("chosen", "rejected")},
    ("data", "sources", 0, "columns", "messages"): {"messages": True},
}
# Values of text whose form the schema gives, but of which it has one example.
OTHERS: dict[Option, str] = {("model", "revision"): "v2.0", ("serve", "api_key_env"): "OTHER_KEY"}
VALUES = [option for option in OPTIONS if option not in SHAPE]


def spec_for(option: Option, level: str) -> dict[str, Any]:
    needs = dict(NEEDS.get(option, {}))
    talks = needs.pop("messages", False)
    spec = spec_with(**needs)
    source = spec["data"]["sources"][0]
    if talks:
        source |= {"format": "messages", "columns": {}}
    elif spec.get("train", {}).get("method") == "dpo":
        source |= {"format": "preference", "columns": {}}
    target: Any = spec
    for key in option[:-1]:
        target = target.setdefault(key, {}) if isinstance(target, dict) else target[key]
    if level != ABSENT:
        target[option[-1]] = loaded(level)
    return spec


@pytest.mark.parametrize("option", VALUES, ids=lambda option: ".".join(map(str, option)))
def test_a_changed_value_touches_configs_alone(option: Option) -> None:
    levels = [level for level in OPTIONS[option] if not (option in GIVEN_OR_NOT and level == ABSENT)]
    levels += [OTHERS[option]] if option in OTHERS else []
    if len(levels) == 1:
        only = loaded(levels[0])
        levels.append(json.dumps(only + 1 if isinstance(only, int) else f"{only} and more"))
    specs = [Spec.model_validate(spec_for(option, level)) for level in levels]
    for spec in specs:
        assert [message for rule in RULES for _, message in rule.check(resolve(spec))] == []
    trees = [{file.path: file.content for file in generate(spec) if file.ownership != "once"} for spec in specs]
    assert any(tree != trees[0] for tree in trees), "a value that does nothing"
    for tree in trees[1:]:
        changed = {path for path in tree.keys() | trees[0].keys() if tree.get(path) != trees[0].get(path)}
        assert {path for path in changed if not path.startswith("configs/")} == set()


# --- What a template sees, and how it reads


def specs() -> list[Spec]:
    changes = [*VARIANTS.values(), {"data__system_prompt": "Be kind."}]
    changes.append({**VARIANTS["everything-kto"], "evaluate__metrics": ["preference-accuracy"]})
    known = [load_spec(goldens.FOLDER / f"{persona}.yaml") for persona in goldens.personas()]
    return known + [Spec.model_validate(spec_with(**copy.deepcopy(change))) for change in changes]


def outputs() -> Iterator[Output]:
    for spec in specs():
        yield from outputs_of(resolve(spec))


def test_no_context_has_more_than_fifteen_fields() -> None:
    for kind in {type(output.context) for output in outputs() if isinstance(output, Rendered)}:
        assert len(kind._fields) <= 15, kind.__name__


def test_templates_of_code_have_at_most_thirty_tags() -> None:
    """Decisions stand in components, and what varies much is a file of its own."""
    templates = PROJECT / "templates"
    for path in templates.rglob("*.j2"):
        if path.suffixes[-2:-1] != [".md"]:
            tags = len(re.findall(r"\{[%{]", path.read_text(encoding="utf-8")))
            assert tags <= 31, path.relative_to(templates)


def test_a_template_is_one_only_where_a_byte_of_it_varies() -> None:
    for path in (PROJECT / "templates").rglob("*.j2"):
        if path.parent.name != "parts":  # which several templates share
            assert re.search(r"\{[%{]", path.read_text(encoding="utf-8")), f"{path.name} could be copied"


def test_every_template_is_used() -> None:
    templates = PROJECT / "templates"
    used = {templates / output.template if isinstance(output, Rendered) else output.origin for output in outputs()}
    there = {
        path
        for path in templates.rglob("*")
        if path.is_file() and path.parent.name != "parts" and not any("cache" in part for part in path.parts)
    }
    assert there - used == {templates / "mypy.ini", templates / "ruff.toml"}  # how they are linted where they lie


def test_no_script_of_a_repository_is_longer_than_400_lines() -> None:
    for spec in specs():
        for file in generate(spec):
            if file.path.endswith(".py") and not file.path.startswith("tests/"):
                assert file.content.count(b"\n") <= 400, file.path


def test_a_repository_is_little_longer_than_0_1_0_made_it(tmp_path: Path) -> None:
    """The default blueprint's, with everything: 8,496 lines then, and what is checked of rows and templates since."""
    root = tmp_path / "repository"
    assert tunesmith("init", "support-assistant", root, "--defaults").returncode == 0
    assert tunesmith("apply", root).returncode == 0
    assert sum(content.count(b"\n") for content in snapshot(root).values()) < 9_700
