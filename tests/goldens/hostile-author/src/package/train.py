"""Fine-tune every weight with supervised learning on the answers.

Supports any causal language model with a chat template, on one GPU or a CPU. Refuses rows and
templates that would train silently wrong (see tunesmith_runtime.preflight). A stopped run goes on
from its newest whole checkpoint when it is started again with the same config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from datasets import Dataset
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from transformers import set_seed
from trl import SFTConfig
from tunesmith_runtime.base_model import check_base_model
from tunesmith_runtime.chat import Example, encode_rows, read_split
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.manifest import now, read_metrics, write_manifest
from tunesmith_runtime.preflight import Preflight, preflight
from tunesmith_runtime.pretrained import load_chat, load_model

from .evaluation.likelihood import completion_loss, perplexity
from .training.arguments import NO_STEPS, common_arguments
from .training.checkpoints import find_checkpoint, is_finished
from .training.failures import translate_failures
from .training.progress import tokens_per_step
from .training.report import write_report
from .training.run import run
from .training.sft_trainer import AnswersTrainer
from .training.watch import Watch

# What this script does, whatever the config says; a run of another one is not resumed.
METHOD = "sft, every weight"


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
    learning_rate: PositiveFloat
    lr_scheduler: Literal["linear", "cosine", "constant_with_warmup"]
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)]  # of all steps
    epochs: PositiveFloat
    max_steps: int  # -1: as many as the epochs take
    per_device_batch_size: PositiveInt
    gradient_accumulation_steps: PositiveInt
    activation_checkpointing: bool | Literal["auto"]  # auto: on a GPU alone
    optimizer: Literal["adamw_torch_fused", "adafactor"]
    adam_betas: tuple[float, float]
    adam_epsilon: float
    weight_decay: NonNegativeFloat
    max_grad_norm: PositiveFloat
    eval_every: PositiveFloat  # steps or, below 1, a share of them
    max_truncated_fraction: NonNegativeFloat
    watch: Watch


def main(config: Config) -> dict[str, float | str]:
    """Train, and write the model and its tokenizer to ``run_dir/train/final``."""
    started = now()
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
    with translate_failures(directory):
        trainer = build_trainer(
            config, tokenizer, train_set.examples, validation, directory, **left
        )
        tokens = tokens_per_step(trainer, train_set.examples)
        metrics = run(trainer, config.watch, tokens, directory, checkpoint)
        metrics.update(validate(config, trainer, validation))
        if trainer.is_world_process_zero():
            write_manifest(
                directory, "train", config, [*files, config.base_model], started, metrics
            )
            write_report(directory)
    return metrics


def prepare(config: Config, files: Sequence[Path]) -> tuple[Any, Preflight, list[Example]]:
    """Tokenizer, checked training examples and validation examples; no weights are loaded yet."""
    chat = load_chat(config.base_model, config.base_revision, config.chat_template_kwargs)
    rows = read_split(files[0])
    train_set = preflight(chat, rows, config.max_length, config.max_truncated_fraction)
    check_base_model(config, chat, train_set.examples, engine="vllm")
    validation = encode_rows(chat, read_split(files[1]))
    fitting = [e for e in validation if len(e.input_ids) <= config.max_length]
    if not fitting:
        raise UserError(f"{files[1]}: every row is longer than max_length ({config.max_length})")
    if left_out := len(validation) - len(fitting):
        print(f"validation: {left_out} rows over max_length are left out", flush=True)
    return chat.tokenizer, train_set, fitting


def build_trainer(
    config: Config,
    tokenizer: Any,
    train_examples: Sequence[Example],
    validation: Sequence[Example],
    directory: Path,
    **changes: Any,  # to the trainer's arguments
) -> AnswersTrainer:
    """Load the base model and hand it to TRL's trainer."""
    set_seed(config.seed)
    arguments = SFTConfig(
        **common_arguments(config, directory, changes),
        max_length=None,  # the examples are truncated already
        dataset_kwargs={"skip_prepare_dataset": True},  # the labels say what is trained
    )
    # The weights are trained in float32: in bfloat16, updates this small would round to nothing.
    model = load_model(config.base_model, config.base_revision, "float32")
    return AnswersTrainer(
        model=model,
        args=arguments,
        train_dataset=to_dataset(train_examples),
        eval_dataset=to_dataset(validation),
        processing_class=tokenizer,
    )


def validate(
    config: Config, trainer: AnswersTrainer, validation: Sequence[Example]
) -> dict[str, float | str]:
    """Loss over the answers of the validation split, in nats per token, and its perplexity."""
    loss = completion_loss(
        trainer.model,
        validation,
        config.per_device_batch_size,
        trainer.processing_class.pad_token_id,
    )
    return {"validation_loss": loss, "validation_perplexity": perplexity(loss)}


def to_dataset(examples: Sequence[Example]) -> Dataset:
    """Token ids and labels in columns, as TRL's collator takes them."""
    return Dataset.from_dict(
        {"input_ids": [e.input_ids for e in examples], "labels": [e.labels for e in examples]}
    )
