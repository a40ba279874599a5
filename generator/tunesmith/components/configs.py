"""configs/: the values of every stage, for the real run and for the smoke run."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tunesmith.components.part import Output, Part, Rendered, Setting, Verbatim
from tunesmith.spec.resolve import Resolved


class Line(NamedTuple):
    """A line of a config.

    Attributes:
        indent: White space, and the dash of a list's item.
        value: None for the head of what follows below it.
    """

    indent: Verbatim
    key: str
    has_value: bool
    value: Any
    comment: str


class Config(NamedTuple):
    """What a config's template sees: its lines, section by section, the values that stages share first."""

    smoke: bool
    sections: list[list[Line]]


def outputs(resolved: Resolved, parts: Sequence[Part]) -> Iterator[Output]:
    """default.yaml and smoke.yaml."""
    for id_, name, smoke in (("configs/full", "default", False), ("configs/smoke", "smoke", True)):
        sections = [list(_lines(_shared(resolved), smoke, Verbatim("")))]
        for settings in (settings for part in parts for settings in part.settings):
            if smoke or not settings.only_smoke:
                head = Line(Verbatim(""), settings.section, has_value=False, value=None, comment="")
                sections.append([head, *_lines(settings.settings, smoke, Verbatim("  "))])
        yield Rendered(id_, f"configs/{name}.yaml", "configs/config.yaml.j2", Config(smoke, sections))


def _shared(resolved: Resolved) -> tuple[Setting, ...]:
    model, system_prompt = resolved.model, resolved.asked.data.system_prompt
    settings = [
        Setting("run_dir", "runs/default", smoke="runs/smoke"),
        Setting("seed", resolved.train.seed),
        Setting("base_model", model.base, smoke="runs/smoke/base", smoke_comment="written by the smoke run"),
        Setting("base_revision", model.revision, smoke="main"),
        Setting("dtype", model.dtype, smoke="float32"),
        Setting("max_length", model.max_length, smoke=512, comment="tokens, prompt and completion together"),
        Setting("chat_template_kwargs", model.chat_template_kwargs, smoke={}),
    ]
    if model.thinking:
        comment = "of what the chat template puts before an answer: drop, keep or train-empty"
        settings.append(Setting("thinking", model.thinking, smoke=None, comment=comment, smoke_comment=""))
    if system_prompt:
        settings.append(Setting("system_prompt", system_prompt, comment="for conversations that have none"))
    return tuple(settings)


def _lines(settings: Sequence[Setting], smoke: bool, indent: Verbatim) -> Iterator[Line]:
    for setting in settings:
        value = setting.smoke if smoke and setting.smoke is not ... else setting.value
        comment = setting.comment
        if smoke and setting.smoke_comment is not None:
            comment = setting.smoke_comment
        if isinstance(value, tuple):
            yield Line(indent, setting.key, has_value=False, value=None, comment=comment)
            yield from _lines(value, smoke, Verbatim(f"{indent}  "))
        elif isinstance(value, list) and value and isinstance(value[0], tuple):
            yield Line(indent, setting.key, has_value=False, value=None, comment=comment)
            for item in value:
                first, *others = _lines(item, smoke, Verbatim(f"{indent}    "))
                yield Line(Verbatim(f"{indent}  - "), first.key, first.has_value, first.value, first.comment)
                yield from others
        else:
            yield Line(indent, setting.key, has_value=True, value=value, comment=comment)
