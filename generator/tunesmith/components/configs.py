"""configs/: the values of every stage, for the real run and for the smoke run."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components import data, evaluate, export, hpo, serve, train
from tunesmith.components.data import Data
from tunesmith.components.evaluate import Evaluate
from tunesmith.components.export import Export
from tunesmith.components.hpo import Hpo
from tunesmith.components.serve import Serve
from tunesmith.components.source import Rendered, Source
from tunesmith.components.train import Train
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Configs:
    """What the configs see: what each stage's own templates see."""

    data: Data
    train: Train
    hpo: Hpo | None
    evaluate: Evaluate
    export: Export
    serve: Serve


def sources(spec: Spec) -> Iterator[Source]:
    """full.yaml and smoke.yaml; each stage's part of them stands in its own folder of templates."""
    seen = Configs(
        data=data.context(spec),
        train=train.context(spec),
        hpo=hpo.context(spec),
        evaluate=evaluate.context(spec),
        export=export.context(spec),
        serve=serve.context(spec),
    )
    yield Rendered("configs/full", "configs/full.yaml", "configs/full.yaml.j2", seen)
    yield Rendered("configs/smoke", "configs/smoke.yaml", "configs/smoke.yaml.j2", seen)
