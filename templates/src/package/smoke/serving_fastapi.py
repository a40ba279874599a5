"""The serve step: a question to the server of this repository."""

from __future__ import annotations

from .asking import ask
from .stages import Metrics, Run


def serve_and_ask(run: Run, name: str) -> Metrics:
    """Serve the exported model and ask it a held-out question."""
    return ask(run, "/ready")
