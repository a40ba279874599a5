"""The filters, which write text of a spec as YAML, TOML, Python, JSON, shell or Markdown."""

import json
import re
import shlex
from collections.abc import Callable

import yaml


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


# Only filters that quote: a general one, such as `join`, would turn text of the spec into text of ours.
FILTERS: dict[str, Callable[..., str]] = {
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "markdown": markdown_text,
    "code": markdown_code,
    "python": python_literal,
    "text": lambda value: "".join(c for c in " ".join(value.split()) if c.isprintable()),
    "shell": lambda value: shlex.quote(str(value)),
    "toml": toml_string,
    "yaml": yaml_value,
}
