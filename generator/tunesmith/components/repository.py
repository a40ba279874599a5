"""Resolved → the files of the repository: what every component contributes, and what is folded from all of it."""

from tunesmith.components import (
    base,
    ci,
    configs,
    data,
    evaluate,
    export,
    hpo,
    package,
    project,
    runtime,
    serve,
    smoke,
    training,
)
from tunesmith.components.part import Output
from tunesmith.spec.resolve import Resolved

# In the order in which stages run.
COMPONENTS = (data, base, hpo, training, evaluate, export, serve, runtime, ci)
FOLDS = (project, package, configs, smoke)


def outputs_of(resolved: Resolved) -> list[Output]:
    """What a pipeline is rendered to."""
    parts = [component.part(resolved) for component in COMPONENTS]
    outputs = [output for part in parts for output in part.outputs]
    return outputs + [output for fold in FOLDS for output in fold.outputs(resolved, parts)]
