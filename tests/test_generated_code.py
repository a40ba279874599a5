"""The generated repository as its owner reads it: linted, typed, formatted, short, and with nothing of ours in it."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import PROJECT, require, snapshot, spec_with, tunesmith, write_spec

PAIR = {"prompt": "question", "chosen": "answer", "rejected": "other"}
PREFERENCES = [{"path": "data/raw/support.jsonl", "format": "preference", "columns": PAIR}]
VARIANTS: dict[str, dict[str, Any]] = {
    "lora-fastapi": {},
    "full-vllm": {"train__adapter": "full", "serve__engine": "vllm", "project__license": "apache-2.0"},
    "no-search": {"hpo__enabled": False, "evaluate__metrics": ["exact-match"], "ci__provider": "none"},
    "full-fastapi-loss": {"train__adapter": "full", "evaluate__metrics": ["loss"], "project__license": "mit"},
    "every-metric-korean": {
        "project__name": "zzz-long-name-that-moves-imports-and-line-breaks",
        "evaluate__metrics": ["bleu", "rouge-l", "exact-match", "perplexity", "loss"],
        "data__language": "ko",
        "serve__engine": "vllm",
    },
    # The longest scripts of each method.
    "everything-sft": {
        "train__adapter": "qlora",
        "train__packing": True,
        "train__early_stopping_patience": 3,
        "train__lora": {"rslora": True, "dora": True},
        "train__optimizer": "paged_adamw_8bit",
        "train__distributed": "ddp",
        "tracking__provider": "mlflow",
    },
    "everything-kto": {
        "data__sources": PREFERENCES,
        "train__method": "kto",
        "train__adapter": "qlora",
        "train__early_stopping_patience": 3,
        "train__distributed": "deepspeed-zero2",
        "tracking__provider": "mlflow",
        "evaluate__metrics": [
            *("preference-accuracy", "reward-accuracy", "loss", "perplexity", "exact-match", "rouge-l", "bleu")
        ],
    },
    "dpo-full": {"data__sources": PREFERENCES, "train__method": "dpo", "train__adapter": "full"},
    "dpo-fsdp": {
        "data__sources": PREFERENCES,
        "train__method": "dpo",
        "train__adapter": "full",
        "train__distributed": "fsdp",
        "train__nodes": 2,
        "tracking__provider": "wandb",
        "evaluate__metrics": ["reward-accuracy"],
    },
    "orpo": {
        "data__sources": PREFERENCES,
        "train__method": "orpo",
        "train__distributed": "deepspeed-zero3",
        "evaluate__metrics": ["preference-accuracy"],
    },
}
STAGES = ("data", "train", "hpo", "evaluate", "export", "serve")


FAST = ("lora-fastapi", "full-vllm", "everything-kto")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in VARIANTS],
)
def generated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated repository of each kind."""
    root = write_spec(tmp_path_factory.mktemp("generated") / request.param, spec_with(**VARIANTS[request.param]))
    done = tunesmith("apply", root)
    assert done.returncode == 0, done.stderr
    return root


def run(*command: str, cwd: Path) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_passes_its_own_lint(generated: Path) -> None:
    run("ruff", "check", ".", cwd=generated)
    run("ruff", "format", "--check", ".", cwd=generated)


def test_black_accepts_it_too(generated: Path) -> None:
    run("black", "--check", "--quiet", "--line-length", "100", ".", cwd=generated)


def test_it_passes_mypy_strict(generated: Path) -> None:
    settings = tomllib.loads((generated / "pyproject.toml").read_text())
    assert settings["tool"]["mypy"]["strict"] is True
    # One cache for all of a worker's: most of the time goes into the same libraries, and two at once spoil it.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    run("mypy", "--cache-dir", str(PROJECT / ".mypy_cache" / f"generated-{worker}"), cwd=generated)


def test_it_passes_check(generated: Path) -> None:
    require(Path(sys.executable).with_name("actionlint"))
    done = tunesmith("check", generated)
    assert done.returncode == 0, done.stderr
    assert "skipped" not in done.stdout


def test_a_stage_declares_its_values_in_the_order_of_the_configs(generated: Path) -> None:
    config = yaml.safe_load((generated / "configs" / "default.yaml").read_text(encoding="utf-8"))
    for stage in ("train", "export"):
        (script,) = generated.glob(f"src/*/{stage}.py")
        module = ast.parse(script.read_text(encoding="utf-8"))
        (section,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Config")
        fields = [ast.unparse(node.target) for node in section.body if isinstance(node, ast.AnnAssign)]
        assert fields == [key for key in [*config, *config[stage]] if key in fields]


def test_workflows_follow_their_schema(generated: Path) -> None:
    for workflow in generated.glob(".github/workflows/*.yml"):
        run("check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(workflow), cwd=generated)
        uses = re.findall(r"uses: (\S+)", workflow.read_text())
        assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", use) for use in uses), "actions are pinned to a commit"


def test_each_stage_script_reads_top_to_bottom_in_200_lines(generated: Path) -> None:
    (package,) = (generated / "src").iterdir()
    scripts = [package / f"{stage}.py" for stage in STAGES if (package / f"{stage}.py").exists()]
    assert len(scripts) >= 5
    for script in scripts:
        assert len(script.read_text().splitlines()) <= 200, script.name


def test_nothing_varies_at_run_time_that_the_spec_decided(generated: Path) -> None:
    """A repository of one adapter, engine and set of metrics says nothing of the others."""
    (package,) = (generated / "src").iterdir()
    texts = "".join(path.read_text() for path in package.rglob("*.py"))
    spec = yaml.safe_load((generated / "pipeline.yaml").read_text())
    if spec.get("train", {}).get("adapter") == "full":
        assert "peft" not in texts
        assert "lora" not in texts.lower()
    train, method = spec.get("train", {}), spec.get("train", {}).get("method", "sft")
    for other, names in {"sft": "SFT", "dpo": "DPO", "orpo": "ORPO", "kto": "KTO"}.items():
        assert (f"{names}Trainer" in texts) == (other == method), other
    assert ("preflight_pairs" in texts) == (method != "sft")
    assert ("BitsAndBytesConfig" in texts) == (train.get("adapter") == "qlora")
    assert ("adamw_8bit" in texts) == (train.get("adapter") == "qlora" or "8bit" in train.get("optimizer", ""))
    assert ("accelerate" in texts) == ("distributed" in train)
    assert ("pack_dataset" in texts) == train.get("packing", False)
    for tracker in ("mlflow", "wandb"):
        assert (tracker in texts.lower()) == (spec.get("tracking", {}).get("provider") == tracker)
    if not spec.get("hpo", {}).get("enabled", True):
        assert "optuna" not in texts
    usual = ["loss", "perplexity", "exact-match", "rouge-l"]
    if method != "sft":
        usual = ["preference-accuracy", "exact-match", "rouge-l", *(["reward-accuracy"] if method != "orpo" else [])]
    metrics = spec.get("evaluate", {}).get("metrics", usual)
    assert ('"preference_accuracy":' in texts) == ("preference-accuracy" in metrics)
    assert ("PairOutcome" in texts) == bool({"preference-accuracy", "reward-accuracy"} & set(metrics))
    assert ("encode_pair" in texts) == (method != "sft")
    assert ("reward_accuracy" in texts) == ("reward-accuracy" in metrics)
    assert ("rouge" in texts.lower()) == ("rouge-l" in metrics)
    assert ("bleu" in texts.lower()) == ("bleu" in metrics)
    assert ("vllm" in texts.lower()) == (spec["serve"]["engine"] == "vllm")


def test_dependencies_are_pinned_and_complete(generated: Path) -> None:
    """Every requirement has an exact version in constraints.txt; every import is a requirement or ours."""
    lines = (generated / "constraints.txt").read_text().splitlines()
    pins = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    project = tomllib.loads((generated / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    assert {requirement.lower() for requirement in wanted} <= pins


def test_the_overview_names_the_version_and_the_commands(generated: Path) -> None:
    from tunesmith import __version__

    overview = (generated / "docs" / "pipeline.md").read_text()
    assert f"Generated by Tunesmith {__version__} from `pipeline.yaml`, with `tunesmith apply`" in overview
    makefile = (generated / "Makefile").read_text()
    for page in (overview, (generated / "README.md").read_text()):
        targets = re.findall(r"^make ([a-z-]+)", page, re.MULTILINE)
        assert targets
        for target in targets:
            assert re.search(rf"^[^\t#]*\b{target}\b.*:|STAGES := .*\b{target}\b", makefile, re.MULTILINE)


def test_links_lead_somewhere(generated: Path) -> None:
    for page in [*generated.glob("*.md"), *generated.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_no_trace_of_a_template_or_of_this_machine_is_left(generated: Path) -> None:
    for path, content in snapshot(generated).items():
        if path.endswith((".xz", ".json")) or path.split("/")[0] in (".mypy_cache", ".ruff_cache"):
            continue
        text = content.decode()
        assert "{%" not in text or path.endswith(".py"), path
        assert str(PROJECT) not in text, path
        assert not re.search(r"[ \t]+$", text, re.MULTILINE), f"{path}: trailing white space"
        assert text.endswith("\n"), path
        assert not text.endswith("\n\n"), path
        assert "\n\n\n\n" not in text, path


def test_the_config_holds_every_field_of_every_stage(generated: Path) -> None:
    """No hidden default: what a stage's dataclass declares stands in both files of configs/."""
    (package,) = (generated / "src").iterdir()
    for name in ("default", "smoke"):
        config = yaml.safe_load((generated / "configs" / f"{name}.yaml").read_text())
        shared = {key for key, value in config.items() if not isinstance(value, dict) or key == "chat_template_kwargs"}
        for stage in STAGES:
            script = package / f"{stage}.py"
            if not script.exists():
                assert stage not in config
                continue
            declared = fields(script, "Config", f"{stage.title()}Config")
            declared.discard("train") if stage == "hpo" else None
            assert declared <= shared | set(config[stage]), (
                f"{name}.yaml lacks {declared - shared - set(config[stage])}"
            )
            assert set(config[stage]) <= declared, (
                f"{name}.yaml has {set(config[stage]) - declared}, which does nothing"
            )
        assert set(config["train"]["watch"]) == fields(package / "training" / "watch.py", "Watch")


def fields(script: Path, *names: str) -> set[str]:
    """What the one dataclass of these names declares."""
    (found,) = [
        {statement.target.id for statement in node.body if isinstance(statement, ast.AnnAssign)}  # type: ignore[union-attr]
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name in names
    ]
    return found
