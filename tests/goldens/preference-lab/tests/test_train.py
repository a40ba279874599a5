"""Training: what is trained is what was checked, and a stopped run resumes to the same result."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError

from preference_lab import train
from preference_lab.train import Config, build_trainer, prepare


@pytest.fixture
def config(project: Path, tmp_path: Path) -> Config:
    """The project's train config with a run directory of its own."""
    loaded = load_config(Config, "train", [project / "config.yaml"])
    shutil.copytree(project / "run" / "data", tmp_path / "data")
    return replace(loaded, run_dir=str(tmp_path))


def files(config: Config) -> list[Path]:
    return [Path(config.run_dir) / "data" / f"{split}.jsonl" for split in ("train", "validation")]


def test_what_is_trained_is_what_preflight_checked(config: Config) -> None:
    """Token for token: the batches of TRL's own collator hold the checked examples."""
    tokenizer, train_set, validation = prepare(config, files(config))
    sides = train_set.examples[:8]
    trainer = build_trainer(config, tokenizer, sides, validation, Path(config.run_dir) / "t")
    rows = [trainer.train_dataset[n] for n in range(len(trainer.train_dataset))]
    batch = trainer.data_collator(rows)
    assert trained_sequences(batch) == sorted((e.input_ids, e.labels) for e in sides)


def trained_sequences(batch: dict[str, Any]) -> list[tuple[list[int], list[int]]]:
    """Token ids and labels of a batch without its padding."""
    found = []
    parts = (batch[name] for name in ("input_ids", "completion_mask", "attention_mask"))
    for ids, completion, mask in zip(*parts, strict=True):
        labels = ids.masked_fill(completion == 0, -100)
        found.append((ids[mask == 1].tolist(), labels[mask == 1].tolist()))
    return sorted(found)


def test_the_4_bit_base_computes_the_same_after_an_evaluation(config: Config) -> None:
    tokenizer, train_set, validation = prepare(config, files(config))
    trainer = build_trainer(
        config, tokenizer, train_set.examples, validation, Path(config.run_dir) / "t"
    )
    layer = next(m for m in trainer.model.modules() if hasattr(m, "quant_state"))
    before = layer.weight.data.clone()
    trainer.evaluate()
    assert (layer.weight.data == before).all()
    trained = [p for p in trainer.model.parameters() if p.requires_grad]
    assert {str(parameter.dtype) for parameter in trained} == {"torch.float32"}


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


def test_training_stops_when_the_validation_loss_does_not_fall(config: Config) -> None:
    patient = replace(config, early_stopping_patience=1, eval_every=1, save_every=1)
    metrics = train.main(replace(patient, learning_rate=1e-12, warmup_fraction=0.0))
    assert metrics["steps"] < config.max_steps


def test_patience_outlives_a_stop(config: Config, tmp_path: Path) -> None:
    patient = replace(config, early_stopping_patience=4, eval_every=1, save_every=1, max_steps=12)
    still = replace(patient, learning_rate=1e-12, warmup_fraction=0.0, keep_checkpoints=12)
    stopped = train.main(still)["steps"]
    shutil.rmtree(tmp_path / "train" / "final")
    assert train.main(still)["steps"] == stopped
    shutil.rmtree(tmp_path / "train" / "final")
    for checkpoint in (tmp_path / "train").glob("checkpoint-*"):
        if int(checkpoint.name.split("-")[1]) > 3:
            shutil.rmtree(checkpoint)
    assert train.main(still)["steps"] == stopped < 3 + 4


def test_evaluations_without_a_checkpoint_are_refused(config: Config) -> None:
    for eval_every, save_every in ((2, 3), (2, 0.5), (2, 4)):
        with pytest.raises(UserError, match="has to be a saved one"):
            train.main(replace(config, eval_every=eval_every, save_every=save_every))
