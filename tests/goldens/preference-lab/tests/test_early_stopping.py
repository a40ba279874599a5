"""Training that ends when the validation loss falls no more, stopped and resumed too."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import sha256

from preference_lab import train
from preference_lab.train import Config


def never_better(config: Config, patience: int, **values: Any) -> Config:
    """A config of a run that learns nothing, evaluated and saved after each step."""
    watch = replace(config.watch, save_every=1, keep_checkpoints=12)
    values |= {"learning_rate": 1e-12, "warmup_fraction": 0.0, "eval_every": 1, "watch": watch}
    return replace(config, early_stopping_patience=patience, **values)


def test_training_stops_when_the_validation_loss_does_not_fall(train_config: Config) -> None:
    metrics = train.main(never_better(train_config, 1))
    assert metrics["steps"] < train_config.max_steps


def test_patience_outlives_a_stop(train_config: Config, tmp_path: Path) -> None:
    still = never_better(train_config, 4, max_steps=12)
    final = tmp_path / "train" / "final"

    def weights() -> list[str | None]:
        return [sha256(path) for path in sorted(final.glob("*.safetensors"))]

    stopped, best = train.main(still)["steps"], weights()
    shutil.rmtree(final)
    assert train.main(still)["steps"] == stopped
    assert weights() == best
    shutil.rmtree(final)
    for checkpoint in (tmp_path / "train").glob("checkpoint-*"):
        if int(checkpoint.name.split("-")[1]) > 3:
            shutil.rmtree(checkpoint)
    assert train.main(still)["steps"] == stopped < 3 + 4


def test_evaluations_without_a_checkpoint_are_refused(train_config: Config) -> None:
    for eval_every, save_every in ((2, 3), (2, 0.5), (2, 4)):
        watch = replace(train_config.watch, save_every=save_every)
        with pytest.raises(UserError, match="has to be a saved one"):
            train.main(replace(train_config, eval_every=eval_every, watch=watch))
