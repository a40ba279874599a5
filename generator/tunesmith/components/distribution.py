"""How the processes of a training share its work: configuration for accelerate and DeepSpeed."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components import train
from tunesmith.components.source import Rendered, Source
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Distribution:
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


def gpus_per_node(spec: Spec) -> int:
    """GPUs that train together in one machine."""
    return (spec.train.gpus_per_node or 8) if spec.train.distributed != "none" else 1


def processes(spec: Spec) -> int:
    """Processes of the real run, over all machines."""
    return gpus_per_node(spec) * (spec.train.nodes or 1)


def sources(spec: Spec) -> Iterator[Source]:
    """A config for the real run and, where it can do without a GPU, one for the smoke run."""
    section, stage = spec.train, train.context(spec)
    if stage.distributed is None:
        return
    precision = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}[stage.dtype]
    real = Distribution(stage.distributed, processes(spec), section.nodes or 1, precision, use_cpu=False)
    yield Rendered("distribution/full", "configs/accelerate/full.yaml", "configs/accelerate.yaml.j2", real)
    if stage.smoke_distributed:
        small = Distribution(stage.distributed, 2, 1, "no", use_cpu=True)
        yield Rendered("distribution/smoke", "configs/accelerate/smoke.yaml", "configs/accelerate.yaml.j2", small)
