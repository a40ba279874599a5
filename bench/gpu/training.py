"""Training on one device: tokens per second and peak memory of generated scripts, and of TRL alone.

`python training.py JOB.json`, run by run.py: the job names the group of cases, the folders and the deadline.
"""

import gc
import importlib
import json
import os
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from record import measured
from shapes import SHAPES, TINY, make_model, write_rows

WARM_UP = 2  # steps that are not timed
# Dense bfloat16 by the vendors' data sheets, in FLOP/s.
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}


@dataclass(frozen=True)
class Case:
    """A training run.

    Attributes:
        repository: The generated repository whose script runs; of TRL alone, the one whose rows it has.
        length: Tokens of every row.
        changes: To the trainer's arguments, as transformers and TRL name them.
        config: Values of configs/default.yaml.
    """

    name: str
    shape: str
    repository: str = "sft-lora"
    length: int = 4_096
    batch: int = 2
    steps: int = 6
    alone: bool = False
    attention: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)
    config: tuple[str, ...] = ()


LORA = Case("generated", "llama3.1-8b")
# Beside each other, in turns; then each lever alone.
THROUGHPUT = [
    LORA,
    replace(LORA, name="TRL alone", alone=True),
    replace(LORA, name="generated, again"),
    replace(LORA, name="TRL alone, again", alone=True),
    replace(LORA, name="no activation checkpointing", config=("train.activation_checkpointing=false",)),
    replace(LORA, name="batch of 4", batch=4),
    replace(LORA, name="attention: eager", attention="eager"),
    replace(LORA, name="attention: flash_attention_2", attention="flash_attention_2"),
    replace(LORA, name="attention: flash_attention_3", attention="flash_attention_3"),
    replace(LORA, name="attention: flex_attention", attention="flex_attention"),
    replace(LORA, name="optimizer: adamw_torch, not fused", changes={"optim": "adamw_torch"}),
    replace(LORA, name="liger", changes={"use_liger_kernel": True}),
    replace(LORA, name="rows of 1,024", length=1_024, batch=8),
    replace(LORA, name="rows of 1,024, packed", repository="sft-packing", length=1_024, config=("max_length=4096",)),
    replace(LORA, name="torch.compile", changes={"torch_compile": True}),
]
MEMORY = [
    Case(f"{adapter}, {length:,} tokens", shape, f"sft-{adapter}", length, batch=1, steps=3)
    for shape in ("qwen3-0.6b", "qwen3-1.7b", "qwen3-8b")
    for length in (1_024, 4_096)
    for adapter in ("lora", "qlora", "full")
]
OTHERS = [
    replace(LORA, name="QLoRA", repository="sft-qlora"),
    replace(LORA, name="DPO with LoRA", repository="dpo-lora", length=2_048, batch=1),
    Case("full", "qwen3-1.7b", "sft-full"),
    Case("full, 8-bit AdamW", "qwen3-1.7b", "sft-full", changes={"optim": "adamw_8bit"}),
    Case("full, paged 8-bit AdamW", "qwen3-1.7b", "sft-full", changes={"optim": "paged_adamw_8bit"}),
]
GROUPS = {"throughput": THROUGHPUT, "memory": MEMORY, "others": OTHERS}


def main(job: dict[str, Any]) -> None:
    """Every case of the job's group, one after another."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "false"}
    for case in GROUPS[job["group"]]:
        entry = {
            "group": job["group"],
            "case": case.name,
            **{name: value for name, value in asdict(case).items() if name not in ("name", "steps")},
        }
        measured(Path(job["output"]), job["deadline"], entry, partial(run, small(case) if job["tiny"] else case, job))
        clean_up()


def small(case: Case) -> Case:
    """The same with short rows, few steps, and nothing that compiles for a minute."""
    config = tuple(value.replace("max_length=4096", "max_length=256") for value in case.config)
    changes = {**case.changes, **({"torch_compile_backend": "aot_eager"} if "torch_compile" in case.changes else {})}
    return replace(case, length=64, batch=min(case.batch, 2), steps=2, config=config, changes=changes)


def run(case: Case, job: dict[str, Any]) -> dict[str, Any]:
    """Tokens per second, memory and the share of the card's peak."""
    import torch

    shape = (TINY if job["tiny"] else SHAPES)[case.shape]
    has_gpu = torch.cuda.is_available()
    work = Path(job["work"])
    model = work / "models" / case.shape
    begun = time.monotonic()
    make_model(shape, model, "cuda" if has_gpu else "cpu")
    clean_up()
    if case.attention:
        model = with_attention(model, work / "models" / f"{case.shape}-{case.attention}", case.attention)
    ready = time.monotonic() - begun
    if has_gpu:
        torch.cuda.reset_peak_memory_stats()
    trainer = alone(case, model, work) if case.alone else generated(case, model, work, Path(job["pack"]))
    times, tokens = train(trainer)
    step = statistics.median(times)
    rate = statistics.median(tokens) / step
    flops = shape.flops_per_token(case.length, trains_all=case.repository == "sft-full")
    found: dict[str, Any] = {"tokens_per_second": round(rate), "step_seconds": round(step, 4), "steps": len(times)}
    found |= {"model_seconds": round(ready, 1), "parameters": sum(p.numel() for p in trainer.model.parameters())}
    if has_gpu:
        name = torch.cuda.get_device_name()
        found["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
        found["reserved_gib"] = round(torch.cuda.max_memory_reserved() / 2**30, 2)
        found["model_tflops"] = round(rate * flops / 1e12, 1)
        peak = next((value for card, value in PEAKS.items() if card in name), None)
        found["share_of_peak"] = round(rate * flops / peak, 3) if peak else None
    return found


def generated(case: Case, model: Path, work: Path, pack: Path) -> Any:
    """The trainer that a generated repository's script builds from its own config."""
    root = pack / "repositories" / case.repository
    package = next((root / "src").iterdir()).name
    forget(package)
    sys.path[:0] = [str(root / "src"), str(root / "vendor")]
    try:
        script = importlib.import_module(f"{package}.train")
        config_module = importlib.import_module("tunesmith_runtime.config")
        run_dir = work / "runs" / case.repository
        shutil.rmtree(run_dir, ignore_errors=True)
        rows(case, run_dir / "data")
        values = (
            *(f"base_model={model}", f"run_dir={run_dir}", "chat_template_kwargs={}", f"max_length={case.length}"),
            *(f"train.per_device_batch_size={case.batch}", "train.gradient_accumulation_steps=1", *case.config),
        )
        config = config_module.load_config(script.Config, "train", [str(root / "configs/default.yaml")], list(values))
        files = [run_dir / "data" / f"{split}.jsonl" for split in ("train", "validation")]
        tokenizer, train_set, validation = script.prepare(config, files)
        changes = {**limits(case), **case.changes}
        return script.build_trainer(config, tokenizer, train_set.examples, validation, run_dir / "train", **changes)
    finally:
        del sys.path[:2]


def alone(case: Case, model: Path, work: Path) -> Any:
    """What somebody would write with TRL for the same rows and settings."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    run_dir = work / "runs" / "alone"
    shutil.rmtree(run_dir, ignore_errors=True)
    rows(case, run_dir / "data")
    data = load_dataset("json", data_files=str(run_dir / "data" / "train.jsonl"), cache_dir=str(run_dir / "cache"))[
        "train"
    ]
    data = data.map(
        lambda row: {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]},
        remove_columns=data.column_names,
    )
    arguments = SFTConfig(
        output_dir=str(run_dir / "train"),
        per_device_train_batch_size=case.batch,
        learning_rate=2e-4,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        optim="adamw_torch_fused",
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        gradient_checkpointing=torch.cuda.is_available(),
        max_length=case.length,
        report_to="none",
        disable_tqdm=True,
        **limits(case),
    )
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16),
        args=arguments,
        train_dataset=data,
        peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
    )


def train(trainer: Any) -> tuple[list[float], list[int]]:
    """Seconds and tokens, padding left out, of each step after the first ones."""
    import torch
    from transformers import PrinterCallback, TrainerCallback

    ends: list[float] = []
    tokens: list[int] = []
    collate = trainer.data_collator

    def count(examples: Sequence[Any]) -> Any:
        batch = collate(examples)
        # Packed rows come without a mask, and nothing there is padding.
        mask = batch.get("attention_mask", batch["input_ids"])
        tokens.append(int(mask.sum()) if "attention_mask" in batch else mask.numel())
        return batch

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            ends.append(time.monotonic())

    trainer.data_collator = count
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Clock())
    trainer.train()
    seconds = [after - before for before, after in pairwise(ends)]
    # The collator may be a batch ahead; all batches are about alike.
    return seconds[WARM_UP - 1 :], tokens[WARM_UP : len(ends)]


def limits(case: Case) -> dict[str, Any]:
    """No more than the steps: nothing is evaluated and nothing saved."""
    return {
        "max_steps": case.steps + WARM_UP,
        "eval_strategy": "no",
        "save_strategy": "no",
        "logging_steps": case.steps + WARM_UP,
    }


def rows(case: Case, folder: Path) -> None:
    """As many as the steps take; a packed batch takes more."""
    count = (case.steps + WARM_UP) * case.batch * (8 if case.repository == "sft-packing" else 1)
    splits = {"train": count, "validation": 4, "test": 4}
    write_rows(folder, case.length, splits, pairs=case.repository.startswith("dpo"))


def with_attention(model: Path, folder: Path, implementation: str) -> Path:
    """The same files, with another implementation in config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        if file.name != "config.json" and not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "attn_implementation": implementation}), encoding="utf-8")
    return folder


def forget(package: str) -> None:
    """Two repositories have a package, and the runtime, of one name."""
    for name in [name for name in sys.modules if name.split(".")[0] in (package, "tunesmith_runtime")]:
        del sys.modules[name]


def clean_up() -> None:
    """Give the card back what nobody holds any more."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
