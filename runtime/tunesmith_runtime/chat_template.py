"""What a chat template does around an answer, found by rendering it.

Templates differ in what they put between the prompt and an answer: nothing, an empty reasoning
(Qwen3), a channel (gpt-oss), or a prompt that opens a reasoning which the history leaves out (R1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise, takewhile
from json import dumps
from typing import Any, Literal

from tunesmith_runtime.errors import UserError, in_one_line
from tunesmith_runtime.records import Message

# What becomes of the text between the prompt and an answer: `drop` puts it into the prompt, so that
# the model answers at once; `keep` has it in the sequence, untrained, so that the model goes on to
# reason as it did; `train-empty` teaches the model to write it.
Thinking = Literal["drop", "keep", "train-empty"]
Clock = Callable[[str], str]

QUESTION: list[Message] = [{"role": "user", "content": "Is it?"}]
# Variables by which templates are told not to reason.
SWITCHES = ("enable_thinking", "thinking")
TIMES = (datetime(2001, 2, 3, 4, 5, 6), datetime(2034, 11, 25, 16, 37, 48))


@dataclass(frozen=True)
class Opening:
    """What stands between the prompt and an answer.

    Attributes:
        text: It; empty where the answer comes at once.
        is_rendered: Whether the template writes it before answers; else it only closes the
            reasoning that the prompt opens.
        prompt_end: What the prompt ends in and the same turn in the history does not have.
        in_its_place: What the history has there.
    """

    text: str = ""
    is_rendered: bool = True
    prompt_end: str = ""
    in_its_place: str = ""


NOTHING = Opening()


def render(tokenizer: Any, messages: Sequence[Message], where: str, **variables: Any) -> str:
    """A conversation as the template writes it. Raises UserError where the template refuses it."""
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, **variables)
    except (TemplateError, TypeError, ValueError) as error:
        roles = ", ".join(message["role"] for message in messages)
        raise UserError(
            f"{where}: the chat template refuses this conversation ({roles}): "
            f"{in_one_line(error)}; {_other_roles([message['role'] for message in messages])}"
        ) from None
    return text


def _other_roles(roles: Sequence[str]) -> str:
    if any(one == other for one, other in pairwise(roles)):
        return "join messages of one role that follow each other into one, or remove the row"
    if roles[0] == "system":
        return (
            "where it takes no system message, leave out data.system_prompt and the rows' own, or "
            "write what they say into the first question"
        )
    return "change the row, or give the model another chat template"


def find_opening(tokenizer: Any, **variables: Any) -> Opening:
    """What the template puts between a prompt and its answer."""
    prompt = render(tokenizer, QUESTION, "base_model", add_generation_prompt=True, **variables)
    answered = [
        render(
            tokenizer,
            [*QUESTION, {"role": "assistant", "content": answer}],
            "base_model",
            **variables,
        )
        for answer in ("Yes.", "No.")
    ]
    shared = _common([prompt, *answered])
    text = _common([each[len(shared) :] for each in answered])
    prompt_end = prompt[len(shared) :]
    if not prompt_end.strip():
        return Opening(text if text.strip() else "", prompt_end=prompt_end)
    if prompt_end.split() == text.split():  # white space apart
        return Opening(prompt_end=prompt_end, in_its_place=text)
    closing = _closing(prompt_end)
    if text.strip() or closing is None:
        return NOTHING  # the first row shows how they differ
    return Opening(closing, is_rendered=False, prompt_end=prompt_end)


def _common(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in alike)


def _closing(prompt_end: str) -> str | None:
    """What closes the reasoning that a prompt opens; empty where it is closed, None for others."""
    tags = re.findall(r"<(/?)([^<>/]+)>\s*", prompt_end)
    if not tags or re.sub(r"</?[^<>/]+>", "", prompt_end).strip():
        return None
    return "" if tags[-1][0] else f"\n</{tags[-1][1]}>\n\n"


def with_opening(template: str, text: str) -> str:
    """The template with ``text`` at the end of its prompts."""
    # Jinja drops the last line feed of a template.
    end = "{% if add_generation_prompt %}{{ " + dumps(text, ensure_ascii=False) + " }}{% endif %}"
    return template.removesuffix("\n") + end


def with_variables(template: str, variables: Mapping[str, bool | str]) -> str:
    """The template with ``variables`` set; of ``strftime_now``, a function, what it returns."""
    settings = ""
    for name, value in variables.items():
        # Jinja's literals are JSON's, but for the escape of non-ASCII text that it does not know.
        literal = dumps(value, ensure_ascii=False)
        if name == "strftime_now":
            settings += f"{{%- macro {name}(format) -%}}{{{{ {literal} }}}}{{%- endmacro -%}}"
        else:
            settings += f"{{%- set {name} = {literal} -%}}"
    return template if template.startswith(settings) else settings + template


def ways_out(tokenizer: Any, opening: Opening) -> str:
    """What to do about a template that puts something before answers."""
    if not opening.text:  # which depends on the conversation
        return "give the model another chat template"
    off = [
        f"model.chat_template_kwargs: {{{name}: false}}"
        for name in SWITCHES
        if name in tokenizer.chat_template and not find_opening(tokenizer, **{name: False}).text
    ]
    choice = (
        "model.thinking in pipeline.yaml: drop (it becomes part of the prompt, and the model "
        "answers at once), keep (it is not trained) or train-empty (the model learns to write it)"
    )
    return "set " + " or ".join([*off, choice])


def check_clock(tokenizer: Any, messages: Sequence[Message], where: str) -> None:
    """Raises UserError where the template writes what time it is into a prompt."""
    formats: list[str] = []

    def at(time: datetime) -> Clock:
        def strftime_now(form: str) -> str:
            formats.append(form)
            return time.strftime(form)

        return strftime_now

    def differs(**variables: str) -> bool:
        early, late = (
            render(tokenizer, messages, where, strftime_now=at(time), **variables) for time in TIMES
        )
        return early != late

    if not differs():
        return
    today = datetime.now().strftime(formats[0])
    named = dict.fromkeys(re.findall(r"\b\w*date\w*\b", tokenizer.chat_template))
    name = next((name for name in named if not differs(**{name: today})), "strftime_now")
    raise UserError(
        f"{where}: the chat template writes the date of the day into the prompt, so that the model "
        "would be served with another prompt than it was trained with; fix it, for instance with "
        f'model.chat_template_kwargs: {{{name}: "{today}"}}'
    )


def control_tokens(tokenizer: Any) -> list[str]:
    """Tokens that structure a chat; text that spells one would end a turn or begin another."""
    added = tokenizer.added_tokens_decoder.values()
    return sorted(
        {*tokenizer.all_special_tokens, *(token.content for token in added if token.special)}
    )
