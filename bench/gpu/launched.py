"""A few steps of a generated repository's training, in each process that `accelerate launch` starts.

`accelerate launch … launched.py PACKAGE RUN_DIR VALUE…`, in the repository: its own command refuses one process, which has
nothing to share; here one is enough to see that a configuration starts.
"""

import importlib
import sys
from pathlib import Path

from tunesmith_runtime.config import load_config


def main(package: str, run_dir: str, values: list[str]) -> None:
    """Prepare the rows, build the trainer, and train as many steps as the values say."""
    script = importlib.import_module(f"{package}.train")
    config = load_config(script.Config, "train", ["configs/default.yaml"], [f"run_dir={run_dir}", *values])
    files = [Path(run_dir) / "data" / f"{split}.jsonl" for split in ("train", "validation")]
    tokenizer, train_set, validation = script.prepare(config, files)
    trainer = script.build_trainer(
        config,
        tokenizer,
        train_set.examples,
        validation,
        Path(run_dir) / "train",
        eval_strategy="no",
        save_strategy="no",
    )
    trainer.train()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
