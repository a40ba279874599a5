"""OpenAI's HTTP protocol over an `engine.Engine`.

/v1/models, /v1/chat/completions, /v1/completions; /health (the process lives), /ready (the model
is loaded) and /metrics. Every refusal has OpenAI's shape, {"error": {message, type, param, code}}.
A parameter that this server does not honour is refused by name, unless its value asks for nothing
(n=1, a penalty of 0, null).
"""

import asyncio
import contextlib
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .engine import Delta, Engine, Generation, QueueFullError, SamplingParams

MAX_BODY_BYTES = 1 << 20
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/models")


# --- what a request may hold ---


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


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


StopString = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class CompletionOptions(Body):
    """What both endpoints take."""

    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: Annotated[list[StopString], BeforeValidator(_as_list)] = Field([], max_length=4)
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
    prompt: Annotated[list[str], BeforeValidator(_as_list)] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    echo: Literal[False] = False
    best_of: int = Field(1, ge=1, le=1)


BodyT = TypeVar("BodyT", bound=CompletionOptions)


# --- what it gets back ---


class APIError(Exception):
    """A refusal in OpenAI's format."""

    def __init__(
        self, status: int, message: str, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def body(self) -> dict[str, Any]:
        kinds = {429: "rate_limit_error", 500: "server_error", 503: "server_error"}
        return {
            "error": {
                "message": self.message,
                "type": kinds.get(self.status, "invalid_request_error"),
                "param": self.param,
                "code": self.code,
            }
        }

    def response(self) -> Response:
        headers = {}
        if self.status in (429, 503):
            headers["Retry-After"] = "1"
        elif self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body(), self.status, headers)


def unknown_model(name: str) -> APIError:
    message = f"The model '{name[:100]}' does not exist."
    return APIError(404, message, "model", "model_not_found")


# The cause is in the log, never in the answer.
INTERNAL_ERROR = APIError(500, "The server had an error while processing your request.")


class Metrics:
    def __init__(self, engine: Engine) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        shared: dict[str, Any] = {"namespace": "llm", "registry": self.registry}
        self.requests = Counter(
            "requests", "Requests by endpoint and HTTP status.", ["endpoint", "status"], **shared
        )
        self.finished = Counter(
            "answers", "Answers by the reason they ended.", ["finish_reason"], **shared
        )
        for reason in ("stop", "length", "cancelled", "error"):
            self.finished.labels(reason)
        self.prompt_tokens = Counter("prompt_tokens", "Prompt tokens read.", **shared)
        self.generation_tokens = Counter("generation_tokens", "Tokens generated.", **shared)
        self.first_token = Histogram(
            "time_to_first_token_seconds",
            "From the request to a prompt's first token.",
            buckets=SECONDS,
            **shared,
        )
        self.latency = Histogram(
            "e2e_request_latency_seconds",
            "From the request to a prompt's last token.",
            buckets=SECONDS,
            **shared,
        )
        running = Gauge("num_requests_running", "Prompts in the running batch.", **shared)
        running.set_function(lambda: len(engine.running))
        waiting = Gauge("num_requests_waiting", "Prompts waiting for a place.", **shared)
        waiting.set_function(lambda: len(engine.waiting))

    def note(self, delta: Delta, seconds: float) -> None:
        """Counts one piece of an answer, `seconds` after its request came."""
        answered = delta.finish_reason in (None, "stop", "length")
        if answered and delta.completion_tokens == 1:
            self.first_token.observe(seconds)
        if delta.finish_reason:
            self.finished.labels(delta.finish_reason).inc()
            self.generation_tokens.inc(delta.completion_tokens)
            if answered:
                self.latency.observe(seconds)


class CountRequests:
    """ASGI middleware: it sees refusals too, and leaves streams alone."""

    def __init__(self, app: ASGIApp, counter: Counter) -> None:
        self.app, self.counter = app, counter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Only known paths become a label: a scanner must not be able to fill the server's memory.
        if scope["type"] != "http" or scope["path"] not in ENDPOINTS:
            await self.app(scope, receive, send)
            return
        status = 499  # nginx's word for a client that left before it was answered

        async def send_and_note(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception:
            status = 500  # it is answered further out
            raise
        finally:
            self.counter.labels(scope["path"], status).inc()


def create_app(
    engine: Engine, model_name: str, max_new_tokens: int, api_key: str | None
) -> FastAPI:
    """The server. Without an `api_key` it answers only requests addressed to this very machine."""
    metrics = Metrics(engine)
    created = int(time.time())

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()  # the socket is open by now, so /health and /ready answer while weights load
        yield
        engine.close(timeout=5)

    async def authorize(request: Request) -> None:
        if api_key is None:
            # A web page open in a browser here could otherwise reach this port under its own name.
            if request.url.hostname not in ("127.0.0.1", "localhost", "::1"):
                raise APIError(403, "Without an API key this server answers to localhost only.")
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # HTTP headers arrive as latin-1; bytes compare whatever the key's characters are.
        expected = api_key.encode("utf-8", "surrogateescape")
        matches = hmac.compare_digest(token.strip().encode("latin-1"), expected)
        if scheme.lower() != "bearer" or not matches:
            raise APIError(401, "Incorrect or missing API key.", code="invalid_api_key")

    app = FastAPI(title=model_name, lifespan=lifespan, openapi_url=None)
    app.add_middleware(CountRequests, counter=metrics.requests)
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(authorize)])

    @app.exception_handler(APIError)
    async def on_refusal(_: Request, error: APIError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)  # unknown path, wrong method
    async def on_http_error(_: Request, error: HTTPException) -> Response:
        response = APIError(error.status_code, error.detail).response()
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(Exception)
    async def on_bug(_: Request, error: Exception) -> Response:
        return INTERNAL_ERROR.response()  # uvicorn logs the traceback

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=200 if engine.is_alive() else 500)

    @app.get("/ready")
    async def ready() -> Response:
        return Response(status_code=200 if engine.ready and engine.is_alive() else 503)

    @app.get("/metrics")
    async def expose_metrics() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @v1.get("/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [await model(model_name)]}

    @v1.get("/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        if name != model_name:
            raise unknown_model(name)
        about = {"id": model_name, "object": "model", "created": created, "owned_by": "local"}
        return {**about, "max_model_len": engine.max_model_len}

    @v1.post("/chat/completions")
    async def chat_completions(request: Request) -> Response:
        body = await read_body(request, ChatCompletionBody)
        if body.max_tokens is not None and body.max_completion_tokens is not None:
            raise APIError(400, "Give max_tokens or max_completion_tokens, not both.", "max_tokens")
        param = "max_tokens" if body.max_tokens is not None else "max_completion_tokens"
        messages = [
            {"role": message.role, "content": "\n".join(part.text for part in message.content)}
            for message in body.messages
        ]
        try:
            prompt = await asyncio.to_thread(engine.encode_chat, messages)
        except ValueError as error:
            raise APIError(400, f"Invalid messages: {error}.", "messages") from error
        return await answer(request, body, [prompt], getattr(body, param), param)

    @v1.post("/completions")
    async def completions(request: Request) -> Response:
        body = await read_body(request, CompletionBody)
        if len(body.prompt) > engine.max_queue:
            raise APIError(400, f"At most {engine.max_queue} prompts in a request.", "prompt")
        prompts = [await asyncio.to_thread(engine.encode, prompt) for prompt in body.prompt]
        asked = body.max_tokens or min(16, max_new_tokens)  # 16 is this endpoint's default
        return await answer(request, body, prompts, asked, "max_tokens")

    async def read_body(request: Request, kind: type[BodyT]) -> BodyT:
        if not engine.ready:
            raise APIError(503, "The model is still loading.", code="model_loading")
        # A browser sends other types across sites without asking first.
        content_type = request.headers.get("content-type", "").partition(";")[0]
        if content_type.strip().lower() != "application/json":
            raise APIError(415, "Content-Type must be application/json.")
        raw = b""
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BODY_BYTES:
                raise APIError(413, f"The request body exceeds {MAX_BODY_BYTES} bytes.")
        try:
            body = kind.model_validate_json(raw)
        except ValidationError as error:
            raise explain(error) from None
        if body.model != model_name:
            raise unknown_model(body.model)
        if body.stream_options is not None and not body.stream:
            raise APIError(400, "stream_options needs stream to be true.", "stream_options")
        return body

    async def answer(
        request: Request,
        body: CompletionOptions,
        prompts: list[list[int]],
        asked_tokens: int | None,
        tokens_param: str,
    ) -> Response:
        started = time.perf_counter()
        chat = isinstance(body, ChatCompletionBody)
        if asked_tokens is not None and asked_tokens > max_new_tokens:
            message = f"{tokens_param} is too large: this server gives at most {max_new_tokens}."
            raise APIError(400, message, tokens_param)
        loop, deltas = asyncio.get_running_loop(), asyncio.Queue[Delta]()

        def emit(delta: Delta) -> None:
            metrics.note(delta, time.perf_counter() - started)
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens any more
                loop.call_soon_threadsafe(deltas.put_nowait, delta)

        generations = []
        for index, prompt in enumerate(prompts):
            room = engine.max_model_len - len(prompt)
            if not prompt:
                raise APIError(400, "The prompt is empty.", "prompt")
            if room < (asked_tokens or 1):
                message = (
                    f"This model's maximum context length is {engine.max_model_len} tokens; the"
                    f" prompt has {len(prompt)} and the answer asks for {asked_tokens or 1}."
                )
                param = "messages" if chat else "prompt"
                raise APIError(400, message, param, "context_length_exceeded")
            params = SamplingParams(
                max_tokens=asked_tokens or min(max_new_tokens, room),
                temperature=body.temperature,
                top_p=body.top_p,
                seed=body.seed,
                stop=body.stop,
            )
            generations.append(Generation(index, prompt, params, emit))
        try:
            engine.submit(generations)
        except QueueFullError:
            raise APIError(429, "Too many requests are waiting.", code="queue_full") from None
        usage = {"prompt_tokens": sum(map(len, prompts)), "completion_tokens": 0, "total_tokens": 0}
        metrics.prompt_tokens.inc(usage["prompt_tokens"])

        async def follow() -> AsyncIterator[Delta]:
            unfinished = len(generations)
            while unfinished:
                delta = await deltas.get()
                if delta.finish_reason:
                    unfinished -= 1
                    usage["completion_tokens"] += delta.completion_tokens
                    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
                yield delta

        frame = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}",
            "object": "chat.completion" if chat else "text_completion",
            "created": int(time.time()),
            "model": model_name,
        }
        if body.stream:
            if chat:
                frame["object"] = "chat.completion.chunk"
            with_usage = body.stream_options is not None and body.stream_options.include_usage
            return StreamingResponse(
                stream_events(frame, follow(), chat, usage if with_usage else None),
                media_type="text/event-stream",
                headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
                # Runs, too, when the client has left.
                background=BackgroundTask(engine.cancel, generations),
            )

        watcher = asyncio.create_task(cancel_when_gone(request, engine, generations))
        texts, reasons = [""] * len(prompts), [""] * len(prompts)
        try:
            async for delta in follow():
                texts[delta.index] += delta.text
                reasons[delta.index] = delta.finish_reason or ""
        finally:
            watcher.cancel()
            engine.cancel(generations)
        if "error" in reasons:
            raise INTERNAL_ERROR
        if "cancelled" in reasons:
            return Response(status_code=499)
        choices = []
        for index, (text, reason) in enumerate(zip(texts, reasons, strict=True)):
            said = {"role": "assistant", "content": text, "refusal": None}
            content = {"message": said} if chat else {"text": text}
            choices.append({"index": index, **content, "logprobs": None, "finish_reason": reason})
        return JSONResponse({**frame, "choices": choices, "usage": usage})

    app.include_router(v1)
    return app


def explain(error: ValidationError) -> APIError:
    """The first thing that is wrong with a body, as OpenAI words it."""
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "json_invalid" or not first["loc"]:
        return APIError(400, "The request body is not a valid JSON object.")
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]]
    param = "".join(parts).lstrip(".")[:100]
    if first["type"] == "extra_forbidden":
        return APIError(400, f"Unsupported parameter: '{param}'.", param, "unsupported_parameter")
    if first["type"] == "missing":
        message = f"Missing required parameter: '{param}'."
        return APIError(400, message, param, "missing_required_parameter")
    return APIError(400, f"Invalid value for '{param}': {first['msg']}.", param, "invalid_value")


async def cancel_when_gone(request: Request, engine: Engine, generations: list[Generation]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    engine.cancel(generations)


async def stream_events(
    frame: dict[str, Any], deltas: AsyncIterator[Delta], chat: bool, usage: dict[str, int] | None
) -> AsyncIterator[str]:
    """Server-sent events; `usage`, where asked for, is complete once `deltas` has ended."""
    if usage is not None:
        frame = {**frame, "usage": None}

    def event(data: dict[str, Any]) -> str:
        return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n"

    def chunk(index: int, content: dict[str, str], reason: str | None = None) -> str:
        part = {"delta": content} if chat else {"text": content.get("content", "")}
        choice = {"index": index, **part, "logprobs": None, "finish_reason": reason}
        return event({**frame, "choices": [choice]})

    if chat:
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
