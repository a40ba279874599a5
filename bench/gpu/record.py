"""Results as they come: a line of JSON for each, on the disk before the next begins."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def record(output: Path, entry: dict[str, Any]) -> None:
    """Append to results.jsonl, and print."""
    line = json.dumps(entry)
    with (output / "results.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
    print(line, flush=True)


def measured(output: Path, deadline: float, case: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> None:
    """Record what `measure` finds, why it failed, or that its time was up before it began (`deadline` as time.time())."""
    if time.time() > deadline:
        record(output, {**case, "skipped": "no time was left"})
        return
    begun = time.monotonic()
    try:
        found = measure()
    except Exception as error:  # noqa: BLE001 - of any library; the next case may do better
        found = {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"}
    record(output, {**case, **found, "seconds": round(time.monotonic() - begun, 1)})
