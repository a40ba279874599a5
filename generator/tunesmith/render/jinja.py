"""Templates: what a template sees of a context, and the environment that renders it."""

import dataclasses
import os
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from tunesmith.components.part import Verbatim
from tunesmith.render.quoting import FILTERS
from tunesmith.resources import TEMPLATES, generator_digest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def text_of(template: str, context: "DataclassInstance") -> str:
    """The template below `templates/`, rendered; the fields of `context` are its variables."""
    variables = {field.name: _unquoted(getattr(context, field.name)) for field in dataclasses.fields(context)}
    return environment().get_template(template).render(variables)


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
    if isinstance(value, list | tuple):
        return [_unquoted(item) for item in value]
    if isinstance(value, dict):
        return {_unquoted(key): _unquoted(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _unquoted(getattr(value, field.name)) for field in dataclasses.fields(value)}
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
