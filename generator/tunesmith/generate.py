"""Spec → Tree: what every face, test and golden calls to see what a spec becomes."""

from tunesmith.components.repository import outputs_of
from tunesmith.files.tree import Tree
from tunesmith.render import render
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.resolve import resolve


def generate(spec: Spec) -> Tree:
    """The files of the repository that `spec` describes, in memory."""
    return render(outputs_of(resolve(spec)))
