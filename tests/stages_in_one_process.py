"""Run in a repository's environment: stages one after another for each of several base models.

`python stages_in_one_process.py PACKAGE STAGES MODEL… -- OVERRIDE…`, where STAGES is as `data,train,serve`, prints a line
of JSON for each model: `{"model", "metrics": {STAGE: …}, "parity": …}`, or its `"error"`. A process of their own for every stage would
spend ten seconds on imports.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from tunesmith_runtime.chat import encode_row, prompt_ids, read_split
from tunesmith_runtime.config import load_config
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.pretrained import load_chat

FILE = "configs/smoke.yaml"


def main(package: str, stages: list[str], models: list[str], overrides: list[str]) -> None:
    """Run them, and print what came out."""
    for model in models:
        run_dir = f"runs/{Path(model).name}"
        values = [f"base_model={model}", f"run_dir={run_dir}", *overrides]
        metrics: dict[str, Any] = {}
        result: dict[str, Any] = {"model": Path(model).name, "metrics": metrics}
        try:
            for stage in stages:
                metrics[stage] = run(package, stage, values)
            if "export" in stages:
                result["parity"] = prompts_are_served_as_trained(package, values, Path(run_dir))
        except UserError as error:
            result["error"] = str(error)
        sys.stdout.write("\n" + json.dumps(result) + "\n")


def run(package: str, stage: str, values: list[str]) -> Any:
    """What a stage returns; `serve` starts the server, asks it, and compares its answer with transformers'."""
    if stage == "serve":
        stages = importlib.import_module(f"{package}.smoke.stages")
        serving = importlib.import_module(f"{package}.smoke.serving")
        return serving.serve_and_ask(stages.Run([FILE], values), "serve")
    module = importlib.import_module(f"{package}.{stage}")
    return module.main(load_config(module.Config, stage, [FILE], values))


def prompts_are_served_as_trained(package: str, values: list[str], run_dir: Path) -> int:
    """How many held-out prompts the exported tokenizer encodes as the base's did in training; all, or an error."""
    from transformers import AutoTokenizer

    config = load_config(importlib.import_module(f"{package}.train").Config, "train", [FILE], values)
    thinking = getattr(config, "thinking", None)
    chat = load_chat(config.base_model, config.base_revision, config.chat_template_kwargs, thinking)
    exported = AutoTokenizer.from_pretrained(run_dir / "export")
    rows = read_split(run_dir / "data" / "test.jsonl")
    for row in rows:
        served = prompt_ids(exported, row.messages[:-1])
        example = encode_row(chat, row)[-1]
        if example.input_ids[: len(served)] != served:
            raise UserError(f"{row.where}: the served prompt is not the trained one")
    return len(rows)


if __name__ == "__main__":
    middle = sys.argv.index("--")
    main(sys.argv[1], sys.argv[2].split(","), sys.argv[3:middle], sys.argv[middle + 1 :])
