"""Spec → Resolved: every default filled in, and every fact that follows from several options named once."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeVar

from tunesmith.spec import stacks
from tunesmith.spec.evaluate import Metric
from tunesmith.spec.hpo import LearningRateRange
from tunesmith.spec.model import Model
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.project import Project
from tunesmith.spec.serve import Engine
from tunesmith.spec.stacks import Stack
from tunesmith.spec.train import (
    GPU_OPTIMIZERS,
    PAIR_METHODS,
    REFERENCE_METHODS,
    Adapter,
    Distributed,
    Lora,
    Method,
    Optimizer,
    Qlora,
    Scheduler,
)

T = TypeVar("T")

# The usual peaks: adapters take about ten times what whole models do. Those of preferences are low,
# since the model is to stay near what it was; ORPO also teaches the answers themselves.
_LEARNING_RATES: dict[Method, dict[str, float]] = {
    "sft": {"full": 2e-5, "adapter": 2e-4},
    "dpo": {"full": 5e-7, "adapter": 5e-6},
    "orpo": {"full": 8e-6, "adapter": 8e-5},
    "kto": {"full": 5e-7, "adapter": 5e-6},
}
_EPOCHS: dict[Method, float] = {"sft": 3.0, "dpo": 1.0, "orpo": 3.0, "kto": 1.0}
_METRICS: dict[Method, list[Metric]] = {
    "sft": ["loss", "perplexity", "exact-match", "rouge-l"],
    "dpo": ["preference-accuracy", "reward-accuracy", "exact-match", "rouge-l"],
    "orpo": ["preference-accuracy", "exact-match", "rouge-l"],
    "kto": ["preference-accuracy", "reward-accuracy", "exact-match", "rouge-l"],
}
# Languages that do not part words with spaces, or glue endings to them, are compared by character.
_BY_CHARACTER = {"ja", "ko", "km", "lo", "my", "th", "zh"}
_METHOD_NAMES: dict[Method, str] = {
    "sft": "supervised fine-tuning",
    "dpo": "DPO (direct preference optimisation)",
    "orpo": "ORPO (odds ratio preference optimisation)",
    "kto": "KTO (Kahneman-Tversky optimisation)",
}


class ResolvedTrain(NamedTuple):
    """The `train` section with nothing left open.

    Attributes:
        lora: The adapter's settings; None where every weight is trained.
        qlora: Those of the 4-bit base; None without one.
        beta: Weight of the preference; None for `sft`.
        gpus_per_node: 1 where training is one process.
        nodes: Machines that train together.
    """

    method: Method
    adapter: Adapter
    lora: Lora | None
    qlora: Qlora | None
    beta: float | None
    learning_rate: float
    epochs: float
    per_device_batch_size: int
    gradient_accumulation_steps: int
    warmup_fraction: float
    lr_scheduler: Scheduler
    optimizer: Optimizer
    weight_decay: float
    max_grad_norm: float
    activation_checkpointing: bool | Literal["auto"]
    packing: bool
    early_stopping_patience: int | None
    distributed: Distributed
    gpus_per_node: int
    nodes: int
    seed: int


class ResolvedHpo(NamedTuple):
    """The `hpo` section with nothing left open."""

    enabled: bool
    trials: int
    learning_rate: LearningRateRange
    lora_ranks: list[int]


class ResolvedEvaluate(NamedTuple):
    """The `evaluate` section with nothing left open.

    Attributes:
        bleu_tokenizer: sacreBLEU's name of how the data's language is split.
    """

    metrics: list[Metric]
    max_examples: int
    batch_size: int
    max_new_tokens: int
    bleu_tokenizer: str


class ResolvedTracking(NamedTuple):
    """The `tracking` section with nothing left open."""

    provider: Literal["none", "mlflow", "wandb"]
    project: str
    uri: str


class ResolvedServe(NamedTuple):
    """The `serve` section with nothing left open."""

    engine: Engine
    host: str
    port: int
    api_key_env: str
    max_new_tokens: int


class Resolved(NamedTuple):
    """A pipeline with nothing left open, which rules, components, lock and plan read.

    Attributes:
        asked: The spec as it was given.
        reasons: Why an option that the spec leaves out has its value, by dotted name; only where the value follows
            from other options.
    """

    asked: Spec
    train: ResolvedTrain
    hpo: ResolvedHpo
    evaluate: ResolvedEvaluate
    tracking: ResolvedTracking
    serve: ResolvedServe
    reasons: Mapping[str, str]

    @property
    def project(self) -> Project:
        """The `project` section."""
        return self.asked.project

    @property
    def model(self) -> Model:
        """The `model` section."""
        return self.asked.model

    @property
    def package(self) -> str:
        """Name of the Python package."""
        return self.asked.project.package

    @property
    def stack(self) -> Stack:
        """The pinned versions."""
        return stacks.read(self.asked.stack)

    @property
    def adapts(self) -> bool:
        """Whether an adapter is trained, LoRA's or QLoRA's."""
        return self.train.lora is not None

    @property
    def quantizes(self) -> bool:
        """Whether the base is held in 4 bits."""
        return self.train.qlora is not None

    @property
    def needs_bitsandbytes(self) -> bool:
        """Whether weights or optimiser states are quantised."""
        return self.quantizes or self.train.optimizer in GPU_OPTIMIZERS

    @property
    def pairs(self) -> bool:
        """Whether rows hold a chosen and a rejected answer."""
        return self.train.method in PAIR_METHODS

    @property
    def has_reference(self) -> bool:
        """Whether an answer's reward is what it gained over the base."""
        return self.train.method in REFERENCE_METHODS

    @property
    def is_distributed(self) -> bool:
        """Whether training is several processes."""
        return self.train.distributed != "none"

    @property
    def is_sharded(self) -> bool:
        """Whether training spreads one model over several GPUs."""
        return self.train.distributed not in ("none", "ddp")

    @property
    def processes(self) -> int:
        """Processes of the real training, over all machines."""
        return self.train.gpus_per_node * self.train.nodes

    @property
    def tracker(self) -> Literal["mlflow", "wandb"] | None:
        """Where runs are recorded beside their own files, if anywhere."""
        return None if self.tracking.provider == "none" else self.tracking.provider

    @property
    def what_is_trained(self) -> str:
        """What the adapter option means, in words."""
        if self.train.lora is None:
            return "every weight"
        name = "a DoRA adapter" if self.train.lora.dora else "a LoRA adapter"
        return f"{name} on a 4-bit base (QLoRA)" if self.quantizes else name

    @property
    def method_name(self) -> str:
        """The method, in words."""
        return _METHOD_NAMES[self.train.method]

    def values(self) -> dict[str, Any]:
        """Every option with the value that holds, in the form of pipeline.yaml; None for what does not apply."""
        values = self.asked.model_dump(mode="json")
        for section in ("train", "hpo", "evaluate", "tracking", "serve"):
            resolved = getattr(self, section)._asdict()
            for option in values[section]:
                value = resolved[option]
                values[section][option] = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        return values


def resolve(spec: Spec) -> Resolved:
    """Fill in what `spec` leaves open."""
    train, hpo, evaluate, tracking, serve = spec.train, spec.hpo, spec.evaluate, spec.tracking, spec.serve
    reasons: dict[str, str] = {}

    def filled(option: str, asked: T | None, default: T, reason: str) -> T:
        if asked is not None:
            return asked
        reasons[option] = reason
        return default

    kind = "full" if train.adapter == "full" else "adapter"
    usual = f"usual for {train.method} with " + ("an adapter" if kind == "adapter" else "every weight trained")
    learning_rate = filled("train.learning_rate", train.learning_rate, _LEARNING_RATES[train.method][kind], usual)
    adapts, quantizes = train.adapter != "full", train.adapter == "qlora"
    none = f"does not apply with train.adapter '{train.adapter}'"
    lora = filled("train.lora", train.lora, Lora() if adapts else None, "usual for adapters" if adapts else none)
    usual_qlora = "usual for a 4-bit base" if quantizes else none
    qlora = filled("train.qlora", train.qlora, Qlora() if quantizes else None, usual_qlora)
    pairs = train.method in PAIR_METHODS
    usual_beta = (
        "usual for methods that learn from pairs" if pairs else f"does not apply with train.method '{train.method}'"
    )
    beta = filled("train.beta", train.beta, 0.1 if pairs else None, usual_beta)
    one = train.distributed == "none"
    gpus_per_node = filled(
        "train.gpus_per_node",
        train.gpus_per_node,
        1 if one else 8,
        f"usual for train.distributed '{train.distributed}'",
    )
    resolved_train = ResolvedTrain(
        method=train.method,
        adapter=train.adapter,
        # What is given where it does not apply is refused by a rule.
        lora=lora if adapts else None,
        qlora=qlora if quantizes else None,
        beta=beta if pairs else None,
        learning_rate=learning_rate,
        epochs=filled("train.epochs", train.epochs, _EPOCHS[train.method], f"usual for {train.method}"),
        per_device_batch_size=train.per_device_batch_size,
        gradient_accumulation_steps=train.gradient_accumulation_steps,
        warmup_fraction=train.warmup_fraction,
        lr_scheduler=train.lr_scheduler,
        optimizer=train.optimizer,
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        activation_checkpointing=train.activation_checkpointing,
        packing=train.packing,
        early_stopping_patience=train.early_stopping_patience,
        distributed=train.distributed,
        gpus_per_node=gpus_per_node,
        nodes=train.nodes or 1,
        seed=train.seed,
    )
    # A tenth of the smallest number is no number any more.
    low = max(float(f"{learning_rate / 10:.3g}"), 5e-324)
    around = LearningRateRange(low=low, high=min(float(f"{learning_rate * 10:.3g}"), 1.0))
    return Resolved(
        asked=spec,
        train=resolved_train,
        hpo=ResolvedHpo(
            enabled=hpo.enabled,
            trials=hpo.trials,
            learning_rate=filled(
                "hpo.learning_rate", hpo.learning_rate, around, "a tenth to ten times train.learning_rate"
            ),
            lora_ranks=hpo.lora_ranks or [8, 16, 32],
        ),
        evaluate=ResolvedEvaluate(
            metrics=filled("evaluate.metrics", evaluate.metrics, _METRICS[train.method], f"what suits {train.method}"),
            max_examples=evaluate.max_examples,
            batch_size=evaluate.batch_size,
            max_new_tokens=evaluate.max_new_tokens,
            bleu_tokenizer="char" if spec.data.language.split("-")[0] in _BY_CHARACTER else "13a",
        ),
        tracking=ResolvedTracking(
            provider=tracking.provider,
            project=filled("tracking.project", tracking.project, spec.project.name, "named after project.name"),
            uri=tracking.uri or "sqlite:///runs/mlflow.db",
        ),
        serve=ResolvedServe(
            engine=serve.engine,
            host=serve.host,
            port=serve.port,
            api_key_env=filled(
                "serve.api_key_env",
                serve.api_key_env,
                f"{spec.project.package.upper()}_API_KEY",
                "named after project.name",
            ),
            max_new_tokens=serve.max_new_tokens,
        ),
        reasons=reasons,
    )
