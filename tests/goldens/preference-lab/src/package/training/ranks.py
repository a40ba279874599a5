"""What each process of a distributed training is doing, and which one the others wait for."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback
from tunesmith_runtime.manifest import write_json

# In the order of a step; a process that waits for others does so while it goes backward.
PHASES = ("validating or saving", "loading rows", "computing forward", "computing backward")
SAVING, LOADING, FORWARD, BACKWARD = range(4)
BEAT = 1.0  # seconds between two signs of life


class RankWatch(TrainerCallback):  # type: ignore[misc]
    """Each process notes in ``directory/rank-N.json`` where it is; the first one reads them all.

    After ``stall_seconds`` without a step it names the process that the others wait for.
    ``tokens_per_step`` is over all processes.
    """

    def __init__(self, directory: Path, tokens_per_step: float, stall_seconds: float) -> None:
        self.directory, self.stall_seconds = directory, stall_seconds
        self.tokens_per_step = tokens_per_step
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.step, self.phase, self.beats, self.forward_seconds = 0, LOADING, 0, 0.0
        # Beats of each process, and when they last rose by this one's clock.
        self.last_beats: dict[int, tuple[int, float]] = {}
        self.timed: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self.ended = threading.Event()

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        self.first_step = self.step = state.global_step
        self.moved = time.monotonic()
        model.register_forward_pre_hook(self._begin_forward)
        model.register_forward_hook(self._end_forward)
        self._note()
        threading.Thread(target=self._beat, name="ranks", daemon=True).start()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._enter(FORWARD)

    def on_substep_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._enter(FORWARD)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = state.global_step
        self._enter(SAVING if control.should_evaluate or control.should_save else LOADING)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._enter(SAVING)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._enter(SAVING if control.should_save else LOADING)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._enter(LOADING)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if "loss" not in logs:
            return
        if self.timed:
            torch.cuda.synchronize()
            self.forward_seconds += sum(a.elapsed_time(b) / 1000 for a, b in self.timed)
            self.timed.clear()
        self._note()
        if self.rank == 0:
            rates = [f"{note['tokens_per_second']:,}" for note in self._notes()]
            print(f"train: forward tokens/s by process: {'  '.join(rates)}", flush=True)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.ended.set()

    def _begin_forward(self, model: torch.nn.Module, inputs: Any) -> None:
        if not model.training:
            return
        self.began = time.monotonic()
        if torch.cuda.is_available():
            self.begin_event = torch.cuda.Event(enable_timing=True)
            self.begin_event.record()

    def _end_forward(self, model: torch.nn.Module, inputs: Any, outputs: Any) -> None:
        if not model.training:
            return
        self._enter(BACKWARD)
        if torch.cuda.is_available():  # which computes on while Python goes ahead
            end = torch.cuda.Event(enable_timing=True)
            end.record()
            self.timed.append((self.begin_event, end))
        else:
            self.forward_seconds += time.monotonic() - self.began

    def _enter(self, phase: int) -> None:
        self.phase, self.moved = phase, time.monotonic()

    def _beat(self) -> None:
        told = 0.0
        while not self.ended.wait(BEAT):
            self.beats += 1
            self._note()
            if self.rank == 0:
                self._read_beats()
            if self.rank == 0 and time.monotonic() - max(self.moved, told) > self.stall_seconds:
                told = time.monotonic()
                print(f"train: warning: {self._stalled()}", flush=True)

    def _note(self) -> None:
        steps = self.step - self.first_step
        share = self.tokens_per_step / self.world
        note = {
            "rank": self.rank,
            "step": self.step,
            "phase": self.phase,
            # Forward alone: going backward, each process waits for the slowest.
            "tokens_per_second": round(share * steps / max(self.forward_seconds, 1e-9)),
            "beats": self.beats,
        }
        try:
            write_json(self.directory / f"rank-{self.rank}.json", note)
        except OSError:
            return  # a full disk; the training itself says so

    def _notes(self) -> list[dict[str, Any]]:
        notes = []
        for rank in range(self.world):
            path = self.directory / f"rank-{rank}.json"
            nothing = {"rank": rank, "step": 0, "phase": 0, "tokens_per_second": 0, "beats": 0}
            try:
                notes.append(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError):
                notes.append(nothing)
        return notes

    def _read_beats(self) -> None:
        for note in self._notes():
            beats, _ = self.last_beats.get(note["rank"], (-1, 0.0))
            if note["beats"] != beats:
                self.last_beats[note["rank"]] = (note["beats"], time.monotonic())

    def _stalled(self) -> str:
        notes = self._notes()
        silence = {rank: time.monotonic() - rose for rank, (_, rose) in self.last_beats.items()}
        silent = [n for n in notes if silence[n["rank"]] > 10 * BEAT]
        last = min(silent or notes, key=lambda note: (note["step"], note["phase"]))
        where = f"process {last['rank']}"
        if last in silent:
            return (
                f"{where} has given no sign of life for {silence[last['rank']]:.0f} s (it was at "
                f"step {last['step']}, {PHASES[last['phase']]}); the others wait for it"
            )
        return (
            f"no step has ended for {self.stall_seconds:.0f} s; {where} is behind the others, at "
            f"step {last['step']}, {PHASES[last['phase']]}"
        )
