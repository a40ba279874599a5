"""Generated repositories as a user makes and runs them: with the command line, and with their own `make`."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import yaml

from conftest import EXTRAS_PYTHON, PIPELINE_PYTHON, PROJECT, require, tunesmith

# Enough for a model of which nothing but its numbers matters.
QUICK = ["base.steps=60"]
# Bases that were made, each under a digest of what it was made of: most tests need one, and half a minute makes one.
BASES = PROJECT / "build" / "bases"
DRIVER = Path(__file__).with_name("stages_in_one_process.py")
EXTRAS = {"bitsandbytes", "deepspeed", "mlflow-skinny", "wandb"}
NO_SEARCH: dict[str, Any] = {"hpo": {"enabled": False}}


def generate(root: Path, blueprint: str = "support-assistant", *answers: str, **changes: Any) -> Path:
    """init, edit the spec as a user would, apply."""
    done = tunesmith("init", blueprint, root, "--defaults", *(f"--data={answer}" for answer in answers))
    assert done.returncode == 0, done.stderr
    spec = yaml.safe_load((root / "pipeline.yaml").read_text(encoding="utf-8"))
    for section, values in changes.items():
        spec.setdefault(section, {}).update(values)
    (root / "pipeline.yaml").write_text(yaml.safe_dump(spec, sort_keys=False, allow_unicode=True), encoding="utf-8")
    done = tunesmith("apply", root)
    assert done.returncode == 0, done.stderr
    return root


# What a smoke run prints: what its steps say, its table; a row of the data, and a question with its answer, of many lines.
OURS = re.compile(
    r"(data|base|hpo|train|evaluate|export|serve|smoke|validation): .*|=== \w+|skipped: .*|"
    r"(stage|data|base|hpo|train|evaluate|export|serve) +(status|passed|skipped|failed) .*"
)
TEXTS = re.compile(
    r"^train: .*what is trained between ⟦ and ⟧:\n((?!train: |validation: ).*\n)*.*⟧\n|^question: (.*\n)*?(?=\nstage )",
    re.MULTILINE,
)


def foreign_lines(output: str) -> list[str]:
    """What a library printed, such as a warning or a progress bar; make's own line is none."""
    lines = [line for line in TEXTS.sub("", output).splitlines() if " smoke --config " not in line]
    return [line for line in lines if line and not OURS.fullmatch(line)]


def make(root: Path, target: str, *arguments: str, **environment: str) -> str:
    """Run a target of the repository's Makefile; its output."""
    venv = interpreter(root).parents[1]
    # Outside of this suite's own environment: the repository has to bring all that it needs. A make below another one
    # would also say where it is.
    suites = ("PYTEST", "PYTHON", "CI", "MAKE", "MFLAGS")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(suites)}
    done = subprocess.run(
        ["make", target, f"VENV={venv}", *arguments],
        cwd=root,
        env={**clean, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6_000:]
    return done.stdout


def run_smoke(root: Path, *arguments: str, **environment: str) -> str:
    """`make smoke` on a base that was made before, if one was; its output."""
    base, known = root / "runs" / "smoke" / "base", BASES / _what_makes_a_base(root)
    is_known = known.is_dir()
    if is_known:
        shutil.copytree(known, base)
    output = make(root, "smoke", *arguments, **environment)
    assert ("base: kept from the last run" in output) == is_known
    keep_base(base, known)
    return output


def smoke(root: Path, *arguments: str, **environment: str) -> dict[str, dict[str, Any]]:
    """`make smoke`; metrics by stage, after checking that every stage passed."""
    output = run_smoke(root, *arguments, **environment)
    assert foreign_lines(output) == []
    summary = json.loads((root / "runs" / "smoke" / "summary.json").read_text(encoding="utf-8"))
    stages = {stage["name"]: stage for stage in summary["stages"]}
    searches = ["hpo"] if "hpo:" in (root / "configs" / "smoke.yaml").read_text(encoding="utf-8") else []
    assert list(stages) == ["data", "base", *searches, "train", "evaluate", "export", "serve"]
    assert {stage["status"] for stage in stages.values()} == {"passed"}, stages
    assert all(stage["seconds"] > 0 for name, stage in stages.items() if name != "base")
    assert f"answer:   {stages['serve']['metrics']['answer']}" in output
    (megabytes,) = [line.split("=")[1] for line in output.splitlines() if "peak_megabytes" in line]
    assert float(megabytes) < 4_000
    return {name: stage["metrics"] for name, stage in stages.items()}


def stage(root: Path, *arguments: str, code: int = 0, **environment: str) -> str:
    """Run `python -m PACKAGE arguments` in a repository, offline and on the CPU; its output."""
    done = subprocess.run(
        [str(interpreter(root)), "-m", package(root), *arguments],
        cwd=root,
        env=offline(**environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=850,
        check=False,
    )
    assert done.returncode == code, done.stdout[-6_000:]
    return done.stdout


def stages_in_one_process(
    root: Path, stages: str, models: list[str], *values: str, python: Path | None = None, **environment: str
) -> list[dict[str, Any]]:
    """Stages of the smoke config after one another for each model; what the driver reports of each."""
    line = [str(python or interpreter(root)), str(DRIVER), package(root), stages, *models, "--", *values]
    # Logits over a real vocabulary come and go; giving their pages back in between is half of what they take.
    kept = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
    environment = offline(**kept, **environment)
    done = subprocess.run(line, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"model":')]
    if "serve" not in stages:  # of vLLM's output, nothing is ours
        assert "%|" not in done.stdout + done.stderr  # no progress bar
    assert len(reports) == len(models)
    return reports


def interpreter(root: Path) -> Path:
    """That of the environment which holds what a repository requires."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    python = EXTRAS_PYTHON if EXTRAS.intersection(project["dependencies"]) else PIPELINE_PYTHON
    return Path(require(python))


def make_base(root: Path, *values: str, run: str = "runs/smoke") -> None:
    """A base from rows that are split already, under `run`; made once for all repositories with the same text."""
    known = BASES / _what_makes_a_base(root, *values)
    if known.is_dir():
        shutil.copytree(known, root / run / "base")
        return
    line = [str(interpreter(root)), "-m", f"{package(root)}.smoke.base"]
    line += settings(f"run_dir={run}", f"base_model={run}/base", *values)
    subprocess.run(line, cwd=root, env=offline(), check=True, capture_output=True)
    keep_base(root / run / "base", known)


def keep_base(base: Path, known: Path) -> None:
    """Whole or not at all, whatever else makes the same one at the same time."""
    BASES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BASES) as place:
        whole = shutil.copytree(base, Path(place) / "base")
        with contextlib.suppress(OSError):  # another one was the first
            whole.rename(known)


def _what_makes_a_base(root: Path, *values: str) -> str:
    config = yaml.safe_load((root / "configs" / "smoke.yaml").read_text(encoding="utf-8"))
    config = {key: value for key, value in config.items() if key in ("data", "base") or not isinstance(value, dict)}
    sources = [root / source["path"] for source in config["data"]["sources"]]
    smoke = root / "src" / package(root) / "smoke"
    # What splits the rows, too.
    code = [path for path in (smoke / "base.py", smoke / "answering.py", smoke.parent / "data.py") if path.exists()]
    digest = hashlib.sha256(json.dumps([config, values, package(root)]).encode())
    for path in (*sources, *code, *sorted((root / "vendor").rglob("*.py")), root / "constraints.txt"):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def package(root: Path) -> str:
    """Name of a repository's Python package."""
    return next(path.name for path in (root / "src").iterdir() if path.is_dir() and not path.name.endswith("-info"))


def offline(**environment: str) -> dict[str, str]:
    """The environment of a stage that needs neither network nor GPU."""
    fixed = {"PYTHONPATH": "src:vendor", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **fixed, **environment}


def settings(*values: str) -> list[str]:
    """Options for the smoke config with some values changed."""
    return ["--config", "configs/smoke.yaml", *(part for value in values for part in ("--set", value))]


def repository(root: Path, method: str, adapter: str = "lora", like: Path | None = None, **changes: Any) -> Path:
    """A repository of a method, without a search, with its rows split and a base that knows next to nothing.

    Rows and base are those of the repository `like`, or made for this one.
    """
    answers = ["project_name=support-assistant", f"adapter={adapter}"]
    blueprint = "support-assistant" if method == "sft" else "support-preferences"
    if method != "sft":
        answers.append(f"method={method}")
    generate(root, blueprint, *answers, **NO_SEARCH, **changes)
    if like is not None:
        for name in ("data", "base"):
            shutil.copytree(like / "runs" / "smoke" / name, root / "runs" / "smoke" / name)
        return root
    stage(root, "data", *settings())
    make_base(root, *QUICK)
    return root


def logged_losses(directory: Path) -> dict[int, float]:
    """Logged training losses by step."""
    entries = map(json.loads, (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return {entry["step"]: entry["loss"] for entry in entries if "loss" in entry}
