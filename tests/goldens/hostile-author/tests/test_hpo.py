"""Search: finished trials count when it is started again, and the best values are a config."""

import shutil
from pathlib import Path

import optuna
import pytest
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError

from hostile.hpo import Config, main
from hostile.train import Config as TrainConfig

SMALL = ["hpo.trials=2", "hpo.max_steps=2", "hpo.eval_every=1"]


def search(project: Path, run_dir: Path, *overrides: str) -> dict[str, float | str]:
    values = [f"run_dir={run_dir}", *SMALL, *overrides]
    return main(load_config(Config, "hpo", [project / "config.yaml"], values))


def test_a_stopped_search_goes_on_and_its_best_values_train(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(project / "run" / "data", tmp_path / "first" / "data")
    first = search(project, tmp_path / "first")
    assert first["trials"] == 2
    moved = (tmp_path / "first").rename(tmp_path / "second")
    again = search(project, moved, "hpo.trials=3", "train.watch.log_every=7")
    assert "2 of 3 trials are finished already" in capsys.readouterr().out
    assert again["trials"] == 3
    assert float(again["best_validation_loss"]) <= float(first["best_validation_loss"])

    study = optuna.load_study(
        study_name="validation-loss", storage=f"sqlite:///{moved / 'hpo' / 'study.db'}"
    )
    assert len(study.trials) == 3
    configs = [project / "config.yaml", moved / "hpo" / "best.yaml"]
    best = load_config(TrainConfig, "train", configs)
    assert best.learning_rate == study.best_params["learning_rate"]

    changed = r"another config \(max_steps, train\.weight_decay\)"
    with pytest.raises(UserError, match=changed):
        search(project, moved, "hpo.max_steps=3", "train.weight_decay=0.5")
