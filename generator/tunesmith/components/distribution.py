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


def sources(spec: Spec) -> Iterator[Source]:
    """A config for the real run and, where it can do without a GPU, one for the smoke run."""
    section, stage = spec.train, train.context(spec)
    if stage.distributed is None:
        return
    nodes = section.nodes or 1
    precision = {"bfloat16": "bf16", "float16": "fp16", "float32": "no"}[stage.dtype]
    processes = (section.gpus_per_node or 8) * nodes
    real = Distribution(stage.distributed, processes, nodes, precision, use_cpu=False)
    yield Rendered("distribution/full", "configs/accelerate/full.yaml", "distribution/accelerate.yaml.j2", real)
    if stage.smoke_distributed:
        small = Distribution(stage.distributed, 2, 1, "no", use_cpu=True)
        yield Rendered("distribution/smoke", "configs/accelerate/smoke.yaml", "distribution/accelerate.yaml.j2", small)
