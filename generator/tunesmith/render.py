"""Sources → Tree: Jinja, quoting, formatting. The same spec gives the same bytes everywhere."""

import dataclasses
import json
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import jinja2
import yaml

from tunesmith.components.source import Copied, Source
from tunesmith.resources import TEMPLATES, generator_digest
from tunesmith.tree import FILE_MODE, File, Tree


def render(sources: Iterable[Source]) -> Tree:
    """Render and format every source."""
    environment = _environment()
    files, copied = [], []
    for source in sources:
        if isinstance(source, Copied):
            copied.append(File(source.id, source.path, FILE_MODE, source.ownership, source.origin.read_bytes()))
            continue
        variables = {
            field.name: _unquoted(getattr(source.context, field.name)) for field in dataclasses.fields(source.context)
        }
        text = environment.get_template(source.template).render(variables)
        files.append(File(source.id, source.path, FILE_MODE, "merge", text.encode("utf-8")))
    return Tree([*_format_python(files), *copied])


class Unquoted(str):
    """A string of a context: it reaches the output through a quoting filter, or not at all."""

    __slots__ = ()


# Words, versions and paths, which mean the same in every language that we write.
_HARMLESS = re.compile(r"[A-Za-z0-9_./=+@-]*")


def _unquoted(value: object) -> object:
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
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        finalize=_refuse_unquoted,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 — no HTML; `finalize` refuses whatever no filter has quoted
        bytecode_cache=_bytecode_cache(),
    )
    # Only filters that quote: a general one, such as `join`, would turn text of the spec into text of ours.
    environment.filters = {
        "json": lambda value: json.dumps(value, ensure_ascii=False),
        "markdown": markdown_text,
        "code": markdown_code,
        "python": python_literal,
        "text": lambda value: "".join(c for c in " ".join(value.split()) if c.isprintable()),
        "shell": lambda value: shlex.quote(str(value)),
        "toml": toml_string,
        "yaml": yaml_value,
    }
    return environment


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


def yaml_value(value: object) -> str:
    """`value` as YAML on one line."""
    text = yaml.dump(
        _plain(value),
        Dumper=_OneLineDumper,
        default_flow_style=True,
        allow_unicode=True,
        sort_keys=False,
        width=2**31 - 1,
    )
    return text.removesuffix("\n").removesuffix("\n...")


class _OneLineDumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
    """Quotes every text that is not a plain word, since other styles fold line breaks."""


_HARMLESS_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_OneLineDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style=None if _HARMLESS_WORD.fullmatch(text) else '"'
    ),
)


def toml_string(value: str) -> str:
    """`value` as a basic TOML string, which is a JSON string that also escapes DEL."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def python_literal(value: object) -> str:
    """`value` as a Python literal of ASCII characters only where the text is not printable."""
    return repr(_plain(value))


def markdown_text(value: str) -> str:
    """`value` as running text on one line of Markdown: no mark-up, no HTML."""
    text = re.sub(r"([\\`*_\[\]<>|~&$#])", r"\\\1", " ".join(value.split()))
    # What would open a list or an underline at the start of a line.
    return (
        re.sub(r"^([-+=]|\d+(?=[.)]))", r"\\\1", text)
        if not text[:1].isdigit()
        else re.sub(r"^(\d+)([.)])", r"\1\\\2", text)
    )


def markdown_code(value: str) -> str:
    """`value` as a code span on one line of Markdown."""
    text = " ".join(str(value).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _plain(value: object) -> object:
    # Serialisers know `str`, not its subclasses.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value


def _format_python(files: list[File]) -> list[File]:
    """Format with ruff, under the settings of the generated pyproject.toml.

    Line breaks depend on names in the spec, so templates cannot hold them. The order of imports does not.
    """
    # In Markdown, ruff formats the blocks of Python.
    python = [file for file in files if file.path.endswith((".py", ".md"))]
    settings = [file for file in files if file.path == "pyproject.toml"]
    if not python:
        return files
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        root = Path(folder)
        for file in python + settings:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_bytes(file.content)
        _ruff_format(root)
        formatted = {file.path: (root / file.path).read_bytes() for file in python}
    return [dataclasses.replace(file, content=formatted.get(file.path, file.content)) for file in files]


def _ruff_format(root: Path) -> None:
    from ruff.__main__ import find_ruff_bin

    done = subprocess.run(
        [find_ruff_bin(), "format", "--quiet", "--no-cache", "."],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"ruff cannot format rendered files:\n{done.stdout}{done.stderr}")
