"""The run in MLflow. Whatever happens to the tracker, the training goes on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .tracker import Tracker

if TYPE_CHECKING:
    from ..train import Config

# Tried for seconds, not for MLflow's quarter of an hour; the tracker gives up after that.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")


def make_tracker(config: Config, directory: Path) -> Tracker:
    """The tracker that ``config.watch`` names; MLFLOW_TRACKING_URI goes before its address."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or config.watch.mlflow_uri
    return MlflowTracker(uri, config.watch.mlflow_experiment, directory, config)


class MlflowTracker(Tracker):
    """An MLflow run in ``experiment`` at ``uri``."""

    def __init__(self, uri: str, experiment: str, directory: Path, config: Any) -> None:
        self.uri, self.experiment = uri, experiment
        super().__init__("MLflow", directory, config)

    def open(self, resumed: bool) -> None:
        import mlflow

        files = None  # the server says
        if self.uri.startswith("sqlite:///"):
            folder = Path(self.uri.removeprefix("sqlite:///")).parent
            folder.mkdir(parents=True, exist_ok=True)
            files = (folder / "mlflow-artifacts").absolute().as_uri()
        self.client = mlflow.MlflowClient(self.uri)
        known = self.client.get_experiment_by_name(self.experiment)
        number = (
            known.experiment_id
            if known
            else self.client.create_experiment(self.experiment, artifact_location=files)
        )
        noted = self.directory / "mlflow_run_id"
        if resumed and noted.is_file():
            self.run_id = noted.read_text(encoding="utf-8")
            self.client.update_run(self.run_id, status="RUNNING")
            return
        self.run_id = self.client.create_run(number, run_name=self.directory.as_posix()).info.run_id
        noted.write_text(self.run_id, encoding="utf-8")
        for key, value in self.config.items():
            self.client.log_param(self.run_id, key, str(value)[:500])

    def record(self, step: int, values: dict[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(key, value, now, step) for key, value in values.items()]
        self.client.log_batch(self.run_id, metrics=metrics)

    def store(self, path: Path) -> None:
        self.client.log_artifact(self.run_id, str(path))

    def end(self, finished: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if finished else "KILLED")
