"""Run the steps one after another as users do, time them and record what came out.

The summary, ``{"stages": [{"name", "status", "seconds", "metrics"}]}``, grows with each step.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import read_metrics, write_json

T = TypeVar("T")
Metrics = dict[str, float | str]
PACKAGE = str(__package__).split(".", maxsplit=1)[0]

# One thread: for a model this small a second gains little, and on a busy machine costs a lot.
DEFAULTS = {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
# What a smoke run needs is in the repository; a GPU would round in another way. DeepSpeed, where it
# is installed, would warn that it finds none.
FIXED = {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu"}


class CannotRunError(Exception):
    """This machine lacks what a step needs; the step is skipped, and says why."""


@dataclass(frozen=True)
class Config:
    """Where a run writes; a step loads what else it needs."""

    run_dir: str


@dataclass
class Run:
    """A smoke run: the config files and overrides it was given, and what its steps measured."""

    files: Sequence[str]
    overrides: Sequence[str]
    metrics: dict[str, Metrics] = field(default_factory=dict)

    def config(self, cls: type[T], section: str) -> T:
        """Values of ``cls`` from the top of the config and from a section."""
        return load_config(cls, section, self.files, self.overrides)

    @cached_property
    def directory(self) -> Path:
        """Where it writes."""
        return Path(self.config(Config, "").run_dir)

    def command(self, *arguments: str) -> list[str]:
        """``python -m arguments`` with this run's config."""
        files = [part for file in self.files for part in ("--config", file)]
        overrides = [part for override in self.overrides for part in ("--set", override)]
        return [sys.executable, "-m", *arguments, *files, *overrides]


@dataclass(frozen=True)
class Step:
    """A step by name; ``run`` returns its metrics, or raises UserError or CannotRunError."""

    name: str
    run: Callable[[Run, str], Metrics]


@dataclass
class Result:
    """What became of a step, as the summary has it."""

    name: str
    status: str = "skipped"
    seconds: float = 0.0
    metrics: Metrics = field(default_factory=dict)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that a smoke run starts."""
    return {**DEFAULTS, **os.environ, **FIXED, **more}


def run_module(run: Run, output: Path, *arguments: str) -> Metrics:
    """Run ``python -m arguments``; the metrics that it leaves in ``output/manifest.json``."""
    line = run.command(*arguments)
    result = subprocess.run(line, env=environment(), check=False)
    if result.returncode != 0:
        raise UserError(f"exit code {result.returncode}: {' '.join(['python', *line[1:]])}")
    return read_metrics(output)


def run_stage(run: Run, name: str, *overrides: str) -> Metrics:
    """Run a stage of the pipeline as ``make NAME`` does, with a few values changed."""
    changed = [part for override in overrides for part in ("--set", override)]
    return run_module(run, run.directory / name, PACKAGE, name, *changed)


def run_steps(steps: Sequence[Step], run: Run) -> Metrics:
    """Run them in order and print a table. Raises UserError where one failed."""
    directory, results = run.directory, [Result(step.name) for step in steps]
    summary = directory / "summary.json"
    foreign = [path for path in directory.glob("*") if path.name not in {s.name for s in steps}]
    if foreign and not summary.is_file():
        raise UserError(f"{foreign[0]}: was not made by a smoke run; choose another run_dir")
    _clear(directory)
    failure = None
    _write_summary(summary, results)
    for step, result in zip(steps, results, strict=True):
        print(f"\n=== {step.name}", flush=True)
        begin = time.monotonic()
        try:
            result.metrics = run.metrics[step.name] = step.run(run, step.name)
            result.status = "passed"
        except CannotRunError as reason:
            result.metrics = {"reason": str(reason)}
            print(f"skipped: {reason}", flush=True)
        except UserError as error:
            result.status, failure = "failed", f"smoke: {step.name} failed: {error}"
        result.seconds = round(time.monotonic() - begin, 1)
        _write_summary(summary, results)
        if failure:
            break
    _print_table(results)
    if failure:
        raise UserError(failure)
    # Kilobytes on Linux; the largest child process, so the step that needs the most.
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"seconds": round(sum(r.seconds for r in results), 1), "peak_megabytes": round(peak)}


def _clear(directory: Path) -> None:
    """Remove what the last run left, but for the base: its step sees whether it is still right."""
    for path in directory.glob("*"):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.name != "base":
            shutil.rmtree(path)


def _write_summary(path: Path, results: Sequence[Result]) -> None:
    write_json(path, {"stages": [vars(result) for result in results]})


def _print_table(results: Sequence[Result]) -> None:
    """Each step, with each metric of the base model beside the tuned one's."""
    print(f"\n{'stage':<12} {'status':<8} {'seconds':>8}")
    for result in results:
        shown = []
        for key, tuned in result.metrics.items():
            if key.startswith("tuned_"):
                name = key.removeprefix("tuned_")
                base = result.metrics.get(f"base_{name}")
                shown.append(f"{name} {'' if base is None else f'{base:.3g} → '}{tuned:.3g}")
        print(f"{result.name:<12} {result.status:<8} {result.seconds:>8.1f}  {'  '.join(shown)}")
