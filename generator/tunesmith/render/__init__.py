"""Sources → Tree: Jinja, quoting, formatting. The same spec gives the same bytes everywhere."""

from collections.abc import Iterable

from tunesmith.components.source import Copied, Source
from tunesmith.files.tree import FILE_MODE, File, Tree
from tunesmith.render.formatting import formatted
from tunesmith.render.jinja import text_of


def render(sources: Iterable[Source]) -> Tree:
    """Render and format every source."""
    rendered, copied = [], []
    for source in sources:
        if isinstance(source, Copied):
            copied.append(File(source.id, source.path, FILE_MODE, source.ownership, source.origin.read_bytes()))
        else:
            text = text_of(source.template, source.context)
            rendered.append(File(source.id, source.path, FILE_MODE, source.ownership, text.encode("utf-8")))
    return Tree([*formatted(rendered), *copied])
