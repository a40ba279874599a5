"""What is trained is what the preflight checked."""

from pathlib import Path
from typing import Any

from preference_lab.train import Config, build_trainer, prepare


def test_what_is_trained_is_what_preflight_checked(
    train_config: Config, files: list[Path], tmp_path: Path
) -> None:
    """Token for token: the batches of TRL's own collator hold the checked examples."""
    tokenizer, train_set, validation = prepare(train_config, files)
    sides = train_set.examples[:8]
    trainer = build_trainer(train_config, tokenizer, sides, validation, tmp_path / "t")
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
