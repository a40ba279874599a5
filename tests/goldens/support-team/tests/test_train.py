"""Training: what is trained is what was checked, and a stopped run resumes to the same result."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tunesmith_runtime.chat import IGNORED, Example
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.metrics import completion_loss

from support_assistant import train
from support_assistant.train import Config, build_trainer, prepare


@pytest.fixture
def config(project: Path, tmp_path: Path) -> Config:
    """The project's train config with a run directory of its own."""
    loaded = load_config(Config, "train", [project / "config.yaml"])
    shutil.copytree(project / "run" / "data", tmp_path / "data")
    return replace(loaded, run_dir=str(tmp_path))


def files(config: Config) -> list[Path]:
    return [Path(config.run_dir) / "data" / f"{split}.jsonl" for split in ("train", "validation")]


def test_the_trainers_loss_is_over_the_answers_alone(config: Config) -> None:
    tokenizer, train_set, validation = prepare(config, files(config))
    batch = train_set.examples[:4]
    whole = [Example(e.input_ids, list(e.input_ids), e.where) for e in batch]
    trainer = build_trainer(config, tokenizer, batch, validation, Path(config.run_dir) / "t")
    inputs = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    assert (inputs["labels"] == IGNORED).any()
    measured = trainer.compute_loss(trainer.model.eval(), dict(inputs)).item()
    pad = tokenizer.pad_token_id
    assert measured == pytest.approx(completion_loss(trainer.model, batch, 4, pad), rel=1e-4)
    assert measured != pytest.approx(completion_loss(trainer.model, whole, 4, pad), rel=1e-4)


def test_a_stopped_run_resumes_to_the_same_result(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train.main(config)
    directory = tmp_path / "train"
    first = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    assert first["config"]["learning_rate"] == config.learning_rate
    assert first["inputs"][str(files(config)[0])]

    # As after a kill between steps 3 and 6: the last checkpoint was cut short.
    shutil.rmtree(directory / "final")
    (directory / "checkpoint-6" / "trainer_state.json").unlink()
    resumed = train.main(config)
    output = capsys.readouterr().out
    assert "checkpoint-6 is torn" in output
    assert "resuming from" in output
    assert resumed["validation_loss"] == pytest.approx(metrics["validation_loss"], rel=1e-4)
    text = (directory / "metrics.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    entries = [entry for entry in lines if "loss" in entry]
    assert [entry["step"] for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert all("tokens_per_second" in entry for entry in entries)

    # As after a kill when the last step was saved: nothing is trained any more.
    shutil.rmtree(directory / "final")
    resumed = train.main(config)
    assert resumed["validation_loss"] == pytest.approx(metrics["validation_loss"], rel=1e-4)
    again = (directory / "metrics.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in again.splitlines()] == lines
    assert resumed["steps"] == 6

    capsys.readouterr()
    finished = train.main(config)
    assert "finished already" in capsys.readouterr().out
    assert finished == resumed

    with pytest.raises(UserError, match="another learning_rate"):
        train.main(replace(config, learning_rate=0.5))


def test_a_loss_that_runs_away_stops_the_run(config: Config) -> None:
    with pytest.raises(UserError, match=r"is (nan|inf) at step|the loss grew from"):
        train.main(replace(config, learning_rate=1e30, max_grad_norm=1e30, max_loss_growth=1.0))
