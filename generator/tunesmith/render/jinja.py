"""Templates: what a template sees of a context, and the environment that renders it."""

import os
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import jinja2

from tunesmith.components.part import Verbatim
from tunesmith.render.quoting import FILTERS
from tunesmith.resources import TEMPLATES, generator_digest


def text_of(template: str, context: NamedTuple) -> str:
    """The template below `templates/`, rendered; the fields of `context` are its variables."""
    return environment().get_template(template).render(_unquoted(context))


class Unquoted(str):
    """A string of a context: it reaches the output through a quoting filter, or not at all."""

    __slots__ = ()


# Words, versions and paths, which mean the same in every language that we write.
_HARMLESS = re.compile(r"[A-Za-z0-9_./=+@-]*")


def _unquoted(value: object) -> object:
    if isinstance(value, Verbatim):
        return str(value)
    if isinstance(value, str):
        return Unquoted(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _unquoted(item) for name, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        return [_unquoted(item) for item in value]
    if isinstance(value, dict):
        return {_unquoted(key): _unquoted(item) for key, item in value.items()}
    return value


def _refuse_unquoted(value: object) -> object:
    if isinstance(value, Unquoted) and not _HARMLESS.fullmatch(value):
        raise jinja2.TemplateRuntimeError(f"{str(value)[:60]!r} is printed without a quoting filter")
    return value


@cache
def environment() -> jinja2.Environment:
    """What templates are rendered in: no filter that does not quote, and nothing printed that is not quoted."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        finalize=_refuse_unquoted,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 — no HTML; `finalize` refuses whatever no filter has quoted
        bytecode_cache=_bytecode_cache(),
    )
    made.filters = dict(FILTERS)
    return made


def _bytecode_cache() -> jinja2.FileSystemBytecodeCache | None:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(home) / "tunesmith" / f"jinja-{generator_digest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    # Bytecode is code: use only a folder that nobody else could have filled.
    status = folder.stat()
    if (
        not os.access(folder, os.W_OK)
        or (hasattr(os, "getuid") and status.st_uid != os.getuid())
        or status.st_mode & 0o022
    ):
        return None
    return jinja2.FileSystemBytecodeCache(str(folder))
