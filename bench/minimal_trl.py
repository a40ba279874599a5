"""What somebody would write with TRL alone for the same rows and settings; measured and compared against.

Runs in the environment of generated repositories: `python minimal_trl.py SETTINGS.json`, which names method, base,
rows, validation, steps, batch_size, learning_rate, beta, seed, log_every, lora, optimizer and output. Writes the losses
by step and samples per second to `output`.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer

TRAINERS: dict[str, tuple[Any, Any]] = {
    "sft": (SFTConfig, SFTTrainer),
    "dpo": (DPOConfig, DPOTrainer),
    "orpo": (ORPOConfig, ORPOTrainer),
    "kto": (KTOConfig, KTOTrainer),
}


def main(settings: dict[str, Any]) -> None:
    """Train as `settings` say."""
    method = settings["method"]
    tokenizer = AutoTokenizer.from_pretrained(settings["base"])
    config, trainer_class = TRAINERS[method]
    set_seed(settings["seed"])
    arguments = config(
        output_dir=settings["output"] + ".trainer",
        use_cpu=not torch.cuda.is_available(),
        bf16=False,
        seed=settings["seed"],
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["batch_size"],
        per_device_eval_batch_size=settings["batch_size"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="linear",
        warmup_steps=0.05,
        optim=settings["optimizer"],
        gradient_checkpointing=False,
        max_length=512,
        logging_steps=settings["log_every"],
        eval_strategy="steps",
        eval_steps=10_000,  # once, at the end
        save_steps=10_000,
        report_to="none",
        disable_tqdm=True,
        **({"beta": settings["beta"]} if method != "sft" else {}),
        # As the generated script has it where every weight is trained.
        **({"precompute_ref_log_probs": True} if method in ("dpo", "kto") and not settings["lora"] else {}),
    )
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")
    trainer = trainer_class(
        model=AutoModelForCausalLM.from_pretrained(settings["base"], dtype=torch.float32),
        args=arguments,
        train_dataset=dataset_of(method, tokenizer, settings["rows"], settings["seed"]),
        eval_dataset=dataset_of(method, tokenizer, settings["validation"], settings["seed"]),
        processing_class=tokenizer,
        peft_config=lora if settings["lora"] else None,
    )
    result = trainer.train()
    losses = {entry["step"]: entry["loss"] for entry in trainer.state.log_history if "loss" in entry}
    measured = {"losses": losses, "samples_per_second": result.metrics["train_samples_per_second"]}
    Path(settings["output"]).write_text(json.dumps(measured), encoding="utf-8")


def dataset_of(method: str, tokenizer: Any, path: str, seed: int) -> Dataset:
    """Rows as text, for TRL to encode."""
    rows = [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
    prompts = [
        tokenizer.apply_chat_template(row["messages"][:-1], add_generation_prompt=True, tokenize=False) for row in rows
    ]
    chosen = [row["messages"][-1]["content"] for row in rows]
    if method == "sft":
        return Dataset.from_dict({"prompt": prompts, "completion": chosen})
    rejected = [row["rejected"] for row in rows]
    if method in ("dpo", "orpo"):
        return Dataset.from_dict({"prompt": prompts, "chosen": chosen, "rejected": rejected})
    unpaired = [
        {"prompt": prompt, "completion": answer, "label": label}
        for prompt, better, worse in zip(prompts, chosen, rejected, strict=True)
        for answer, label in ((better, True), (worse, False))
    ]
    random.Random(seed).shuffle(unpaired)  # TRL's KTO takes rows as they stand
    return Dataset.from_list(unpaired)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
