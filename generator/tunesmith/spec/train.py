"""The `train` section: method, adapter and hyper-parameters."""

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.spec.section import Section

Method = Literal["sft"]
Adapter = Literal["full", "lora"]
Scheduler = Literal["linear", "cosine", "constant_with_warmup"]

_Module = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.-]+$")]


class Lora(Section):
    """Low-rank adapters (LoRA)."""

    rank: Annotated[int, Field(ge=1, le=1024, description="Rank r of the update matrices.")] = 16
    alpha: Annotated[int, Field(ge=1, le=4096, description="Scale: the update is multiplied by alpha / rank.")] = 32
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout on the adapter's input.")] = 0.0
    target_modules: Annotated[
        list[_Module] | None,
        Field(
            min_length=1,
            max_length=100,
            description="Names of the linear layers that get an adapter; all of them when left out.",
            examples=[["q_proj", "v_proj"]],
        ),
    ] = None


class Train(Section):
    """Method, adapter and hyper-parameters."""

    method: Annotated[Method, Field(description="`sft`: supervised fine-tuning on completions.")] = "sft"
    adapter: Annotated[Adapter, Field(description="`lora`: low-rank adapters; `full`: every weight is trained.")] = (
        "lora"
    )
    lora: Annotated[Lora | None, Field(description="Settings of the adapters, with `adapter: lora`.")] = None
    learning_rate: Annotated[
        float | None,
        Field(gt=0, le=1, description="Peak learning rate; 2e-4 for `lora` and 2e-5 for `full` when left out."),
    ] = None
    epochs: Annotated[float, Field(gt=0, le=1_000, description="Passes over the training rows.")] = 3.0
    per_device_batch_size: Annotated[int, Field(ge=1, le=4096, description="Rows in a step on one device.")] = 8
    gradient_accumulation_steps: Annotated[
        int, Field(ge=1, le=4096, description="Steps whose gradients are added before an update.")
    ] = 2
    warmup_fraction: Annotated[
        float, Field(ge=0, lt=1, description="Share of all updates over which the learning rate rises.")
    ] = 0.03
    lr_scheduler: Annotated[Scheduler, Field(description="Course of the learning rate after the warm-up.")] = "cosine"
    weight_decay: Annotated[float, Field(ge=0, le=1, description="AdamW's weight decay.")] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0, le=1_000, description="Gradients are clipped to this norm.")] = 1.0
    activation_checkpointing: Annotated[
        bool, Field(description="Recompute activations in the backward pass: less memory, about 30 % slower.")
    ] = True
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="Seed of every random choice.")] = 42
