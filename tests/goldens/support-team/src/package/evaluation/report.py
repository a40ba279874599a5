"""The report: ``report.json`` for programs and ``report.md`` for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tunesmith_runtime.manifest import write_json

from ..markdown import code, plain
from .outcome import Outcome

Answers = Sequence[Mapping[str, str]]
SAMPLES = 5  # answers shown side by side


def write_report(
    directory: Path, base_model: str, metrics: Mapping[str, float | str], answers: Answers
) -> None:
    """Write both to ``directory``; without ``answers``, the metrics alone."""
    report = {"metrics": metrics, "answers": answers} if answers else {"metrics": metrics}
    write_json(directory / "report.json", report)
    text = markdown(base_model, metrics, answers)
    (directory / "report.md").write_text(text, encoding="utf-8")


def side_by_side(base: Outcome, tuned: Outcome) -> list[dict[str, str]]:
    """What both answered to each row; nothing where no metric asked both for answers."""
    if not (base.has_answered and tuned.has_answered):
        return []
    return [
        {
            "prompt": row.messages[-2]["content"],
            "reference": row.messages[-1]["content"],
            "base": base_answer,
            "tuned": tuned_answer,
            "source": row.where,
        }
        for row, base_answer, tuned_answer in zip(
            tuned.rows, base.answers, tuned.answers, strict=True
        )
    ]


def markdown(base_model: str, metrics: Mapping[str, float | str], answers: Answers) -> str:
    """The report for people."""
    lines = [
        "# Evaluation",
        "",
        f"Base model {code(base_model)} and the tuned model on {metrics['examples']:.0f} rows "
        "of the test split.",
        "",
        *table(metrics),
    ]
    for answer in answers[:SAMPLES]:
        lines += ["", f"## {plain(answer['prompt'])}", "", f"From {code(answer['source'])}.", ""]
        lines += [f"- {who}: {plain(answer[who])}" for who in ("reference", "base", "tuned")]
    return "\n".join(lines) + "\n"


def table(metrics: Mapping[str, float | str]) -> list[str]:
    """Each metric of the base beside the tuned model's, as lines of Markdown."""
    lines = ["| metric | base | tuned |", "| --- | ---: | ---: |"]
    for key, tuned in metrics.items():
        if key.startswith("tuned_"):
            name = key.removeprefix("tuned_")
            base = f"{metrics[f'base_{name}']:.4g}" if f"base_{name}" in metrics else ""
            lines.append(f"| {name.replace('_', ' ')} | {base} | {tuned:.4g} |")
    return lines
