"""The server: /v1/models, /v1/chat/completions and /v1/completions over an ``engine.Engine``.

Beside them /health (the process lives), /ready (the model is loaded) and /metrics.
"""

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import prometheus_client as prometheus
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .engine import Delta, Engine, Generation, QueueFullError, SamplingParams
from .protocol import (
    INTERNAL_ERROR,
    AnswerFormat,
    AnyBody,
    APIError,
    BodyT,
    ChatCompletionBody,
    CompletionBody,
    parse,
    unknown_model,
)

MAX_BODY_BYTES = 1 << 20
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/models")
Asked = tuple[list[int], SamplingParams]  # a prompt's tokens, and how to answer it


class Metrics:
    def __init__(self, engine: Engine) -> None:
        self.registry = registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=registry)
        counter = partial(prometheus.Counter, namespace="llm", registry=registry)
        gauge = partial(prometheus.Gauge, namespace="llm", registry=registry)
        seconds = partial(prometheus.Histogram, namespace="llm", registry=registry, buckets=SECONDS)
        self.requests = counter(
            "requests", "Requests by endpoint and HTTP status.", ["endpoint", "status"]
        )
        self.finished = counter("answers", "Answers by the reason they ended.", ["finish_reason"])
        for reason in ("stop", "length", "cancelled", "error"):
            self.finished.labels(reason)
        self.prompt_tokens = counter("prompt_tokens", "Prompt tokens read.")
        self.generation_tokens = counter("generation_tokens", "Tokens generated.")
        self.first_token = seconds(
            "time_to_first_token_seconds", "From the request to a prompt's first token."
        )
        self.latency = seconds(
            "e2e_request_latency_seconds", "From the request to a prompt's last token."
        )
        running = gauge("num_requests_running", "Prompts in the running batch.")
        running.set_function(lambda: len(engine.running))
        waiting = gauge("num_requests_waiting", "Prompts waiting for a place.")
        waiting.set_function(lambda: len(engine.waiting))

    def note(self, delta: Delta, seconds: float) -> None:
        """Count one piece of an answer, ``seconds`` after its request came."""
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

    def __init__(self, app: ASGIApp, counter: prometheus.Counter) -> None:
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
    """The server. Without an ``api_key`` it answers only requests sent to this very machine."""
    metrics = Metrics(engine)
    endpoints = Endpoints(engine, metrics, model_name, max_new_tokens, api_key)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()  # the socket is open by now, so /health and /ready answer while weights load
        yield
        engine.close(timeout=5)

    app = FastAPI(title=model_name, lifespan=lifespan, openapi_url=None)
    app.add_middleware(CountRequests, counter=metrics.requests)
    for kind in (APIError, HTTPException, Exception):
        app.add_exception_handler(kind, on_error)

    @app.get("/health")
    async def health() -> Response:
        return Response(status_code=200 if engine.is_alive() else 500)

    @app.get("/ready")
    async def ready() -> Response:
        return Response(status_code=200 if engine.ready and engine.is_alive() else 503)

    @app.get("/metrics")
    async def expose_metrics() -> Response:
        text = prometheus.generate_latest(metrics.registry)
        return Response(text, media_type=prometheus.CONTENT_TYPE_LATEST)

    v1 = APIRouter(prefix="/v1", dependencies=[Depends(endpoints.authorize)])
    v1.add_api_route("/models", endpoints.models)
    v1.add_api_route("/models/{name:path}", endpoints.model)
    v1.add_api_route("/chat/completions", endpoints.chat_completions, methods=["POST"])
    v1.add_api_route("/completions", endpoints.completions, methods=["POST"])
    app.include_router(v1)
    return app


async def on_error(_: Request, error: Exception) -> Response:
    """Whatever goes wrong, in OpenAI's format; uvicorn logs the traceback of a bug."""
    if isinstance(error, HTTPException):  # unknown path, wrong method
        response = APIError(error.status_code, error.detail).response()
        response.headers.update(error.headers or {})
        return response
    return (error if isinstance(error, APIError) else INTERNAL_ERROR).response()


@dataclass(frozen=True)
class Endpoints:
    """What stands below /v1."""

    engine: Engine
    metrics: Metrics
    model_name: str
    max_new_tokens: int
    api_key: str | None
    created: int = field(default_factory=lambda: int(time.time()))

    async def authorize(self, request: Request) -> None:
        if self.api_key is None:
            # A web page open in a browser here could otherwise reach this port under its own name.
            if request.url.hostname not in ("127.0.0.1", "localhost", "::1"):
                raise APIError(403, "Without an API key this server answers to localhost only.")
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # HTTP headers arrive as latin-1; bytes compare whatever the key's characters are.
        expected = self.api_key.encode("utf-8", "surrogateescape")
        matches = hmac.compare_digest(token.strip().encode("latin-1"), expected)
        if scheme.lower() != "bearer" or not matches:
            raise APIError(401, "Incorrect or missing API key.", code="invalid_api_key")

    async def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [await self.model(self.model_name)]}

    async def model(self, name: str) -> dict[str, Any]:
        if name != self.model_name:
            raise unknown_model(name)
        about = {"id": name, "object": "model", "created": self.created, "owned_by": "local"}
        return {**about, "max_model_len": self.engine.max_model_len}

    async def chat_completions(self, request: Request) -> Response:
        body = await self.read(request, ChatCompletionBody)
        if body.max_tokens is not None and body.max_completion_tokens is not None:
            raise APIError(400, "Give max_tokens or max_completion_tokens, not both.", "max_tokens")
        messages = [
            {"role": message.role, "content": "\n".join(part.text for part in message.content)}
            for message in body.messages
        ]
        try:
            prompt = await asyncio.to_thread(self.engine.encode_chat, messages)
        except ValueError as error:
            raise APIError(400, f"Invalid messages: {error}.", "messages") from error
        max_tokens = body.max_tokens or body.max_completion_tokens
        return await self.answer(request, body, [prompt], max_tokens)

    async def completions(self, request: Request) -> Response:
        body = await self.read(request, CompletionBody)
        if len(body.prompt) > self.engine.max_queue:
            raise APIError(400, f"At most {self.engine.max_queue} prompts in a request.", "prompt")
        prompts = [await asyncio.to_thread(self.engine.encode, prompt) for prompt in body.prompt]
        max_tokens = body.max_tokens or min(16, self.max_new_tokens)  # 16 is OpenAI's default here
        return await self.answer(request, body, prompts, max_tokens)

    async def read(self, request: Request, kind: type[BodyT]) -> BodyT:
        """The request's body. Raises APIError where it is not one that can be answered."""
        if not self.engine.ready:
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
        body = parse(raw, kind)
        if body.model != self.model_name:
            raise unknown_model(body.model)
        if body.stream_options is not None and not body.stream:
            raise APIError(400, "stream_options needs stream to be true.", "stream_options")
        return body

    async def answer(
        self, request: Request, body: AnyBody, prompts: list[list[int]], max_tokens: int | None
    ) -> Response:
        """Answer each prompt; ``max_tokens`` of None stands for as many as there may be."""
        if max_tokens is not None and max_tokens > self.max_new_tokens:
            param = "max_tokens" if body.max_tokens is not None else "max_completion_tokens"
            message = f"{param} is too large: this server gives at most {self.max_new_tokens}."
            raise APIError(400, message, param)
        asked = [(prompt, self.sampling(body, prompt, max_tokens)) for prompt in prompts]
        answer_format = AnswerFormat(self.model_name, isinstance(body, ChatCompletionBody))
        answer = Answer(self.engine, self.metrics, answer_format, asked)
        if not body.stream:
            return await answer.whole(request)
        return answer.stream(body.stream_options is not None and body.stream_options.include_usage)

    def sampling(self, body: AnyBody, prompt: list[int], max_tokens: int | None) -> SamplingParams:
        """Raises APIError where the prompt is empty or leaves the answer too little room."""
        if not prompt:
            raise APIError(400, "The prompt is empty.", "prompt")
        room = self.engine.max_model_len - len(prompt)
        if room < (max_tokens or 1):
            message = (
                f"This model's maximum context length is {self.engine.max_model_len} tokens; the"
                f" prompt has {len(prompt)} and the answer asks for {max_tokens or 1}."
            )
            param = "messages" if isinstance(body, ChatCompletionBody) else "prompt"
            raise APIError(400, message, param, "context_length_exceeded")
        tokens = max_tokens or min(self.max_new_tokens, room)
        return SamplingParams(
            max_tokens=tokens,
            temperature=body.temperature,
            top_p=body.top_p,
            top_k=body.top_k,
            repetition_penalty=body.repetition_penalty,
            seed=body.seed,
            stop=body.stop,
        )


class Answer:
    """One request's answer: the model's thread emits it, the event loop sends it.

    Raises APIError where the queue has no place for all of its prompts.
    """

    def __init__(
        self, engine: Engine, metrics: Metrics, answer_format: AnswerFormat, asked: list[Asked]
    ) -> None:
        self.engine, self.metrics, self.format = engine, metrics, answer_format
        self.started = time.perf_counter()
        self.loop, self.deltas = asyncio.get_running_loop(), asyncio.Queue[Delta]()
        self.generations = [Generation(i, *one, self.emit) for i, one in enumerate(asked)]
        try:
            engine.submit(self.generations)
        except QueueFullError:
            raise APIError(429, "Too many requests are waiting.", code="queue_full") from None
        tokens = sum(len(prompt) for prompt, _ in asked)
        metrics.prompt_tokens.inc(tokens)
        self.usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}

    def emit(self, delta: Delta) -> None:
        self.metrics.note(delta, time.perf_counter() - self.started)
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody listens any more
            self.loop.call_soon_threadsafe(self.deltas.put_nowait, delta)

    async def follow(self) -> AsyncIterator[Delta]:
        """Every piece; after the last, ``usage`` is complete."""
        unfinished = len(self.generations)
        while unfinished:
            delta = await self.deltas.get()
            if delta.finish_reason:
                unfinished -= 1
                self.usage["completion_tokens"] += delta.completion_tokens
                self.usage["total_tokens"] += delta.completion_tokens
            yield delta

    def stream(self, with_usage: bool) -> Response:
        return StreamingResponse(
            self.format.events(self.follow(), self.usage if with_usage else None),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
            # Runs, too, when the client has left.
            background=BackgroundTask(self.engine.cancel, self.generations),
        )

    async def whole(self, request: Request) -> Response:
        watcher = asyncio.create_task(self.cancel_when_gone(request))
        texts, reasons = [""] * len(self.generations), [""] * len(self.generations)
        try:
            async for delta in self.follow():
                texts[delta.index] += delta.text
                reasons[delta.index] = delta.finish_reason or ""
        finally:
            watcher.cancel()
            self.engine.cancel(self.generations)
        if "error" in reasons:
            raise INTERNAL_ERROR
        if "cancelled" in reasons:
            return Response(status_code=499)
        return JSONResponse(self.format.whole(texts, reasons, self.usage))

    async def cancel_when_gone(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.engine.cancel(self.generations)
