"""Become vLLM's OpenAI-compatible server for the exported model.

Refuses to start without an export, without vLLM, and, on any address but loopback, without an API
key.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from tunesmith_runtime.base_model import max_positions
from tunesmith_runtime.errors import UserError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
logger = logging.getLogger(__name__)


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
    max_new_tokens: int  # the longest answer; vLLM shortens a request that asks for more
    max_concurrent_requests: int  # prompts answered in one batch
    max_queue: int  # prompts that may wait for a place; more are refused
    shutdown_timeout: int  # seconds to finish running answers after SIGTERM
    enforce_eager: bool  # no compilation: starts sooner (a CPU, a smoke run), answers slower


def main(config: Config) -> NoReturn:
    """Become a server of ``run_dir/export``. Raises UserError where it cannot start."""
    export = Path(config.run_dir) / "export"
    check_export(export, config)
    check_vllm()
    api_key = read_api_key(config)
    check_port(config)

    environment = dict(os.environ)
    # A Kubernetes Service named vllm-… injects VLLM_PORT=tcp://…, which vLLM would read as a port.
    environment.pop("VLLM_PORT", None)
    # Through the environment: every user of this machine can read a command line.
    environment.pop("VLLM_API_KEY", None)
    if api_key is not None:
        environment["VLLM_API_KEY"] = api_key
    environment |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    # From here on this process is vLLM: it gets the signals, and its exit status is ours.
    os.execve(sys.executable, command(export, config), environment)


def check_vllm() -> None:
    """Raises UserError where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise UserError(
            "vLLM is not installed; add it with `make setup-serve`, or, on a machine without"
            " a GPU, with `make setup-serve-cpu`"
        )


def command(export: Path, config: Config) -> list[str]:
    """vLLM's command line. The module, because the CPU build's ``vllm`` command does not start."""
    options = {
        "model": export,
        "served-model-name": config.model_name,
        "dtype": config.dtype,
        "max-model-len": config.max_model_len,
        "override-generation-config": json.dumps({"max_new_tokens": config.max_new_tokens}),
        "max-num-seqs": config.max_concurrent_requests,
        "max-num-queued-reqs": config.max_queue,
        "shutdown-timeout": config.shutdown_timeout,
        "host": config.host,
        "port": config.port,
    }
    module = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    eager = ["--enforce-eager"] if config.enforce_eager else []
    return module + [f"--{name}={value}" for name, value in options.items()] + eager


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


def check_port(config: Config) -> None:
    """Raises UserError when the port is taken: vLLM would say so only after loading the model."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        socket.create_server((config.host, config.port), family=family).close()
    except (OSError, OverflowError) as error:
        raise UserError(
            f"serve.port: cannot listen on {config.host}:{config.port}: {error}"
        ) from None
