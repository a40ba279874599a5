"""One HTML page about a training run: curves, machine, configuration, data, environment."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, MARGIN = 560, 240, 64  # of a chart, in pixels
Point = tuple[float, float]
Curves = Sequence[tuple[str, tuple[str, ...]]]  # a title, and a name in the log for each line
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
       color: #1a1a1a; background: #fff; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; } td, th { padding: .2rem 1rem .2rem 0; text-align: left;
       border-bottom: 1px solid #ddd; vertical-align: top; overflow-wrap: anywhere; }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; }
figcaption { font-weight: 600; } svg { background: #fafafa; }
svg text { font-size: 11px; fill: #555; } code { font-size: 13px; }
"""
# What is drawn, where it was logged.
CURVES: Curves = (
    ("Loss", ("loss", "eval_loss")),
    ("Learning rate", ("learning_rate",)),
    ("Gradient norm", ("grad_norm",)),
    ("Tokens per second", ("tokens_per_second",)),
)
RESOURCES: Curves = (
    ("CPU, % of a core", ("cpu_percent",)),
    ("Memory, MB", ("memory_mb",)),
    ("GPU, % of its time", ("gpu_percent",)),
    ("GPU memory, MB", ("gpu_memory_mb",)),
)
COLOURS = ("#1f6fb2", "#c4570c")


def write_report(directory: Path, more: Curves = ()) -> None:
    """Write ``directory/report.html`` from the manifest, the metrics and the samples there.

    ``more`` curves are drawn beside those of every training.
    """
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    steps = _lines(directory / "metrics.jsonl")
    samples = _lines(directory / "resources.jsonl")
    summary = {name: manifest[name] for name in ("started", "finished", "seed", "git_commit")}
    environment = {"python": manifest["python"], **manifest["packages"]}
    digests = {path: digest or "(on the Hub)" for path, digest in manifest["inputs"].items()}
    title = f"Training: {directory.as_posix()}"
    body = [
        f"<h1>{html.escape(title)}</h1>",
        _table(summary),
        "<h2>Result</h2>",
        _table(manifest["metrics"]),
        "<h2>Curves</h2>",
        _charts(steps, "step", [*CURVES, *more]),
        "<h2>Machine</h2>",
        _charts(samples, "seconds", RESOURCES) or "<p>The run was too short for a sample.</p>",
        "<h2>Configuration</h2>",
        _table(_flat(manifest["config"])),
        "<h2>Data and base model, by SHA-256</h2>",
        _table(digests),
        "<h2>Environment</h2>",
        _table(environment),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )
    (directory / "report.html").write_text(page, encoding="utf-8")


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:  # cut short by a kill
            continue
    return entries


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Nested values under names like ``watch.log_every``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = _flat(value) if isinstance(value, dict) else {}
        flat |= {f"{key}.{name}": each for name, each in inner.items()} or {key: value}
    return flat


def _table(values: dict[str, Any]) -> str:
    rows = []
    for key, value in values.items():
        shown = f"{value:.6g}" if isinstance(value, float) else _text(value)
        name = html.escape(key)
        rows.append(f"<tr><th>{name}</th><td><code>{html.escape(shown)}</code></td></tr>")
    return "<table>\n" + "\n".join(rows) + "\n</table>"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _charts(entries: Sequence[dict[str, Any]], axis: str, charts: Curves) -> str:
    drawn = []
    for title, names in charts:
        lines = {
            name: [
                (float(e[axis]), float(e[name]))
                for e in entries
                if name in e and axis in e and math.isfinite(float(e[name]))
            ]
            for name in names
        }
        lines = {name: points for name, points in lines.items() if points}
        if lines:
            chart = _chart(lines, axis)
            drawn.append(f"<figure><figcaption>{html.escape(title)}</figcaption>{chart}</figure>")
    return '<div class="charts">\n' + "\n".join(drawn) + "\n</div>" if drawn else ""


def _chart(lines: dict[str, list[Point]], axis: str) -> str:
    """Lines over one axis, as SVG; each point says its value when pointed at."""
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    left, right, low, high = min(xs), max(xs), min(ys), max(ys)
    across = (WIDTH - 2 * MARGIN) / ((right - left) or 1)
    up = (HEIGHT - 2 * MARGIN) / ((high - low) or 1)

    def place(point: Point) -> str:
        x = MARGIN + (point[0] - left) * across
        return f"{x:.1f},{HEIGHT - MARGIN - (point[1] - low) * up:.1f}"

    parts = []
    for (name, points), colour in zip(lines.items(), COLOURS, strict=False):
        path = " ".join(map(place, points))
        parts.append(
            f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>'
        )
        for point in points[:: max(1, len(points) // 100)]:
            x, y = place(point).split(",")
            tip = html.escape(f"{name} {point[1]:.5g} at {axis} {point[0]:g}")
            dot = f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}">'
            parts.append(f"{dot}<title>{tip}</title></circle>")
    for number, (name, colour) in enumerate(zip(lines, COLOURS, strict=False)):
        at = MARGIN + number * 150
        parts.append(f'<rect x="{at}" y="12" width="12" height="3" fill="{colour}"/>')
        parts.append(f'<text x="{at + 16}" y="17">{html.escape(name)}</text>')
    bottom = HEIGHT - MARGIN
    parts += [
        f'<line x1="{MARGIN}" y1="{bottom}" x2="{WIDTH - MARGIN}" y2="{bottom}" stroke="#999"/>',
        f'<line x1="{MARGIN}" y1="{MARGIN}" x2="{MARGIN}" y2="{bottom}" stroke="#999"/>',
        f'<text x="{MARGIN - 4}" y="{MARGIN + 4}" text-anchor="end">{high:.3g}</text>',
        f'<text x="{MARGIN - 4}" y="{bottom}" text-anchor="end">{low:.3g}</text>',
        f'<text x="{MARGIN}" y="{bottom + 16}">{left:g}</text>',
        f'<text x="{WIDTH - MARGIN}" y="{bottom + 16}" text-anchor="end">{axis} {right:g}</text>',
    ]
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg {size} role="img">' + "".join(parts) + "</svg>"
