"""How busy the machine is while it trains, sampled beside the training."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path
from types import TracebackType

import psutil
import torch


class ResourceSampler:
    """Appends a line of CPU, memory and GPU use to ``path`` every ``seconds``.

    Percentages are of one core and of one GPU's time; memory is in MB. ``path`` is None for no
    samples. A ``resumed`` run goes on from the samples that are there, and its clock from theirs.
    """

    def __init__(self, path: Path | None, seconds: float, resumed: bool) -> None:
        self.path, self.seconds, self.resumed = path, seconds, resumed
        self.process, self.begin = psutil.Process(os.getpid()), time.monotonic()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="resources", daemon=True)

    def __enter__(self) -> None:
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.resumed:
            self.path.unlink(missing_ok=True)
        elif self.path.is_file():
            seconds = re.findall(r'"seconds": ([0-9.]+),', self.path.read_text(encoding="utf-8"))
            self.begin -= float(seconds[-1]) if seconds else 0.0
        self.thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.ended.set()
        if self.path is not None:
            self.thread.join()

    def _run(self) -> None:
        assert self.path is not None
        self.process.cpu_percent()  # counts from here
        while not self.ended.wait(self.seconds):
            try:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(self._sample()) + "\n")
            except Exception as error:  # a full disk, a GPU that does not tell: training goes on
                print(f"train: resources are no longer sampled: {error}", flush=True)
                return

    def _sample(self) -> dict[str, float]:
        sample = {
            "seconds": round(time.monotonic() - self.begin, 1),
            "cpu_percent": self.process.cpu_percent(),
            "memory_mb": round(self.process.memory_info().rss / 1e6, 1),
        }
        if torch.cuda.is_available():
            free, total = torch.cuda.mem_get_info()
            sample["gpu_percent"] = float(torch.cuda.utilization())
            sample["gpu_memory_mb"] = round((total - free) / 1e6, 1)
        return sample
