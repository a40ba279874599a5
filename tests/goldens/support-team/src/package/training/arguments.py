"""What the trainer is told, whatever the method; each value stands in configs/."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tunesmith_runtime.errors import UserError

if TYPE_CHECKING:
    from ..train import Config

NO_STEPS: dict[str, Any] = {"num_train_epochs": 0, "max_steps": -1}


def common_arguments(config: Config, directory: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``transformers.TrainingArguments``, on which TRL's configs build.

    ``changes`` go before what the config says.
    """
    has_gpu = torch.accelerator.is_available()
    checkpointing = config.activation_checkpointing
    # Launchers give each process a GPU of its own.
    if torch.cuda.device_count() > 1 and "LOCAL_RANK" not in os.environ:
        raise UserError(
            f"train: {torch.cuda.device_count()} GPUs are visible to a process that trains on one; "
            "set CUDA_VISIBLE_DEVICES to the one to use"
        )
    return {
        "output_dir": str(directory),
        "seed": config.seed,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.lr_scheduler,
        "warmup_steps": config.warmup_fraction,  # below 1 it is a share of all steps
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps,
        "per_device_train_batch_size": config.per_device_batch_size,
        "per_device_eval_batch_size": config.per_device_batch_size,
        "gradient_accumulation_steps": config.gradient_accumulation_steps,
        "gradient_checkpointing": has_gpu if checkpointing == "auto" else checkpointing,
        "optim": config.optimizer,
        "adam_beta1": config.adam_betas[0],
        "adam_beta2": config.adam_betas[1],
        "adam_epsilon": config.adam_epsilon,
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "use_cpu": not has_gpu,  # without it, bf16 is refused on a CPU
        "bf16": config.dtype == "bfloat16",
        "fp16": config.dtype == "float16",
        "eval_strategy": "steps",
        "eval_steps": config.eval_every,
        "save_strategy": "steps",
        "save_steps": config.watch.save_every,
        "save_total_limit": config.watch.keep_checkpoints,
        "logging_steps": config.watch.log_every,
        "logging_nan_inf_filter": False,  # it would replace a NaN loss by the last good one
        "dataloader_pin_memory": torch.cuda.is_available(),
        "disable_tqdm": True,
        "report_to": "none",  # metrics.jsonl has every metric
        **changes,
    }
