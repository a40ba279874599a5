"""Training: a stopped run resumes to the same result, and one whose loss runs away ends."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import sha256

from support_assistant import train
from support_assistant.train import Config


def test_a_stopped_run_resumes_to_the_same_result(
    train_config: Config, files: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train.main(train_config)
    directory = tmp_path / "train"
    first = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    assert first["config"]["learning_rate"] == train_config.learning_rate
    assert first["inputs"][str(files[0])]

    # As after a kill between steps 3 and 6: the last checkpoint was cut short.
    shutil.rmtree(directory / "final")
    (directory / "checkpoint-6" / "trainer_state.json").unlink()
    resumed = train.main(train_config)
    output = capsys.readouterr().out
    assert "checkpoint-6 is torn" in output
    assert "resuming from" in output
    assert resumed["validation_loss"] == pytest.approx(metrics["validation_loss"], rel=1e-4)
    text = (directory / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    entries = [entry for entry in lines if "loss" in entry]
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert all("tokens_per_second" in entry for entry in entries)
    assert not [*directory.rglob("final/README.md"), *directory.glob("README.md")]

    # As after a kill when the last step was saved: nothing is trained any more.
    before = {path.name: sha256(path) for path in (directory / "final").glob("*.safetensors")}
    shutil.rmtree(directory / "final")
    resumed = train.main(train_config)
    assert before
    assert before == {name: sha256(directory / "final" / name) for name in before}
    assert resumed["validation_loss"] == pytest.approx(metrics["validation_loss"], rel=1e-4)
    again = (directory / "metrics.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in again.splitlines()] == lines
    assert resumed["steps"] == 6

    capsys.readouterr()
    finished = train.main(train_config)
    assert "finished already" in capsys.readouterr().out
    assert finished == resumed

    with pytest.raises(UserError, match="another learning_rate"):
        train.main(replace(train_config, learning_rate=0.5))


def test_a_loss_that_runs_away_stops_the_run(train_config: Config) -> None:
    watch = replace(train_config.watch, max_loss_growth=1.0)
    with pytest.raises(UserError, match=r"is (nan|inf) at step|the loss grew from"):
        train.main(replace(train_config, learning_rate=1e30, max_grad_norm=1e30, watch=watch))
