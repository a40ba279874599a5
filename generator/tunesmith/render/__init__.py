"""Outputs → Tree: Jinja, quoting, formatting. The same spec gives the same bytes everywhere."""

from collections.abc import Iterable

from tunesmith.components.part import Copied, Output
from tunesmith.files.tree import FILE_MODE, File, Tree
from tunesmith.render.formatting import formatted
from tunesmith.render.jinja import text_of


def render(outputs: Iterable[Output]) -> Tree:
    """Render and format every output."""
    rendered, copied = [], []
    for output in outputs:
        if isinstance(output, Copied):
            copied.append(File(output.id, output.path, FILE_MODE, output.ownership, output.origin.read_bytes()))
        else:
            text = text_of(output.template, output.context)
            rendered.append(File(output.id, output.path, FILE_MODE, output.ownership, text.encode("utf-8")))
    return Tree([*formatted(rendered), *copied])
