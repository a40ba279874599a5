"""OpenAI's protocol: what a request may hold, and what a client gets back.

Every refusal has OpenAI's shape, {"error": {message, type, param, code}}. A parameter that is not
honoured is refused by name, unless its value asks for nothing (n=1, a penalty of 0, null).
"""

import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from .engine import Delta

AsList = BeforeValidator(lambda v: [v] if isinstance(v, str) else v)
StopString = Annotated[str, Field(min_length=1, max_length=1000)]


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def null_means_not_given(cls, data: Any) -> Any:
        return {k: v for k, v in data.items() if v is not None} if isinstance(data, dict) else data


class TextPart(Body):
    type: Literal["text"]
    text: str


class ChatMessage(Body):
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
    include_usage: bool = False


class CompletionOptions(Body):
    """What both endpoints take."""

    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: Annotated[list[StopString], AsList] = Field([], max_length=4)
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    stream: bool = False
    stream_options: StreamOptions | None = None
    user: str | None = None  # a label for the caller's own use
    n: int = Field(1, ge=1, le=1)
    presence_penalty: float = Field(0, ge=0, le=0)
    frequency_penalty: float = Field(0, ge=0, le=0)
    logit_bias: dict[str, float] | None = Field(None, max_length=0)


class ChatCompletionBody(CompletionOptions):
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: Literal[False] = False
    response_format: ResponseFormat | None = None
    tools: list[Any] = Field([], max_length=0)


class CompletionBody(CompletionOptions):
    prompt: Annotated[list[str], AsList] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    echo: Literal[False] = False
    best_of: int = Field(1, ge=1, le=1)


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
        first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "json_invalid" or not first["loc"]:
        raise APIError(400, "The request body is not a valid JSON object.")
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]]
    param = "".join(parts).lstrip(".")[:100]
    if first["type"] == "extra_forbidden":
        raise APIError(400, f"Unsupported parameter: '{param}'.", param, "unsupported_parameter")
    if first["type"] == "missing":
        message = f"Missing required parameter: '{param}'."
        raise APIError(400, message, param, "missing_required_parameter")
    raise APIError(400, f"Invalid value for '{param}': {first['msg']}.", param, "invalid_value")


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
