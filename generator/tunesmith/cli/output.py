"""What a command gives back: text, printed piece by piece so that both streams keep their order, and an exit code."""

import json
import sys

FAILED, CHANGES, CONFLICTS = 1, 2, 3


def say(text: str, *, err: bool = False) -> None:
    """Print `text` as it is."""
    stream = sys.stderr if err else sys.stdout
    stream.write(text)
    stream.flush()


def say_json(document: object) -> None:
    """Print one JSON document on a line."""
    # Only UTF-8 can hold what JSON may.
    say(json.dumps(document, ensure_ascii=sys.stdout.encoding.lower() != "utf-8") + "\n")
