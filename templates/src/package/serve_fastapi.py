"""Serve the exported model over OpenAI's HTTP protocol until SIGTERM or Ctrl-C.

Refuses to start without an export, on a port in use, and, on any address but loopback, without
an API key.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import uvicorn
from transformers import AutoModelForCausalLM, AutoTokenizer
from tunesmith_runtime.base_model import max_positions
from tunesmith_runtime.errors import UserError, in_one_line

from .serving.app import create_app
from .serving.engine import Engine

LOOPBACK = ("127.0.0.1", "::1", "localhost")
logger = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Config:
    """Top-level values and section ``serve``."""

    run_dir: str
    dtype: Literal["float32", "bfloat16", "float16"]
    host: str
    port: int
    model_name: str  # what clients send as "model"
    api_key_env: str  # the environment variable that holds the API key
    max_model_len: int  # tokens, prompt and answer together
    max_new_tokens: int  # the longest answer, and a chat answer's limit when the request names none
    max_concurrent_requests: int  # prompts answered in one batch
    max_queue: int  # prompts that may wait for a place; more are refused with 429
    shutdown_timeout: int  # seconds to finish running answers after SIGTERM


def main(config: Config) -> dict[str, float | str]:
    """Serve ``run_dir/export``; how long it was up.

    Raises UserError where it cannot start, or the model does not load.
    """
    export = Path(config.run_dir) / "export"
    check_export(export, config)
    api_key = read_api_key(config)
    listener = listen(config)

    failures: list[Exception] = []

    def on_load_failed(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    engine = Engine(
        load=partial(load_model, export, config.dtype),
        on_load_failed=on_load_failed,
        max_concurrent_requests=config.max_concurrent_requests,
        max_queue=config.max_queue,
        max_model_len=config.max_model_len,
    )
    app = create_app(engine, config.model_name, config.max_new_tokens, api_key)
    # On SIGTERM uvicorn closes the socket and lets the answers that run finish.
    server = uvicorn.Server(uvicorn.Config(app, timeout_graceful_shutdown=config.shutdown_timeout))
    # Probes and scrapes would drown the requests in the log.
    logging.getLogger("uvicorn.access").addFilter(lambda record: " /v1/" in record.getMessage())
    started = time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listener])
    if failures:
        raise UserError(f"{export}: the model does not load: {in_one_line(failures[0])}")
    return {"uptime_seconds": round(time.monotonic() - started, 1)}


def load_model(export: Path, dtype: str) -> tuple[Any, Any]:
    """The model, on the GPU where there is one, and its tokenizer; from local files only."""
    tokenizer = AutoTokenizer.from_pretrained(export, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        export, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
    )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer


def check_export(export: Path, config: Config) -> None:
    """Raises UserError unless there is a model and its context holds ``max_model_len`` tokens."""
    try:
        model = json.loads((export / "config.json").read_bytes())
    except FileNotFoundError:
        raise UserError(f"{export}: no exported model here; run `make export` first") from None
    context = max_positions(model) or config.max_model_len
    if not config.max_new_tokens < config.max_model_len <= context:
        raise UserError(
            f"serve.max_model_len: {config.max_model_len} must be more than max_new_tokens"
            f" ({config.max_new_tokens}) and at most the model's context ({context})"
        )


def read_api_key(config: Config) -> str | None:
    """The key from the environment; None only on a loopback address, else UserError."""
    key = os.environ.get(config.api_key_env)
    if key:
        return key
    if config.host not in LOOPBACK:
        raise UserError(
            f"serve.host: {config.host} is reachable from other machines: set an API key in"
            f" {config.api_key_env}, or use 127.0.0.1"
        )
    logger.warning("%s is not set: anyone on this machine can use the server", config.api_key_env)
    return None


def listen(config: Config) -> socket.socket:
    """The listening socket, opened before the weights load so that a port in use shows at once."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"serve.port: cannot listen on {config.host}:{config.port}: {error}"
        ) from None
