"""Training: supervised fine-tuning of an adapter or of every weight."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Rendered, Source
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import Lora as LoraSection

# The usual peaks: adapters take about ten times what whole models do.
LEARNING_RATES = {"lora": 2e-4, "full": 2e-5}


@dataclass(frozen=True)
class Lora:
    """The adapter's settings."""

    rank: int
    alpha: int
    dropout: float
    target_modules: str | list[str]


@dataclass(frozen=True)
class Train:
    """What the training stage's templates see."""

    package: str
    base: str
    revision: str
    max_length: int
    dtype: str
    chat_template_kwargs: dict[str, bool | str]
    lora: Lora | None
    learning_rate: float
    epochs: float
    per_device_batch_size: int
    gradient_accumulation_steps: int
    warmup_fraction: float
    lr_scheduler: str
    weight_decay: float
    max_grad_norm: float
    activation_checkpointing: bool
    seed: int


def context(spec: Spec) -> Train:
    """What `spec` decides for this stage."""
    train = spec.train
    return Train(
        package=spec.project.package,
        base=spec.model.base,
        revision=spec.model.revision,
        max_length=spec.model.max_length,
        dtype=spec.model.dtype,
        chat_template_kwargs=spec.model.chat_template_kwargs,
        lora=_lora(train.lora or LoraSection()) if train.adapter == "lora" else None,
        learning_rate=train.learning_rate or LEARNING_RATES[train.adapter],
        epochs=train.epochs,
        per_device_batch_size=train.per_device_batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        warmup_fraction=train.warmup_fraction,
        lr_scheduler=train.lr_scheduler,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        activation_checkpointing=train.activation_checkpointing,
        seed=train.seed,
    )


def _lora(section: LoraSection) -> Lora:
    return Lora(section.rank, section.alpha, section.dropout, section.target_modules or "all-linear")


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests."""
    seen = context(spec)
    yield Rendered("train/script", f"src/{seen.package}/train.py", "train/train.py.j2", seen)
    yield Rendered("train/guide", "docs/train.md", "train/guide.md.j2", seen)
    yield Rendered("train/chat-tests", "tests/test_chat.py", "train/test_chat.py.j2", seen)
    yield Rendered("train/tests", "tests/test_train.py", "train/test_train.py.j2", seen)
