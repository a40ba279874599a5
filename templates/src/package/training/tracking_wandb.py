"""The run in Weights & Biases. Whatever happens to the tracker, the training goes on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

from .tracker import Tracker

if TYPE_CHECKING:
    from ..train import Config


def make_tracker(config: Config, directory: Path) -> Tracker:
    """The tracker that ``config.watch`` names."""
    return WandbTracker(config.watch.wandb_project, config.watch.wandb_mode, directory, config)


class WandbTracker(Tracker):
    """A run of ``project``; ``mode`` is ``online``, or ``offline`` for files to sync later."""

    def __init__(
        self,
        project: str,
        mode: Literal["online", "offline"],
        directory: Path,
        config: Any,
    ) -> None:
        self.project = project
        self.mode: Literal["online", "offline"] = mode
        super().__init__("W&B", directory, config)

    def open(self, resumed: bool) -> None:
        import wandb

        noted = self.directory / "wandb_run_id"
        known = resumed and noted.is_file()
        run_id = noted.read_text(encoding="utf-8") if known else uuid4().hex
        noted.write_text(run_id, encoding="utf-8")
        self.run = wandb.init(
            project=self.project,
            id=run_id,
            name=self.directory.as_posix(),
            resume="allow",
            dir=self.directory,
            config=self.config,
            mode=self.mode,
            settings=wandb.Settings(silent=True, init_timeout=30, console="off"),
        )

    def record(self, step: int, values: dict[str, float]) -> None:
        self.run.log(values, step=step)

    def store(self, path: Path) -> None:
        self.run.save(str(path), base_path=str(path.parent), policy="now")

    def end(self, finished: bool) -> None:
        self.run.finish(exit_code=0 if finished else 1)
