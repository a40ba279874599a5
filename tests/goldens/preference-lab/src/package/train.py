"""Fine-tune a LoRA adapter on a 4-bit base (QLoRA) with DPO (direct preference optimisation).

The chosen answer is made likelier beside the rejected one, measured against the base model, which
should be one that answers already (an instruct model, or the result of supervised fine-tuning).

Supports any causal language model with a chat template, on several GPUs or a CPU. Refuses rows and
templates that would train silently wrong (see tunesmith_runtime.preflight). A stopped run goes on
from its newest whole checkpoint when it is started again with the same config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from datasets import Dataset
from peft import LoraConfig
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from transformers import EarlyStoppingCallback, set_seed
from trl import DPOConfig, DPOTrainer
from tunesmith_runtime.base_model import check_base_model
from tunesmith_runtime.chat import Example, read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import now, read_metrics, write_manifest
from tunesmith_runtime.pairs import encode_pair, preflight_pairs
from tunesmith_runtime.preflight import Preflight
from tunesmith_runtime.pretrained import load_chat

from .training.arguments import NO_STEPS, common_arguments
from .training.checkpoints import find_checkpoint
from .training.dataset import to_dataset
from .training.early_stopping import check_intervals, is_finished
from .training.failures import translate_failures
from .training.launch import check_processes, check_same_checkpoint
from .training.progress import tokens_per_step
from .training.quantization import keep_adapter_in_float32, load_quantized_model
from .training.ranks import RankWatch
from .training.report import write_report
from .training.rewards import CURVES
from .training.run import run
from .training.target_modules import check_target_modules
from .training.tracking import make_tracker
from .training.watch import Watch

# What this script does, whatever the config says; a run of another one is not resumed.
METHOD = "dpo, a LoRA adapter on a 4-bit base (QLoRA)"


@dataclass(frozen=True)
class Config:
    """Top-level values and section ``train``."""

    run_dir: str
    seed: int
    base_model: str
    base_revision: str
    dtype: Literal["bfloat16", "float16", "float32"]
    max_length: PositiveInt  # tokens
    chat_template_kwargs: dict[str, bool | str]
    beta: PositiveFloat  # the higher, the closer to the base model
    learning_rate: PositiveFloat
    lr_scheduler: Literal["linear", "cosine", "constant_with_warmup"]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)]  # of all steps
    epochs: PositiveFloat
    max_steps: int  # -1: as many as the epochs take
    per_device_batch_size: PositiveInt
    gradient_accumulation_steps: PositiveInt
    activation_checkpointing: bool | Literal["auto"]  # auto: on a GPU alone
    optimizer: Literal["adamw_torch_fused", "adafactor", "adamw_8bit", "paged_adamw_8bit"]
    adam_betas: tuple[float, float]
    adam_epsilon: float
    weight_decay: NonNegativeFloat
    max_grad_norm: PositiveFloat
    lora_rank: PositiveInt
    lora_alpha: PositiveFloat
    lora_target_modules: str | list[str]
    double_quantization: bool
    early_stopping_patience: PositiveInt  # evaluations
    eval_every: PositiveFloat  # steps or, below 1, a share of them
    max_truncated_fraction: NonNegativeFloat
    accelerate_config: str | None  # None: one process
    watch: Watch


def main(config: Config) -> dict[str, float | str]:
    """Train, and write the adapter and its tokenizer to ``run_dir/train/final``."""
    started = now()
    check_processes(config.accelerate_config, config.dtype)
    check_intervals(config.eval_every, config.watch.save_every)
    run_dir, directory = Path(config.run_dir), Path(config.run_dir) / "train"
    files = [run_dir / "data" / f"{split}.jsonl" for split in ("train", "validation")]
    tokenizer, train_set, validation = prepare(config, files)
    print(train_set.summary("train"), flush=True)
    checkpoint = find_checkpoint(config, METHOD, directory, files)
    if checkpoint and (directory / "final").is_dir() and (directory / "manifest.json").is_file():
        print(f"train: finished already; remove {directory} to train anew", flush=True)
        return read_metrics(directory)

    # A run that stopped after its last step has nothing left to do but to save.
    left = NO_STEPS if checkpoint and is_finished(checkpoint) else {}
    with translate_failures(directory), make_tracker(config, directory) as tracker:
        trainer = build_trainer(
            config, tokenizer, train_set.examples, validation, directory, **left
        )
        check_same_checkpoint(checkpoint, directory)
        tokens = tokens_per_step(trainer, train_set.examples)
        metrics = run(
            trainer,
            config.watch,
            tokens,
            directory,
            checkpoint,
            EarlyStoppingCallback(config.early_stopping_patience),
            RankWatch(directory, tokens, config.watch.stall_seconds),
            tracker,
        )
        metrics.update(validate(config, trainer, validation))
        if trainer.is_world_process_zero():
            write_manifest(
                directory, "train", config, [*files, config.base_model], started, metrics
            )
            write_report(directory, CURVES)
    return metrics


def prepare(config: Config, files: Sequence[Path]) -> tuple[Any, Preflight, list[Example]]:
    """Tokenizer, checked training pairs and validation pairs, chosen and rejected sides in turn."""
    chat = load_chat(config.base_model, config.base_revision, config.chat_template_kwargs)
    rows = read_split(files[0])
    train_set = preflight_pairs(chat, rows, config.max_length, config.max_truncated_fraction)
    check_base_model(config, chat, train_set.examples, engine="fastapi")
    check_target_modules(config.base_model, config.base_revision, config.lora_target_modules)
    pairs = [encode_pair(chat, row) for row in read_split(files[1])]
    fitting = [p for p in pairs if max(len(side.input_ids) for side in p) <= config.max_length]
    if not fitting:
        raise UserError(f"{files[1]}: every row is longer than max_length ({config.max_length})")
    if left_out := len(pairs) - len(fitting):
        print(f"validation: {left_out} rows over max_length are left out", flush=True)
    return chat.tokenizer, train_set, [side for pair in fitting for side in pair]


class TokenTrainer(DPOTrainer):  # type: ignore[misc]
    """Takes the token ids that were checked; TRL would encode text anew (huggingface/trl#2368)."""

    def _prepare_dataset(self, dataset: Dataset, *args: Any) -> Dataset:
        return dataset


def build_trainer(
    config: Config,
    tokenizer: Any,
    train_examples: Sequence[Example],
    validation: Sequence[Example],
    directory: Path,
    **changes: Any,  # to the trainer's arguments
) -> DPOTrainer:
    """Load the base model and hand it to TRL's trainer, which puts a new adapter on it."""
    set_seed(config.seed)
    arguments = DPOConfig(
        **common_arguments(config, directory, changes),
        beta=config.beta,
        max_length=None,  # the examples are truncated already
    )
    model = load_quantized_model(
        config.base_model, config.base_revision, config.dtype, config.double_quantization
    )
    trainer = TokenTrainer(
        model=model,
        args=arguments,
        train_dataset=to_dataset(train_examples),
        eval_dataset=to_dataset(validation),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=config.lora_rank,
            lora_alpha=config.lora_alpha,
            target_modules=config.lora_target_modules,
            task_type="CAUSAL_LM",
        ),
    )
    keep_adapter_in_float32(trainer.model)
    return trainer


def validate(
    config: Config, trainer: DPOTrainer, validation: Sequence[Example]
) -> dict[str, float | str]:
    """Loss, reward margin, and the share of pairs whose chosen answer has the higher reward."""
    measured = trainer.evaluate()
    return {
        "validation_loss": measured["eval_loss"],
        "validation_margin": measured["eval_rewards/margins"],
        "validation_accuracy": measured["eval_rewards/accuracies"],
    }
