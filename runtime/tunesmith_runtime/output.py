"""What is printed never ends a run with a traceback."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class Output(io.TextIOWrapper):
    """Shows any text; where nobody reads any more, as after ``head``, the process just ends."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise self._end(error) from None

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            raise self._end(error) from None

    def _end(self, error: OSError) -> SystemExit:
        # What is left goes nowhere; Python would try once more to write it, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
        if not isinstance(error, BrokenPipeError):  # a full disk, say
            print(f"standard output: {error.strerror}", file=sys.stderr)
        return SystemExit(1)  # which nothing on the way takes for an error of its own


@contextmanager
def whatever_shows_it() -> Iterator[None]:
    """Print through ``Output``, unless standard output is closed or somebody's own stream."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        now = sys.stdout.line_buffering or sys.stdout.write_through
        again = open(sys.stdout.fileno(), "wb", closefd=False)  # noqa: SIM115 — open to the end
        sys.stdout = Output(again, sys.stdout.encoding, "backslashreplace", line_buffering=now)
    try:
        yield
    finally:
        print(end="", flush=True)
