"""Training: the script of the chosen method and adapter, and what watches over its runs."""

from dataclasses import dataclass

from tunesmith.components.part import (
    Check,
    Output,
    Part,
    Rendered,
    Setting,
    Settings,
    Stage,
    Variable,
    Verbatim,
    module,
)
from tunesmith.spec.resolve import Resolved
from tunesmith.spec.train import GPU_OPTIMIZERS


@dataclass(frozen=True)
class SmokeValues:
    """Values that suit the smoke run's small base model."""

    learning_rate: float
    beta: float
    max_steps: int
    per_device_batch_size: int


# Found on the starter data, with margin for other seeds.
_SMOKE = {
    ("sft", False): SmokeValues(3e-3, 0.1, 450, 8),
    ("sft", True): SmokeValues(1e-2, 0.1, 450, 8),
    ("dpo", False): SmokeValues(4e-4, 1.0, 300, 8),
    ("dpo", True): SmokeValues(2e-3, 0.3, 300, 8),
    ("orpo", False): SmokeValues(2e-3, 1.0, 250, 8),
    ("orpo", True): SmokeValues(1e-2, 1.0, 250, 8),
    ("kto", False): SmokeValues(3e-4, 0.3, 400, 16),
    ("kto", True): SmokeValues(1e-3, 0.5, 350, 16),
}
_WITH_SEARCH = Verbatim('ARGS="--config runs/default/hpo/best.yaml"   # with what the search found')
_MIXED_PRECISION = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}  # in accelerate's words


@dataclass(frozen=True)
class AccelerateShape:
    """What the accelerate configs see.

    Attributes:
        kind: `ddp`, `fsdp`, `deepspeed-zero2` or `deepspeed-zero3`.
        mixed_precision: accelerate's name of the number type that is computed in.
        use_cpu: Whether the processes have no GPU.
    """

    kind: str
    processes: int
    nodes: int
    mixed_precision: str
    use_cpu: bool


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests, and the modules of training/ that it uses."""
    method, what = resolved.train.method.upper(), resolved.what_is_trained
    return Part(
        outputs=(*_outputs(resolved), *_accelerate_configs(resolved)),
        requirements=_requirements(resolved),
        stages=(
            Stage(
                "train",
                f"fine-tune {what} with {method}",
                reads=Verbatim("`runs/default/data/`"),
                writes=Verbatim("`runs/default/train/`"),
                uses_one_gpu=not resolved.is_distributed,
                resumes=True,
                arguments=_WITH_SEARCH if resolved.hpo.enabled else None,
            ),
        ),
        settings=(
            Settings("train", tuple(_settings(resolved))),
            Settings(
                "smoke", (Setting("train_tokens", 300_000, comment="long rows get fewer steps"),), only_smoke=True
            ),
        ),
        environment=_environment(resolved),
        checks=(Check("train", "training", "train_briefly"),),
    )


@dataclass(frozen=True)
class TrainShape:
    """What decides the training stage's code (OLD NAMES, to be ported)."""

    package: str
    method: str
    what: str
    method_name: str
    trl_name: str
    preference: bool
    lora: object
    qlora: bool
    double_quantization: bool
    bitsandbytes: bool
    precompute: bool
    reference: bool
    accuracy_by_likelihood: bool
    packing: bool
    early_stopping_patience: bool
    early_stopping: bool
    distributed: str | None
    nodes: int
    smoke_distributed: bool
    tracker: str | None
    mlflow_version: str
    base: str
    trains: str
    beta: object


def _outputs(resolved: Resolved) -> tuple[Output, ...]:
    train, package = resolved.train, resolved.package
    references = not resolved.adapts and resolved.has_reference
    distributed = train.distributed if resolved.is_distributed else None
    shape = TrainShape(
        package,
        train.method,
        resolved.what_is_trained,
        resolved.method_name,
        train.method.upper(),
        resolved.pairs,
        train.lora,
        resolved.quantizes,
        bool(train.qlora and train.qlora.double_quantization),
        resolved.needs_bitsandbytes,
        references and distributed is None,
        references and distributed is not None,
        train.method == "kto" and distributed is None,
        train.packing,
        train.early_stopping_patience is not None,
        train.early_stopping_patience is not None,
        distributed,
        train.nodes,
        distributed not in (None, "fsdp"),
        resolved.tracker,
        resolved.stack.versions["mlflow-skinny"],
        resolved.model.base,
        f"{resolved.what_is_trained} {'for' if resolved.adapts else 'of'}",
        train.beta,
    )
    script = "src/package/train.preference.py.j2" if shape.preference else "src/package/train.sft.py.j2"

    @dataclass(frozen=True)
    class S2:
        package: str
        method: str
        bitsandbytes: bool
        distributed: bool
        early_stopping: bool
        tracker: str | None

    words = [train.method, resolved.what_is_trained]
    s2 = S2(
        package,
        ", ".join(words),
        resolved.needs_bitsandbytes,
        resolved.is_distributed,
        shape.early_stopping,
        resolved.tracker,
    )
    folder = f"src/{package}/training"
    modules = ["__init__", "failures", "progress", "report", "resources", "stop"]
    modules += ["launch", "processes", "ranks"] if resolved.is_distributed else []
    modules += ["packing"] if train.packing else []
    modules += ["quantization"] if resolved.quantizes else []
    modules += ["tracker"] if resolved.tracker is not None else []
    outputs: list[Output] = [
        Rendered("train/script", f"src/{package}/train.py", script, shape),
        Rendered("train/guide", "docs/train.md", "docs/train.md.j2", shape),
        Rendered("train/chat-tests", "tests/test_chat.py", "tests/test_chat.py.j2", shape),
        Rendered("train/tests", "tests/test_train.py", "tests/test_train.py.j2", shape),
        Rendered("training/arguments", f"{folder}/arguments.py", "src/package/training/arguments.py.j2", s2),
        Rendered("training/checkpoints", f"{folder}/checkpoints.py", "src/package/training/checkpoints.py.j2", s2),
        Rendered("training/run", f"{folder}/run.py", "src/package/training/run.py.j2", s2),
        Rendered("training/tests", "tests/test_training.py", "tests/test_training.py.j2", s2),
        module("smoke/training", package, "smoke/training.py"),
    ]
    outputs += [module(f"training/{name.strip('_')}", package, f"training/{name}.py") for name in modules]
    if resolved.tracker is not None:
        origin = f"training/tracking_{resolved.tracker}.py"
        outputs.append(module("training/tracking", package, "training/tracking.py", origin))
    if resolved.pairs:
        origin = f"training/dataset_{train.method}.py"
        outputs.append(module("training/dataset", package, "training/dataset.py", origin))
    return tuple(outputs)


def _accelerate_configs(resolved: Resolved) -> tuple[Output, ...]:
    """A config for the real run and, where it can do without a GPU, one for the smoke run."""
    train = resolved.train
    if not resolved.is_distributed:
        return ()
    precision = _MIXED_PRECISION[resolved.model.dtype]
    real = AccelerateShape(train.distributed, resolved.processes, train.nodes, precision, use_cpu=False)
    template = "configs/accelerate.yaml.j2"
    outputs = [Rendered("distribution/full", "configs/accelerate/default.yaml", template, real)]
    if train.distributed != "fsdp":
        small = AccelerateShape(train.distributed, 2, 1, "no", use_cpu=True)
        outputs.append(Rendered("distribution/smoke", "configs/accelerate/smoke.yaml", template, small))
    return tuple(outputs)


def _requirements(resolved: Resolved) -> tuple[str, ...]:
    found = ["accelerate", "datasets", "nvidia-ml-py", "psutil", "trl"]
    found += ["peft"] if resolved.adapts else []
    found += ["bitsandbytes"] if resolved.needs_bitsandbytes else []
    found += ["deepspeed"] if resolved.train.distributed.startswith("deepspeed") else []
    # MLflow's client needs no pandas and no web server; a database needs the two others beside it.
    found += ["alembic", "mlflow-skinny", "sqlalchemy"] if resolved.tracker == "mlflow" else []
    found += ["wandb"] if resolved.tracker == "wandb" else []
    return tuple(found)


def _environment(resolved: Resolved) -> tuple[Variable, ...]:
    found = [Variable(("HF_TOKEN",), "Only for a gated base model, while it is downloaded.")]
    if resolved.tracker == "mlflow":
        names = ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
        found.append(Variable(names, "An MLflow server in the place of the one in configs/, and what it asks for."))
    if resolved.tracker == "wandb":
        found.append(Variable(("WANDB_API_KEY",), "For online runs in Weights & Biases."))
    return tuple(found)


def _settings(resolved: Resolved) -> list[Setting]:
    train, smoke = resolved.train, _SMOKE[resolved.train.method, resolved.adapts]
    settings = []
    if resolved.pairs:
        comment = "the higher, the closer to the base model"
        if train.method == "orpo":
            comment = "weight of the odds ratio beside the answers themselves"
        settings.append(Setting("beta", train.beta, smoke=smoke.beta, comment=comment))
    if train.method == "kto":
        settings += [Setting("desirable_weight", 1.0), Setting("undesirable_weight", 1.0)]
    settings += [
        Setting("learning_rate", train.learning_rate, smoke=smoke.learning_rate),
        Setting("lr_scheduler", train.lr_scheduler, smoke="linear"),
        Setting("warmup_fraction", train.warmup_fraction, smoke=0.05, comment="of all steps"),
        Setting("epochs", train.epochs, smoke=20.0),
        Setting("max_steps", -1, smoke=smoke.max_steps, comment="-1: as many as the epochs take", smoke_comment=""),
        Setting("per_device_batch_size", train.per_device_batch_size, smoke=smoke.per_device_batch_size),
        Setting("gradient_accumulation_steps", train.gradient_accumulation_steps, smoke=1),
        Setting("activation_checkpointing", train.activation_checkpointing, smoke=False),
        Setting(
            "optimizer",
            train.optimizer,
            smoke="adamw_torch_fused" if train.optimizer in GPU_OPTIMIZERS else train.optimizer,
        ),
        Setting("adam_betas", [0.9, 0.999], comment="adafactor has neither these nor the next"),
        Setting("adam_epsilon", 1e-8),
        Setting("weight_decay", train.weight_decay, smoke=0.0),
        Setting("max_grad_norm", train.max_grad_norm, smoke=1.0),
    ]
    if train.lora is not None:
        divisor = "sqrt(lora_rank)" if train.lora.rslora else "lora_rank"
        settings += [
            Setting("lora_rank", train.lora.rank, smoke=16),
            Setting(
                "lora_alpha", train.lora.alpha, smoke=32, comment=f"the update is scaled by lora_alpha / {divisor}"
            ),
            # TRL switches dropout off for pairs.
            *(() if resolved.pairs else (Setting("lora_dropout", train.lora.dropout, smoke=0.0),)),
            Setting("lora_target_modules", train.lora.target_modules or "all-linear", smoke="all-linear"),
        ]
    if train.packing:
        settings.append(Setting("packing", True, comment="several rows fill a sequence of max_length"))
    if train.early_stopping_patience is not None:
        settings.append(
            Setting(
                "early_stopping_patience",
                train.early_stopping_patience,
                comment="evaluations without a lower validation loss",
            )
        )
    settings += [
        Setting(
            "max_truncated_fraction", 0.05, smoke=0.1, comment="of the rows; more than that is refused before training"
        ),
        *_watch(resolved),
    ]
    return settings


def _watch(resolved: Resolved) -> list[Setting]:
    train, tracking = resolved.train, resolved.tracking
    as_evaluated = ", as eval_every" if train.early_stopping_patience is not None else ""
    settings = [
        Setting("max_loss_growth", 3.0, comment="times its first value; a loss beyond that stops the run"),
        Setting("log_every", 10, smoke=50, comment="steps"),
        Setting("eval_every", 0.1, smoke=0.5, comment="of all steps"),
        Setting("save_every", 0.1, smoke=0.5, comment=f"of all steps{as_evaluated}"),
        Setting("keep_checkpoints", 2, comment="or more"),
        Setting("sample_every", 10.0, smoke=1.0, comment="seconds between two looks at CPU, memory and GPU"),
    ]
    if resolved.is_distributed:
        gpus_alone = train.distributed == "fsdp"
        settings += [
            Setting(
                "accelerate_config",
                "configs/accelerate/default.yaml",
                smoke=None if gpus_alone else "configs/accelerate/smoke.yaml",
                comment="how many processes, and how they share the work",
                smoke_comment="one process, since FSDP needs GPUs" if gpus_alone else "two processes",
            ),
            Setting(
                "stall_seconds",
                300.0,
                smoke=60.0,
                comment="without a step; then the process that the others wait for is named",
            ),
        ]
    if resolved.tracker == "mlflow":
        settings += [
            Setting("mlflow_uri", tracking.uri, smoke="sqlite:///runs/smoke/mlflow/mlflow.db"),
            Setting("mlflow_experiment", tracking.project),
        ]
    if resolved.tracker == "wandb":
        settings += [
            Setting("wandb_project", tracking.project),
            Setting(
                "wandb_mode",
                "online",
                smoke="offline",
                comment="or offline, for files that `wandb sync` sends later",
                smoke_comment="",
            ),
        ]
    return settings
