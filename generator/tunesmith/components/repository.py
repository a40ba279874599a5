"""Spec → the files of the repository: every component's, in turn."""

from tunesmith.components import (
    ci,
    configs,
    data,
    distribution,
    evaluate,
    export,
    hpo,
    package,
    project,
    runtime,
    serve,
    smoke,
    train,
    training,
)
from tunesmith.components.source import Source
from tunesmith.spec.pipeline import Spec

COMPONENTS = (
    project,
    configs,
    distribution,
    package,
    data,
    train,
    training,
    hpo,
    evaluate,
    export,
    serve,
    smoke,
    runtime,
    ci,
)


def sources_of(spec: Spec) -> list[Source]:
    """What `spec` is rendered to."""
    return [source for component in COMPONENTS for source in component.sources(spec)]
