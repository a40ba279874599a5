"""OpenAI's protocol: what a request may hold, and what a client gets back.

Every refusal has OpenAI's shape, {"error": {message, type, param, code}}. A parameter that is not
honoured is refused by name, unless its value asks for nothing: null always does, and the tables
below say which other values do.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

if TYPE_CHECKING:
    from .engine import Delta

# Parameters that are not honoured, each with the values that ask for nothing.
Table = dict[str, tuple[Any, ...]]
LABEL = (str,)  # any text: a name for the caller's own use, which changes no answer

# fmt: off
OPENAI: Table = {
    "n": (1,), "best_of": (1,), "echo": (False,), "suffix": ("",), "modalities": (["text"],),
    "frequency_penalty": (0,), "presence_penalty": (0,), "logit_bias": ({},),
    "logprobs": (False, 0), "top_logprobs": (0,),
    # There are no tools, so that "auto" finds none and none are called in parallel.
    "tools": ([],), "tool_choice": ("none", "auto"), "parallel_tool_calls": (False, True),
    "functions": ([],), "function_call": ("none", "auto"),
    "reasoning_effort": ("none",), "verbosity": ("medium",),
    "audio": (), "moderation": (), "prediction": (), "web_search_options": (),
    "store": (False,), "metadata": ({},), "service_tier": ("auto", "default"),
    "prompt_cache_options": ({}, {"mode": "implicit"}), "prompt_cache_retention": ("in_memory",),
    "prompt_cache_key": LABEL, "safety_identifier": LABEL, "user": LABEL,
}
# What other servers of this protocol have beside that, so that their clients can talk to this one.
BEYOND_OPENAI: Table = {
    "min_p": (0,), "length_penalty": (1,), "use_beam_search": (False,), "watermarking": (False,),
    "bad_words": ([],), "allowed_token_ids": ([],), "logprob_token_ids": ([],),
    "min_tokens": (0,), "ignore_eos": (False,), "stop_token_ids": ([],),
    "include_stop_str_in_output": (False,), "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True,), "stream_interval": (1,), "priority": (0,),
    "return_token_ids": (False,), "return_tokens_as_token_ids": (False,),
    "return_token_offsets": (False,), "return_mm_kwargs": (False,), "mm_payload": ("tensors",),
    "routed_experts_prompt_start": (0,), "kv_transfer_params": ({},), "ec_transfer_params": ({},),
    "request_id": LABEL, "session_id": LABEL, "cache_salt": LABEL,
}
BEYOND_OPENAI_CHAT: Table = {
    "add_generation_prompt": (True,), "continue_final_message": (False,),
    "add_special_tokens": (False,), "chat_template_kwargs": ({},), "documents": ([],),
    "include_reasoning": (True,), "return_prompt_text": (False,),
    "media_io_kwargs": ({},), "mm_processor_kwargs": ({},),
}
BEYOND_OPENAI_COMPLETION: Table = {"add_special_tokens": (True,)}
# A message may be an answer that is sent back, with all that some server put into it.
MESSAGE: Table = {
    "name": LABEL, "id": LABEL, "annotations": ([],), "refusal": ("",), "audio": (),
    "reasoning": ("",), "reasoning_content": ("",),
    "tool_calls": ([],), "tool_call_id": (), "function_call": (),
}
TEXT_PART: Table = {"annotations": ([],), "prompt_cache_breakpoint": ()}
STREAM_OPTIONS: Table = {"include_obfuscation": (False,), "continuous_usage_stats": (False,)}
# fmt: on

AsList = BeforeValidator(lambda v: [v] if isinstance(v, str) else v)
StopString = Annotated[str, Field(min_length=1, max_length=1000)]


def asks_for_nothing(value: Any, harmless: tuple[Any, ...]) -> bool:
    """Whether it is null, or one of the values."""
    if harmless == LABEL:
        return value is None or isinstance(value, str)
    # To Python, unlike to JSON, true is 1.
    same = (value == one and isinstance(value, bool) == isinstance(one, bool) for one in harmless)
    return value is None or any(same)


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    not_honoured: ClassVar[Table] = {}

    @model_validator(mode="before")
    @classmethod
    def leave_out_what_asks_for_nothing(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        table = cls.not_honoured
        return {k: v for k, v in data.items() if not asks_for_nothing(v, table.get(k, ()))}


class TextPart(Body):
    not_honoured = TEXT_PART

    type: Literal["text"]
    text: str


class ChatMessage(Body):
    not_honoured = MESSAGE

    role: Annotated[
        Literal["system", "user", "assistant"],
        BeforeValidator(lambda v: "system" if v == "developer" else v),  # its newer name
    ]
    content: Annotated[
        list[TextPart],
        BeforeValidator(lambda v: [{"type": "text", "text": v}] if isinstance(v, str) else v),
    ]


class ResponseFormat(Body):
    type: Literal["text"] = "text"


class StreamOptions(Body):
    not_honoured = STREAM_OPTIONS

    include_usage: bool = False


class CompletionOptions(Body):
    """What both endpoints take."""

    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    # These two only switch off what the model's generation_config.json may switch on.
    top_k: Literal[-1, 0] | None = None
    repetition_penalty: float | None = Field(None, ge=1, le=1)
    stop: Annotated[list[StopString], AsList] = Field([], max_length=4)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None


class ChatCompletionBody(CompletionOptions):
    not_honoured = OPENAI | BEYOND_OPENAI | BEYOND_OPENAI_CHAT

    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)


class CompletionBody(CompletionOptions):
    not_honoured = OPENAI | BEYOND_OPENAI | BEYOND_OPENAI_COMPLETION

    prompt: Annotated[list[str], AsList] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)


AnyBody = ChatCompletionBody | CompletionBody
BodyT = TypeVar("BodyT", ChatCompletionBody, CompletionBody)


class APIError(Exception):
    """A refusal in OpenAI's format."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def body(self) -> dict[str, Any]:
        kinds = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
        kind = kinds.get(self.status, "invalid_request_error")
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> Response:
        again, bearer = {"Retry-After": "1"}, {"WWW-Authenticate": "Bearer"}
        headers = {401: bearer, 429: again, 503: again}
        return JSONResponse(self.body(), self.status, headers.get(self.status))


def unknown_model(name: str) -> APIError:
    return APIError(404, f"The model '{name[:100]}' does not exist.", "model", "model_not_found")


def parse(raw: bytes, kind: type[BodyT]) -> BodyT:
    """Raises APIError about the first thing that is wrong with a body, as OpenAI words it."""
    try:
        return kind.model_validate_json(raw)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
    # A message that only calls a tool lacks a content, too; that is not what is wrong with it.
    first = min(errors, key=lambda error: error["type"] == "missing")
    if first["type"] == "json_invalid" or not first["loc"]:
        raise APIError(400, "The request body is not a valid JSON object.")
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]]
    param = "".join(parts).lstrip(".")[:100]
    if first["type"] == "missing":
        message = f"Missing required parameter: '{param}'."
        raise APIError(400, message, param, "missing_required_parameter")
    reason = first["msg"]
    if first["type"] == "extra_forbidden":
        tables = MESSAGE | TEXT_PART | STREAM_OPTIONS | kind.not_honoured
        harmless = tables.get(str(first["loc"][-1]), ())
        if not harmless:
            message = f"Unsupported parameter: '{param}'."
            raise APIError(400, message, param, "unsupported_parameter")
        values = ["any text" if value is str else json.dumps(value) for value in harmless]
        reason = f"this server takes only {' or '.join(values)}"
    raise APIError(400, f"Invalid value for '{param}': {reason}.", param, "invalid_value")


# The cause is in the log, never in the answer.
INTERNAL_ERROR = APIError(500, "The server had an error while processing your request.")


class AnswerFormat:
    """How one answer is written: a chat's or a plain completion's, whole or in pieces."""

    def __init__(self, model: str, chat: bool) -> None:
        self.chat = chat
        self.frame: dict[str, Any] = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": model,
        }

    def whole(self, texts: list[str], reasons: list[str], usage: dict[str, int]) -> dict[str, Any]:
        """The body of an answer that is not streamed."""
        choices = []
        for index, (text, reason) in enumerate(zip(texts, reasons, strict=True)):
            said = {"role": "assistant", "content": text, "refusal": None}
            content = {"message": said} if self.chat else {"text": text}
            choices.append({"index": index, **content, "logprobs": None, "finish_reason": reason})
        return {**self.frame, "choices": choices, "usage": usage}

    async def events(
        self, deltas: AsyncIterator[Delta], usage: dict[str, int] | None
    ) -> AsyncIterator[str]:
        """Server-sent events; ``usage``, where asked for, is complete once ``deltas`` has ended."""
        frame = {**self.frame, "object": "chat.completion.chunk"} if self.chat else self.frame
        if usage is not None:
            frame = {**frame, "usage": None}

        def event(data: dict[str, Any]) -> str:
            return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"

        def chunk(index: int, content: dict[str, str], reason: str | None = None) -> str:
            part = {"delta": content} if self.chat else {"text": content.get("content", "")}
            choice = {"index": index, **part, "logprobs": None, "finish_reason": reason}
            return event({**frame, "choices": [choice]})

        if self.chat:
            yield chunk(0, {"role": "assistant", "content": ""})
        async for delta in deltas:
            if delta.finish_reason in ("error", "cancelled"):
                yield event(INTERNAL_ERROR.body())
                return
            if delta.text:
                yield chunk(delta.index, {"content": delta.text})
            if delta.finish_reason:
                yield chunk(delta.index, {}, delta.finish_reason)
        if usage is not None:
            yield event({**frame, "choices": [], "usage": usage})
        yield "data: [DONE]\n\n"
