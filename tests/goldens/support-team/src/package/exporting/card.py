"""The model card: what the stages recorded of this model, as a README for the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import check_input

from ..evaluation.report import table
from ..markdown import code, plain


def model_card(
    run_dir: Path,
    name: str,
    description: str,
    license_id: str | None,
    trained: str,
    method: str,
    weights: str,
    tags: Sequence[str],
) -> ModelCard:
    """The card of the model that was trained in ``run_dir``.

    What was ``trained``, by which ``method``, and what its ``weights`` are is said in words. Raises
    UserError where the training left no record.
    """
    train = read_manifest(run_dir / "train")
    values, base = train["config"], train["config"]["base_model"]
    digest = train["inputs"].get(base)  # none, where it is a name on the Hub
    metadata = ModelCardData(
        base_model=None if digest else base,
        library_name="transformers",
        license=license_id,
        pipeline_tag="text-generation",
        tags=list(tags),
    )
    which = f"SHA-256 {code(digest)}" if digest else f"revision {code(values['base_revision'])}"
    metrics = evaluation(run_dir)
    sections = {
        "Intended use": [plain(description) if description.strip() else "None is stated."],
        "Model": [
            f"- Base model: {code(base)}, {which}",
            f"- Trained: {plain(trained)}, by {plain(method)}",
            f"- Code: git commit {code(train['git_commit'] or 'unknown')}",
            f"- Weights: {plain(weights)}",
        ],
        "Data": data(run_dir, train),
        "Evaluation": results(metrics) if metrics else ["This model has not been evaluated."],
        "Training values": bullets({k: v for k, v in values.items() if is_told(k, v)}),
        "What training reported": bullets(train["metrics"]),
        "Versions": bullets({"python": train["python"], **train["packages"]}),
        "Limits": [
            f"- It was trained on sequences of at most {values['max_length']} tokens.",
            "- This pipeline measured what stands above, and nothing else.",
        ],
        "License": [
            f"This model's is {code(license_id)}." if license_id else "None is stated.",
            f"See also that of {code(base)}, from which it is derived.",
        ],
    }
    body = [f"## {heading}\n\n" + "\n".join(lines) for heading, lines in sections.items()]
    return ModelCard("\n\n".join([f"---\n{metadata.to_yaml()}\n---", f"# {name}", *body]) + "\n")


def data(run_dir: Path, train: Mapping[str, Any]) -> list[str]:
    """How many rows there were, and digests of the files that they came from."""
    base = train["config"]["base_model"]
    files = {path: digest for path, digest in train["inputs"].items() if path != base}
    lines = []
    if is_of(run_dir / "train", run_dir / "data" / "train.jsonl"):  # else it was made anew since
        prepared = read_manifest(run_dir / "data")
        files = {**prepared["inputs"], **files}
        rows = {name: f"{count:.0f}" for name, count in prepared["metrics"].items()}
        lines = [
            f"- {rows['train_rows']} rows to train on, {rows['validation_rows']} to validate with, "
            f"{rows['test_rows']} held out for evaluation; {rows['dropped_rows']} were dropped"
        ]
    digests = [f"- {code(path)}: SHA-256 {code(str(found))}" for path, found in files.items()]
    return lines + digests


def evaluation(run_dir: Path) -> dict[str, float | str] | None:
    """The metrics of this very model, if it was evaluated."""
    if not is_of(run_dir / "evaluate", run_dir / "train" / "final"):
        return None
    metrics: dict[str, float | str] = read_manifest(run_dir / "evaluate")["metrics"]
    return metrics


def results(metrics: Mapping[str, float | str]) -> list[str]:
    """Those of the base model beside this one's."""
    return [f"On {metrics['examples']:.0f} rows that were held out:", "", *table(metrics)]


def read_manifest(directory: Path) -> dict[str, Any]:
    """What a stage recorded. Raises UserError where it recorded nothing."""
    path = directory / "manifest.json"
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the {directory.name} stage again")
    manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return manifest


def is_of(directory: Path, path: Path) -> bool:
    """Whether what stands in ``directory`` was made from ``path`` as it is now."""
    try:
        check_input(directory, path)
    except UserError:
        return False
    return True


def is_told(name: str, value: Any) -> bool:
    """Whether one of the training's values says something of the model."""
    if name in ("run_dir", "watch", "base_model", "base_revision"):
        return False
    return "://" not in str(value)  # an address, which may hold a password


def bullets(values: Mapping[str, Any]) -> list[str]:
    """Names and values as a list."""
    shown = {k: v if isinstance(v, str) else json.dumps(v) for k, v in values.items()}
    return [f"- {plain(name)}: {code(value)}" for name, value in shown.items()]
