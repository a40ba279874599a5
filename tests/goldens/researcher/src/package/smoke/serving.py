"""The serve step: a question to vLLM, where it is installed."""

from __future__ import annotations

import os

from tunesmith_runtime.errors import UserError

from ..serve import check_vllm
from .asking import ask
from .stages import CannotRunError, Metrics, Run


def serve_and_ask(run: Run, name: str) -> Metrics:
    """Serve the exported model and ask it a held-out question."""
    try:
        check_vllm()
    except UserError as error:
        raise CannotRunError(str(error)) from None
    space = os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB, on a CPU
    return ask(run, "/health", VLLM_CPU_KVCACHE_SPACE=space)
