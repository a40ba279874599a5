"""Training: the script of the chosen method and adapter."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import GPU_OPTIMIZERS, PAIR_METHODS, REFERENCE_METHODS, Method
from tunesmith.spec.train import Lora as LoraSection
from tunesmith.spec.train import Qlora as QloraSection

# The usual peaks: adapters take about ten times what whole models do. Those of preferences are low,
# since the model is to stay near what it was; ORPO also teaches the answers themselves.
_LEARNING_RATES = {
    "sft": {"full": 2e-5, "lora": 2e-4},
    "dpo": {"full": 5e-7, "lora": 5e-6},
    "orpo": {"full": 8e-6, "lora": 8e-5},
    "kto": {"full": 5e-7, "lora": 5e-6},
}
_EPOCHS = {"sft": 3.0, "dpo": 1.0, "orpo": 3.0, "kto": 1.0}
_BETA = 0.1
_NAMES = {
    "sft": "supervised fine-tuning",
    "dpo": "DPO (direct preference optimisation)",
    "orpo": "ORPO (odds ratio preference optimisation)",
    "kto": "KTO (Kahneman-Tversky optimisation)",
}


@dataclass(frozen=True)
class SmokeValues:
    """Values that suit the smoke run's small base model."""

    learning_rate: float
    beta: float
    max_steps: int
    per_device_batch_size: int


# Found on the starter data, with margin for other seeds.
_SMOKE = {
    ("sft", "full"): SmokeValues(3e-3, 0.1, 450, 8),
    ("sft", "lora"): SmokeValues(1e-2, 0.1, 450, 8),
    ("dpo", "full"): SmokeValues(4e-4, 1.0, 300, 8),
    ("dpo", "lora"): SmokeValues(2e-3, 0.3, 300, 8),
    ("orpo", "full"): SmokeValues(2e-3, 1.0, 250, 8),
    ("orpo", "lora"): SmokeValues(1e-2, 1.0, 250, 8),
    ("kto", "full"): SmokeValues(3e-4, 0.3, 400, 16),
    ("kto", "lora"): SmokeValues(1e-3, 0.5, 350, 16),
}


@dataclass(frozen=True)
class Lora:
    """The adapter's settings."""

    rank: int
    alpha: int
    dropout: float
    target_modules: str | list[str]
    rslora: bool


@dataclass(frozen=True)
class TrainShape:
    """What decides the text of the stage's script, guide and tests, and of the modules of training/.

    Attributes:
        what: What is trained, in words.
        method_name: The method, in words.
        pairs: Whether rows hold a chosen and a rejected answer.
        bitsandbytes: Whether that library is installed.
        reference: Where the likelihoods come from that an answer is measured against: taken before training, or of a
            second model; None where the base under the adapter has them, or where nothing is measured so.
    """

    package: str
    method: Method
    method_name: str
    what: str
    pairs: bool
    lora: bool
    rslora: bool
    dora: bool
    qlora: bool
    bitsandbytes: bool
    reference: Literal["precomputed", "model"] | None
    packing: bool
    early_stopping: bool
    distributed: str | None
    tracker: str | None


@dataclass(frozen=True)
class Train:
    """What the stage's part of configs/ sees."""

    base: str
    revision: str
    max_length: int
    dtype: str
    chat_template_kwargs: dict[str, bool | str]
    method: str
    preference: bool
    beta: float | None
    lora: Lora | None
    qlora: bool
    double_quantization: bool
    learning_rate: float
    epochs: float
    per_device_batch_size: int
    gradient_accumulation_steps: int
    warmup_fraction: float
    lr_scheduler: str
    optimizer: str
    smoke_optimizer: str
    weight_decay: float
    max_grad_norm: float
    activation_checkpointing: bool
    packing: bool
    early_stopping_patience: int | None
    distributed: str | None
    smoke_distributed: bool
    tracker: str | None
    tracking_uri: str
    tracking_project: str
    smoke: SmokeValues
    seed: int


def learning_rate(spec: Spec) -> float:
    """The peak learning rate, the method's usual one where the spec says none."""
    return spec.train.learning_rate or _LEARNING_RATES[spec.train.method][_kind(spec)]


def what_is_trained(spec: Spec) -> str:
    """What the adapter option means, in words."""
    lora = spec.train.lora or LoraSection()
    name = "LoRA adapter" if not lora.dora else "DoRA adapter"
    return {
        "full": "every weight",
        "lora": f"a {name}",
        "qlora": f"a {name} on a 4-bit base (QLoRA)",
    }[spec.train.adapter]


def trains(spec: Spec) -> str:
    """The same before the name of a base model."""
    return f"{what_is_trained(spec)} {'of' if spec.train.adapter == 'full' else 'for'}"


def method_name(spec: Spec) -> str:
    """The method, in words."""
    return _NAMES[spec.train.method]


def has_bitsandbytes(spec: Spec) -> bool:
    """Whether the repository needs that library."""
    return spec.train.adapter == "qlora" or spec.train.optimizer in GPU_OPTIMIZERS


def shape(spec: Spec) -> TrainShape:
    """What `spec` decides for this stage's code."""
    train, tracking = spec.train, spec.tracking
    lora = None if train.adapter == "full" else train.lora or LoraSection()
    # TRL hands what one process has precomputed to the others in a file that they do not see.
    held: Literal["precomputed", "model"] = "precomputed" if train.distributed == "none" else "model"
    return TrainShape(
        package=spec.project.package,
        method=train.method,
        method_name=_NAMES[train.method],
        what=what_is_trained(spec),
        pairs=train.method in PAIR_METHODS,
        lora=lora is not None,
        rslora=lora is not None and lora.rslora,
        dora=lora is not None and lora.dora,
        qlora=train.adapter == "qlora",
        bitsandbytes=has_bitsandbytes(spec),
        reference=held if lora is None and train.method in REFERENCE_METHODS else None,
        packing=train.packing,
        early_stopping=train.early_stopping_patience is not None,
        distributed=train.distributed if train.distributed != "none" else None,
        tracker=tracking.provider if tracking.provider != "none" else None,
    )


def context(spec: Spec) -> Train:
    """The values that `spec` decides for this stage."""
    train, tracking = spec.train, spec.tracking
    method, full = train.method, train.adapter == "full"
    distributed = train.distributed if train.distributed != "none" else None
    return Train(
        base=spec.model.base,
        revision=spec.model.revision,
        max_length=spec.model.max_length,
        dtype=spec.model.dtype,
        chat_template_kwargs=spec.model.chat_template_kwargs,
        method=method,
        preference=method in PAIR_METHODS,
        beta=(train.beta or _BETA) if method in PAIR_METHODS else None,
        lora=None if full else _lora(train.lora or LoraSection()),
        qlora=train.adapter == "qlora",
        double_quantization=(train.qlora or QloraSection()).double_quantization,
        learning_rate=learning_rate(spec),
        epochs=train.epochs or _EPOCHS[method],
        per_device_batch_size=train.per_device_batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        warmup_fraction=train.warmup_fraction,
        lr_scheduler=train.lr_scheduler,
        optimizer=train.optimizer,
        smoke_optimizer="adamw_torch_fused" if train.optimizer in GPU_OPTIMIZERS else train.optimizer,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        activation_checkpointing=train.activation_checkpointing,
        packing=train.packing,
        early_stopping_patience=train.early_stopping_patience,
        distributed=distributed,
        smoke_distributed=distributed not in (None, "fsdp"),
        tracker=tracking.provider if tracking.provider != "none" else None,
        tracking_uri=tracking.uri or "sqlite:///runs/mlflow.db",
        tracking_project=tracking.project or spec.project.name,
        smoke=_SMOKE[method, _kind(spec)],
        seed=train.seed,
    )


def _kind(spec: Spec) -> str:
    return "full" if spec.train.adapter == "full" else "lora"


def _lora(section: LoraSection) -> Lora:
    return Lora(
        section.rank,
        section.alpha,
        section.dropout,
        section.target_modules or "all-linear",
        section.rslora,
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests."""
    seen = shape(spec)
    script = f"src/package/train.{seen.method}.py.j2"
    yield Rendered("train/script", f"src/{seen.package}/train.py", script, seen)
    yield Rendered("train/guide", "docs/train.md", "docs/train.md.j2", seen)
    yield Rendered("train/tests", "tests/test_train.py", "tests/test_train.py.j2", seen)
    batches = f"tests/test_batches.{seen.method}.py.j2"
    yield Rendered("train/batches-tests", "tests/test_batches.py", batches, seen)
    yield Copied("train/chat-tests", "tests/test_chat.py", TEMPLATES / "tests" / "test_chat.py", "merge")
    if seen.pairs:
        yield Copied(
            "train/preferences-tests", "tests/test_preferences.py", TEMPLATES / "tests" / "test_preferences.py", "merge"
        )
