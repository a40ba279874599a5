"""The `train` section: method, adapter, hyper-parameters and how they are spread over GPUs."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from tunesmith.spec.rule import Broken, Rule, no_effect
from tunesmith.spec.section import Section

if TYPE_CHECKING:
    from tunesmith.spec.resolve import Resolved

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
        bool | Literal["auto"],
        Field(
            description="Recompute activations in the backward pass: less memory, about 30 % slower. `auto` does it on a "
            "GPU, whose memory is short, and not on a CPU.",
            examples=[True, False],
        ),
    ] = "auto"
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


def _lora_without_adapters(resolved: "Resolved") -> Broken:
    if not resolved.adapts and resolved.asked.train.lora is not None:
        yield (
            ("train", "lora"),
            "train.lora has no effect with train.adapter 'full'; remove it or choose 'lora'",
        )


def _qlora_without_a_4_bit_base(resolved: "Resolved") -> Broken:
    if not resolved.quantizes and resolved.asked.train.qlora is not None:
        yield (
            ("train", "qlora"),
            f"train.qlora has no effect with train.adapter {resolved.train.adapter!r}; remove it or choose 'qlora'",
        )


def _adapter_of_the_output_layer(resolved: "Resolved") -> Broken:
    lora = resolved.train.lora
    if lora is not None and "lm_head" in (lora.target_modules or []):
        yield (
            ("train", "lora", "target_modules"),
            "train.lora.target_modules names lm_head, whose adapter TRL's loss would pass by; leave it out",
        )


def _beta_without_preferences(resolved: "Resolved") -> Broken:
    if not resolved.pairs and resolved.asked.train.beta is not None:
        yield (
            ("train", "beta"),
            f"train.beta has no effect with train.method {resolved.train.method!r}; remove it or choose 'dpo', 'orpo' or "
            "'kto'",
        )


def _dropout_with_preferences(resolved: "Resolved") -> Broken:
    lora = resolved.train.lora
    if resolved.pairs and lora is not None and lora.dropout > 0:
        yield (
            ("train", "lora", "dropout"),
            f"train.lora.dropout has no effect with train.method {resolved.train.method!r}, for which TRL switches dropout "
            "off; remove it",
        )


def _packed_preferences(resolved: "Resolved") -> Broken:
    if resolved.pairs and resolved.train.packing:
        yield (
            ("train", "packing"),
            f"train.packing is for train.method 'sft': {resolved.train.method} compares whole answers; remove it",
        )


def _packing_under_zero3(resolved: "Resolved") -> Broken:
    if resolved.train.packing and resolved.train.distributed == "deepspeed-zero3":
        yield (
            ("train", "packing"),
            "train.packing cannot be used with train.distributed 'deepspeed-zero3': whether the attention keeps packed rows "
            "apart is checked on whole weights; choose 'fsdp' or 'deepspeed-zero2', or remove it",
        )


def _batch_of_one_for_kto(resolved: "Resolved") -> Broken:
    if resolved.train.method == "kto" and resolved.train.per_device_batch_size < 2:
        yield (
            ("train", "per_device_batch_size"),
            "train.per_device_batch_size 1 cannot be used with train.method 'kto', which estimates how far the model has "
            "moved by swapping answers within the batch; give it at least 2",
        )


def _sharded_adapter(resolved: "Resolved") -> Broken:
    train = resolved.train
    dora = train.lora is not None and train.lora.dora
    if resolved.quantizes and train.distributed == "fsdp":
        reason = "FSDP2 leaves 4-bit weights whole on every GPU"
    elif resolved.quantizes and train.distributed == "deepspeed-zero3":
        reason = "ZeRO-3 cannot shard 4-bit weights"
    elif resolved.quantizes and train.distributed == "deepspeed-zero2" and dora:
        reason = "DoRA on 4-bit weights is known to fail under DeepSpeed"
    elif dora and train.distributed in ("fsdp", "deepspeed-zero3"):
        reason = "DoRA reads whole weights, which are sharded"
    else:
        return
    adapter = "train.lora.dora" if dora and not resolved.quantizes else f"train.adapter {train.adapter!r}"
    yield (
        ("train", "distributed"),
        f"train.distributed {train.distributed!r} cannot be used with {adapter}: {reason}; choose 'ddp'",
    )


def _sharded_optimizer(resolved: "Resolved") -> Broken:
    optimizer, distributed = resolved.train.optimizer, resolved.train.distributed
    if optimizer != "adamw_torch_fused" and resolved.is_sharded:
        yield (
            ("train", "optimizer"),
            f"train.optimizer {optimizer!r} cannot be used with train.distributed {distributed!r}, which shards the states "
            "of 'adamw_torch_fused' alone; choose that or 'ddp'",
        )


def _gpus_without_distribution(resolved: "Resolved") -> Broken:
    asked = resolved.asked.train
    for key, value in (("gpus_per_node", asked.gpus_per_node), ("nodes", asked.nodes)):
        if not resolved.is_distributed and value is not None:
            yield (
                ("train", key),
                f"train.{key} has no effect with train.distributed 'none'; remove it or choose how the GPUs share the work",
            )


def _distribution_over_one_gpu(resolved: "Resolved") -> Broken:
    if resolved.is_distributed and resolved.processes < 2:
        yield (
            ("train", "gpus_per_node"),
            f"train.distributed {resolved.train.distributed!r} needs two GPUs or more; raise train.gpus_per_node or train.nodes, or "
            "choose 'none'",
        )


RULES = (
    no_effect(_lora_without_adapters),
    no_effect(_qlora_without_a_4_bit_base),
    no_effect(_beta_without_preferences),
    no_effect(_dropout_with_preferences),
    no_effect(_gpus_without_distribution),
    Rule(
        "TS209",
        "An adapter that would not be trained",
        "TRL computes the loss from the output layer's own weights, piece by piece, so an adapter on `lm_head` would get "
        "no gradient.",
        _adapter_of_the_output_layer,
    ),
    Rule(
        "TS211",
        "Packed preferences",
        "Packing puts several rows into one sequence. `dpo`, `orpo` and `kto` compare the likelihoods of whole answers, "
        "each in a sequence of its own.",
        _packed_preferences,
    ),
    Rule(
        "TS212",
        "A batch of one for KTO",
        "Answers are swapped between the rows of a device's batch; a row alone would be its own estimate. Lower "
        "`gradient_accumulation_steps` if the effective batch must stay.",
        _batch_of_one_for_kto,
    ),
    Rule(
        "TS213",
        "An adapter that cannot be sharded",
        "4-bit weights are bytes that FSDP2 and ZeRO-3 do not split, and DoRA needs the norm of whole weights in each "
        "step. With `ddp` every GPU holds the (small, quantised) base, which is what QLoRA is for.",
        _sharded_adapter,
    ),
    Rule(
        "TS214",
        "An optimiser that cannot be sharded",
        "The states of 8-bit optimisers and of Adafactor are not those that FSDP and DeepSpeed know to split. Sharding "
        "AdamW saves more than quantising it.",
        _sharded_optimizer,
    ),
    Rule(
        "TS216",
        "Distribution over one GPU",
        "One process has nobody to share its work with.",
        _distribution_over_one_gpu,
    ),
    Rule(
        "TS220",
        "Packing under ZeRO-3",
        "Before it trains, the script compares a packed row with the same row alone. ZeRO-3 has sharded the weights by then.",
        _packing_under_zero3,
    ),
)
