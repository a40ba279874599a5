"""The `train` section: method, adapter, hyper-parameters and how they are spread over GPUs."""

from typing import Annotated, Literal

from pydantic import Field

from tunesmith.spec.section import Section

Method = Literal["sft", "dpo", "orpo", "kto"]
Adapter = Literal["full", "lora", "qlora"]
Scheduler = Literal["linear", "cosine", "constant_with_warmup"]
Optimizer = Literal["adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit", "adafactor"]
Distributed = Literal["none", "ddp", "fsdp", "deepspeed-zero2", "deepspeed-zero3"]

# Methods that learn from pairs of a chosen and a rejected answer.
PAIR_METHODS = ("dpo", "orpo", "kto")
# Those that reward what an answer gained in likelihood over the base.
REFERENCE_METHODS = ("dpo", "kto")
# Memory on a GPU is what 8-bit optimisers are for; they have no code for a CPU.
GPU_OPTIMIZERS = ("adamw_8bit", "paged_adamw_8bit")

_Module = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.-]+$")]


class Lora(Section):
    """Low-rank adapters (LoRA), also those of QLoRA."""

    rank: Annotated[int, Field(ge=1, le=1024, description="Rank r of the update matrices.")] = 16
    alpha: Annotated[int, Field(ge=1, le=4096, description="Scale: the update is multiplied by alpha / rank.")] = 32
    dropout: Annotated[float, Field(ge=0, lt=1, description="Dropout on the adapter's input.")] = 0.0
    target_modules: Annotated[
        list[_Module] | None,
        Field(
            min_length=1,
            max_length=100,
            description="Names of the linear layers that get an adapter; all but the output layer when left out.",
            examples=[["q_proj", "v_proj"]],
        ),
    ] = None
    rslora: Annotated[
        bool,
        Field(description="Rank-stabilised scale alpha / √rank, for ranks of 64 and more; lower alpha with it."),
    ] = False
    dora: Annotated[
        bool,
        Field(description="Weight-decomposed LoRA (DoRA): closer to full fine-tuning at low ranks, and slower."),
    ] = False


class Qlora(Section):
    """The 4-bit base of QLoRA, in NF4."""

    double_quantization: Annotated[
        bool, Field(description="Quantise the quantisation's constants too: 0.4 bits less per weight.")
    ] = True


class Train(Section):
    """Method, adapter, hyper-parameters and how they are spread over GPUs."""

    method: Annotated[
        Method,
        Field(
            description="`sft`: supervised fine-tuning on answers; `dpo`, `orpo`, `kto`: from a chosen and a rejected "
            "answer; `orpo` needs no reference model."
        ),
    ] = "sft"
    adapter: Annotated[
        Adapter,
        Field(
            description="`lora`: low-rank adapters; `qlora`: the same on a base held in 4 bits; `full`: every weight "
            "is trained."
        ),
    ] = "lora"
    lora: Annotated[Lora | None, Field(description="Settings of the adapters, with `adapter: lora` or `qlora`.")] = None
    qlora: Annotated[Qlora | None, Field(description="Settings of the 4-bit base, with `adapter: qlora`.")] = None
    beta: Annotated[
        float | None,
        Field(
            gt=0,
            le=10,
            description="Weight of the preference: for `dpo` and `kto` how close to the reference the model stays, for "
            "`orpo` the odds ratio's share of the loss; 0.1 when left out.",
            examples=[0.2],
        ),
    ] = None
    learning_rate: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Peak learning rate. When left out: 2e-4 for adapters and 2e-5 for `full` with `sft`; 5e-6 and "
            "5e-7 with `dpo` and `kto`; 8e-5 and 8e-6 with `orpo`.",
            examples=[1e-4],
        ),
    ] = None
    epochs: Annotated[
        float | None,
        Field(
            gt=0,
            le=1_000,
            description="Passes over the training rows; 1 with `dpo` and `kto` and 3 with `sft` and `orpo` when left "
            "out.",
            examples=[2.0],
        ),
    ] = None
    per_device_batch_size: Annotated[int, Field(ge=1, le=4096, description="Rows in a step on one device.")] = 8
    gradient_accumulation_steps: Annotated[
        int, Field(ge=1, le=4096, description="Steps whose gradients are added before an update.")
    ] = 2
    warmup_fraction: Annotated[
        float, Field(ge=0, lt=1, description="Share of all updates over which the learning rate rises.")
    ] = 0.03
    lr_scheduler: Annotated[Scheduler, Field(description="Course of the learning rate after the warm-up.")] = "cosine"
    optimizer: Annotated[
        Optimizer,
        Field(
            description="`adamw_8bit` and `paged_adamw_8bit` (states in 8 bits, and moved to the CPU's memory at need) "
            "run on a GPU alone."
        ),
    ] = "adamw_torch_fused"
    weight_decay: Annotated[float, Field(ge=0, le=1, description="AdamW's weight decay.")] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0, le=1_000, description="Gradients are clipped to this norm.")] = 1.0
    activation_checkpointing: Annotated[
        bool, Field(description="Recompute activations in the backward pass: less memory, about 30 % slower.")
    ] = True
    packing: Annotated[
        bool,
        Field(
            description="Fill sequences of `model.max_length` with several rows, for `sft` on rows of uneven length; "
            "refused before training where the model's attention would mix them."
        ),
    ] = False
    early_stopping_patience: Annotated[
        int | None,
        Field(
            ge=1,
            le=1_000,
            description="Evaluations without a lower validation loss after which training stops, with the best "
            "checkpoint kept; never when left out.",
            examples=[3],
        ),
    ] = None
    distributed: Annotated[
        Distributed,
        Field(
            description="How several GPUs share the work: `ddp` where the model fits one GPU; `deepspeed-zero2` shards "
            "optimiser states and gradients; `fsdp` and `deepspeed-zero3` shard the weights too."
        ),
    ] = "none"
    gpus_per_node: Annotated[
        int | None,
        Field(ge=1, le=64, description="GPUs of one node, with `distributed`; 8 when left out.", examples=[4]),
    ] = None
    nodes: Annotated[
        int | None,
        Field(
            ge=1,
            le=1024,
            description="Machines that train together, with `distributed`; 1 when left out. They share `runs/`.",
            examples=[2],
        ),
    ] = None
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="Seed of every random choice.")] = 42
