"""Outputs → Tree: Jinja, quoting, formatting. The same spec gives the same bytes everywhere."""

from collections.abc import Iterable

from tunesmith.components.part import Copied, Output, Rendered
from tunesmith.files.tree import FILE_MODE, File, Tree
from tunesmith.render.formatting import concerns_ruff, formatting
from tunesmith.render.jinja import text_of


def render(outputs: Iterable[Output]) -> Tree:
    """Render and format every output."""
    templates: list[Rendered] = []
    constants: list[Copied] = []
    for output in outputs:
        if isinstance(output, Copied):
            constants.append(output)
        else:
            templates.append(output)
    with formatting([_rendered(output) for output in templates if concerns_ruff(output.path)]) as formatted:
        # Ruff is a process of its own: the rest is made while it works.
        rest = [_rendered(output) for output in templates if not concerns_ruff(output.path)]
        copied = [
            File(output.id, output.path, FILE_MODE, output.ownership, output.origin.read_bytes())
            for output in constants
        ]
        return Tree([*formatted(), *rest, *copied])


def _rendered(output: Rendered) -> File:
    text = text_of(output.template, output.context)
    return File(output.id, output.path, FILE_MODE, output.ownership, text.encode("utf-8"))
