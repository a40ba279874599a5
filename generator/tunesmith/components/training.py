"""Training: the script of the chosen method and adapter, and what watches over its runs."""

from typing import Literal, NamedTuple

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
from tunesmith.spec.train import GPU_OPTIMIZERS, Method


class SmokeValues(NamedTuple):
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
    ("kto", False): SmokeValues(6e-4, 0.3, 200, 16),
    ("kto", True): SmokeValues(2e-3, 0.5, 200, 16),
}
_WITH_SEARCH = Verbatim('ARGS="--config runs/default/hpo/best.yaml"   # with what the search found')
_MIXED_PRECISION = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}  # in accelerate's words


class AccelerateShape(NamedTuple):
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
        untyped=(
            *("accelerate", "datasets", "psutil", "trl"),
            *(("peft",) if resolved.adapts else ()),
            *((resolved.tracker,) if resolved.tracker else ()),
        ),
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


class TrainShape(NamedTuple):
    """What decides the text of the stage's script, guide and tests, and of the modules of training/.

    Attributes:
        what: What is trained, in words.
        method_name: The method, in words.
        bitsandbytes: Whether that library is installed.
        reference: Where the likelihoods come from that an answer is measured against: taken before training, or of a
            second model; None where the base under the adapter has them, or where nothing is measured so.
        lora_variants: `rslora`, `dora` or both.
        thinking: Whether the spec says what becomes of the template's text before an answer.
    """

    package: str
    method: Method
    method_name: str
    what: str
    lora: bool
    lora_variants: list[str]
    qlora: bool
    bitsandbytes: bool
    reference: Literal["precomputed", "model"] | None
    packing: bool
    early_stopping: bool
    distributed: str | None
    tracker: str | None
    thinking: bool
    engine: str


def _shape(resolved: Resolved) -> TrainShape:
    train = resolved.train
    # TRL hands what one process has precomputed to the others in a file that they do not see.
    held: Literal["precomputed", "model"] = "model" if resolved.is_distributed else "precomputed"
    return TrainShape(
        package=resolved.package,
        method=train.method,
        method_name=resolved.method_name,
        what=resolved.what_is_trained,
        lora=resolved.adapts,
        lora_variants=[name for name in ("rslora", "dora") if train.lora and getattr(train.lora, name)],
        qlora=resolved.quantizes,
        bitsandbytes=resolved.needs_bitsandbytes,
        reference=held if resolved.has_reference and not resolved.adapts else None,
        packing=train.packing,
        early_stopping=train.early_stopping_patience is not None,
        distributed=train.distributed if resolved.is_distributed else None,
        tracker=resolved.tracker,
        thinking=resolved.model.thinking is not None,
        engine=resolved.serve.engine,
    )


def _outputs(resolved: Resolved) -> tuple[Output, ...]:
    shape, package = _shape(resolved), resolved.package
    outputs: list[Output] = [
        Rendered("train/script", f"src/{package}/train.py", f"src/package/train_{shape.method}.py.j2", shape),
        Rendered("train/guide", "docs/train.md", "docs/train.md.j2", shape),
        module("smoke/training", package, "smoke/training.py"),
        module("training/init", package, "training/__init__.py"),
    ]
    for name in ("arguments", "watch"):
        path = f"training/{name}.py"
        outputs.append(Rendered(f"training/{name}", f"src/{package}/{path}", f"src/package/{path}.j2", shape))
    modules = ["checkpoints", "failures", "progress", "report", "resources", "run", "stop"]
    modules += ["early_stopping"] if shape.early_stopping else []
    modules += ["launch", "processes", "ranks"] if shape.distributed else []
    modules += ["packing"] if shape.packing else []
    modules += ["target_modules"] if shape.lora else []
    modules += ["quantization"] if shape.qlora else []
    modules += ["rewards"] if (shape.method != "sft") else ["sft_trainer"]
    modules += ["reference"] if shape.reference == "precomputed" else []
    modules += ["tracker"] if shape.tracker else []
    outputs += [module(f"training/{name}", package, f"training/{name}.py") for name in modules]
    # Modules of one name, of which a repository has the one that it chose.
    if shape.tracker:
        outputs.append(
            module("training/tracking", package, "training/tracking.py", f"training/tracking_{shape.tracker}.py")
        )
    if shape.method != "sft":
        outputs.append(
            module("training/dataset", package, "training/dataset.py", f"training/dataset_{shape.method}.py")
        )
    return (*outputs, *_tests(shape, modules))


def _tests(shape: TrainShape, modules: list[str]) -> list[Output]:
    ids = {"train": "train/tests", "training": "training/tests", "chat": "train/chat-tests"}
    optional = ("early_stopping", "launch", "packing", "quantization", "tracker")
    ids |= {name: f"training/{name.replace('_', '-')}-tests" for name in optional if name in modules}
    ids |= {"preferences": "train/pairs-tests"} if (shape.method != "sft") else {}
    batches = f"tests/test_batches_{shape.method}.py.j2"
    return [
        *(Rendered(id_, f"tests/test_{name}.py", f"tests/test_{name}.py.j2", shape) for name, id_ in ids.items()),
        Rendered("train/batches-tests", "tests/test_batches.py", batches, shape),
    ]


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
        Setting(
            "activation_checkpointing",
            train.activation_checkpointing,
            smoke=False,
            comment="auto: on a GPU alone" if train.activation_checkpointing == "auto" else "",
            smoke_comment="",
        ),
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
    if train.qlora is not None:
        settings.append(
            Setting(
                "double_quantization",
                train.qlora.double_quantization,
                comment="the scales of the 4-bit weights are quantised too",
            )
        )
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
        Setting("eval_every", 0.1, smoke=0.5, comment="of all steps"),
        Setting(
            "max_truncated_fraction", 0.05, smoke=0.1, comment="of the rows; more than that is refused before training"
        ),
    ]
    if resolved.is_distributed:
        gpus_alone = train.distributed == "fsdp"
        settings.append(
            Setting(
                "accelerate_config",
                "configs/accelerate/default.yaml",
                smoke=None if gpus_alone else "configs/accelerate/smoke.yaml",
                comment="how many processes, and how they share the work",
                smoke_comment="one process, since FSDP needs GPUs" if gpus_alone else "two processes",
            )
        )
    comment = "what changes no weights, and so may change when a stopped run goes on"
    settings.append(Setting("watch", _watch(resolved), comment=comment))
    return settings


def _watch(resolved: Resolved) -> tuple[Setting, ...]:
    train, tracking = resolved.train, resolved.tracking
    as_evaluated = ", as eval_every" if train.early_stopping_patience is not None else ""
    settings = [
        Setting("log_every", 10, smoke=50, comment="steps"),
        Setting("save_every", 0.1, smoke=0.5, comment=f"of all steps{as_evaluated}"),
        Setting("keep_checkpoints", 2, comment="or more"),
        Setting("sample_every", 10.0, smoke=1.0, comment="seconds between two looks at CPU, memory and GPU"),
        Setting("max_loss_growth", 3.0, comment="times its first value; a loss beyond that stops the run"),
    ]
    if resolved.is_distributed:
        settings.append(
            Setting(
                "stall_seconds",
                300.0,
                smoke=60.0,
                comment="without a step; then the process that the others wait for is named",
            )
        )
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
    return tuple(settings)
