"""A record beside every output: what it was made from, with what, and when."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tunesmith_runtime.errors import UserError

PACKAGES = "torch transformers tokenizers trl peft accelerate datasets optuna safetensors"


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_manifest(
    directory: Path,
    stage: str,
    config: Any,
    inputs: Iterable[str | Path],
    started: str,
    metrics: Mapping[str, float | str],
) -> None:
    """Write ``directory/manifest.json``. ``config`` is the stage's dataclass."""
    resolved = dataclasses.asdict(config)
    manifest = {
        "stage": stage,
        "started": started,
        "finished": now(),
        "seed": resolved.get("seed"),
        "config": resolved,
        "inputs": {str(path): sha256(Path(path)) for path in inputs},
        "packages": _versions(),
        "python": platform.python_version(),
        "git_commit": _git_commit(),
        "metrics": dict(metrics),
    }
    write_json(directory / "manifest.json", manifest)


def read_metrics(directory: Path) -> dict[str, float | str]:
    """The metrics in ``directory/manifest.json``."""
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    metrics: dict[str, float | str] = manifest["metrics"]
    return metrics


def is_made_of(directory: Path, config: Any, inputs: Iterable[str | Path]) -> bool:
    """Whether ``directory`` was made from this config and these inputs, with today's packages."""
    file = directory / "manifest.json"
    made = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    wanted = {
        "config": json.loads(json.dumps(dataclasses.asdict(config))),
        "inputs": {str(path): sha256(Path(path)) for path in inputs},
        "packages": _versions(),
    }
    return all(made.get(key) == value for key, value in wanted.items())


def check_input(directory: Path, path: Path) -> None:
    """Raises UserError where ``path`` is no longer what ``directory`` was made from."""
    manifest = directory / "manifest.json"
    inputs = json.loads(manifest.read_text(encoding="utf-8"))["inputs"] if manifest.exists() else {}
    if inputs.get(str(path)) != sha256(path):
        raise UserError(f"{path} is not what {directory} was made from; run {directory.name} again")


def write_json(path: Path, value: Any) -> None:
    """Write JSON so that a reader finds the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def sha256(path: Path) -> str | None:
    """Digest of a file, or of a directory's files in order of name; None for a name on the Hub."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if path.is_dir():
        digest = hashlib.sha256()
        for file_path in sorted(p for p in path.rglob("*") if p.is_file()):
            if file_path.name != "manifest.json":  # holds times, so it differs between equal runs
                digest.update(f"{file_path.relative_to(path)}\0{sha256(file_path)}\0".encode())
        return digest.hexdigest()
    return None


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES.split():
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _git_commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
