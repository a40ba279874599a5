"""The command line: one command per stage."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.output import whatever_shows_it


@dataclass(frozen=True)
class Stage:
    """A stage is the module of its name, with a ``Config`` and ``main(config)``."""

    purpose: str
    uses_one_gpu: bool = False


STAGES = {
    "data": Stage("clean the source files and split them"),
    "train": Stage("fine-tune a LoRA adapter with SFT", uses_one_gpu=True),
    "evaluate": Stage("compare the base model with the tuned one"),
    "export": Stage("merge the adapter into a model that engines serve"),
    "serve": Stage("serve the exported model with an OpenAI-compatible API"),
}
PURPOSES = {
    **{name: stage.purpose for name, stage in STAGES.items()},
    "smoke": "run every stage on a small model, offline, on a CPU",
}
PACKAGE = str(__package__)
EXAMPLE = f"""\
example:
  python -m {PACKAGE} train \\
      --config configs/default.yaml --set train.learning_rate=1e-4
"""


@whatever_shows_it()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage; 0 if it succeeded, 1 after an error that the user can repair."""
    parser = argparse.ArgumentParser(
        prog=PACKAGE,
        description="The stages of the pipeline.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="stage", metavar="STAGE", required=True)
    for name, purpose in PURPOSES.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        command.add_argument(
            "--config",
            action="append",
            required=True,
            metavar="FILE",
            help="YAML file; may be repeated, later files override earlier ones",
        )
        command.add_argument(
            "--set",
            action="append",
            default=[],
            dest="overrides",
            metavar="KEY=VALUE",
            help="override one value, e.g. train.learning_rate=1e-4",
        )
    options = parser.parse_args(arguments)
    # PEFT and TRL still use the old name, which says nothing to whoever runs a stage.
    warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
    try:
        return run(options.stage, options.config, options.overrides)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def run(stage: str, files: Sequence[str], overrides: Sequence[str]) -> int:
    """Run a stage with the values of its config and print its metrics."""
    # Imported here: torch and its friends take seconds, and not every stage needs them.
    if stage == "smoke":
        metrics = import_module(".smoke.run", PACKAGE).main(files, overrides)
    else:
        if STAGES[stage].uses_one_gpu:
            # transformers would split each batch over all GPUs.
            os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
        module = import_module(f".{stage}", PACKAGE)
        config = load_config(module.Config, stage, files, overrides)
        metrics = module.main(config)
    for key, value in metrics.items():
        shown = f"{value:.6g}" if isinstance(value, float) else value
        print(f"{stage}: {key} = {shown}")
    return 0
