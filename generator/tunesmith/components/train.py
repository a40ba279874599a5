"""Training: the script of the chosen method and adapter."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Rendered, Source
from tunesmith.spec import stacks
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import GPU_OPTIMIZERS, PAIR_METHODS, REFERENCE_METHODS
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
    dora: bool


@dataclass(frozen=True)
class Train:
    """What the training stage's templates see.

    Attributes:
        what: What is trained, in words.
        trains: The same before the name of a base model.
        method_name: The method, in words.
        trl_name: The method as TRL's classes have it.
        bitsandbytes: Whether that library is installed.
        precompute: Whether the reference is taken from the model before it is trained.
        reference: Whether a second model is the reference.
        accuracy_by_likelihood: Whether the script measures preferences itself, since TRL does not.
        smoke_distributed: Whether the smoke run can have several processes without a GPU.
    """

    package: str
    base: str
    revision: str
    max_length: int
    dtype: str
    chat_template_kwargs: dict[str, bool | str]
    method: str
    what: str
    trains: str
    method_name: str
    trl_name: str
    preference: bool
    beta: float | None
    lora: Lora | None
    qlora: bool
    double_quantization: bool
    bitsandbytes: bool
    precompute: bool
    reference: bool
    accuracy_by_likelihood: bool
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
    nodes: int
    smoke_distributed: bool
    tracker: str | None
    tracking_uri: str
    mlflow_version: str
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


def context(spec: Spec) -> Train:
    """What `spec` decides for this stage."""
    train, tracking = spec.train, spec.tracking
    method, full = train.method, train.adapter == "full"
    distributed = train.distributed if train.distributed != "none" else None
    references = full and method in REFERENCE_METHODS
    return Train(
        package=spec.project.package,
        base=spec.model.base,
        revision=spec.model.revision,
        max_length=spec.model.max_length,
        dtype=spec.model.dtype,
        chat_template_kwargs=spec.model.chat_template_kwargs,
        method=method,
        what=what_is_trained(spec),
        trains=trains(spec),
        method_name=_NAMES[method],
        trl_name=method.upper(),
        preference=method in PAIR_METHODS,
        beta=(train.beta or _BETA) if method in PAIR_METHODS else None,
        lora=None if full else _lora(train.lora or LoraSection()),
        qlora=train.adapter == "qlora",
        double_quantization=(train.qlora or QloraSection()).double_quantization,
        bitsandbytes=has_bitsandbytes(spec),
        # TRL hands what one process has precomputed to the others in a file that they do not see.
        precompute=references and distributed is None,
        reference=references and distributed is not None,
        accuracy_by_likelihood=method == "kto" and distributed is None,
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
        nodes=train.nodes or 1,
        smoke_distributed=distributed not in (None, "fsdp"),
        tracker=tracking.provider if tracking.provider != "none" else None,
        mlflow_version=stacks.read(spec.stack).versions["mlflow-skinny"],
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
        section.dora,
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests."""
    seen = context(spec)
    script = "src/package/train.preference.py.j2" if seen.preference else "src/package/train.sft.py.j2"
    yield Rendered("train/script", f"src/{seen.package}/train.py", script, seen)
    yield Rendered("train/guide", "docs/train.md", "docs/train.md.j2", seen)
    yield Rendered("train/chat-tests", "tests/test_chat.py", "tests/test_chat.py.j2", seen)
    yield Rendered("train/tests", "tests/test_train.py", "tests/test_train.py.j2", seen)
