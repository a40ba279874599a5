"""What a command gives back: text, printed piece by piece so that both streams keep their order, and an exit code."""

import io
import json
import os
import sys

FAILED, CHANGES, CONFLICTS = 1, 2, 3


def open_streams() -> None:
    """Make sure that what is printed never ends a run."""
    if sys.stdout is None:  # whoever started the process closed it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A spec may hold what this terminal has no character for. Standard error is made so already.
        sys.stdout.reconfigure(errors="backslashreplace")


def give_up_streams() -> None:
    """Nobody reads any more; Python, too, would write what it still holds when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())


def say(text: str, *, err: bool = False) -> None:
    """Print `text` as it is."""
    stream = sys.stderr if err else sys.stdout
    stream.write(text)
    stream.flush()


def say_json(document: object) -> None:
    """Print one JSON document on a line."""
    # Only UTF-8 can hold what JSON may.
    say(json.dumps(document, ensure_ascii=sys.stdout.encoding.lower() != "utf-8") + "\n")
