"""What is trained is the answers, and nothing else."""

from pathlib import Path

import pytest
from trl import SFTTrainer
from tunesmith_runtime.chat import IGNORED, Example

from support_assistant.evaluation.likelihood import completion_loss
from support_assistant.train import Config, build_trainer, prepare


def test_the_trainers_loss_is_over_the_answers_alone(
    train_config: Config, files: list[Path], tmp_path: Path
) -> None:
    tokenizer, train_set, validation = prepare(train_config, files)
    batch = train_set.examples[:4]
    whole = [Example(e.input_ids, list(e.input_ids), e.where) for e in batch]
    trainer = build_trainer(train_config, tokenizer, batch, validation, tmp_path / "t")
    inputs = trainer.data_collator([trainer.train_dataset[n] for n in range(4)])
    assert (inputs["labels"] == IGNORED).any()
    measured = trainer.compute_loss(trainer.model.eval(), dict(inputs)).item()
    # Which is TRL's own, by another way on a CPU.
    theirs = SFTTrainer.compute_loss(trainer, trainer.model, dict(inputs)).item()
    assert measured == pytest.approx(theirs, rel=1e-4)
    pad = tokenizer.pad_token_id
    assert measured == pytest.approx(completion_loss(trainer.model, batch, 4, pad), rel=1e-4)
    assert measured != pytest.approx(completion_loss(trainer.model, whole, 4, pad), rel=1e-4)
