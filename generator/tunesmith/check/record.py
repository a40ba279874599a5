"""The lock and the base archive belong together."""

import hashlib
import lzma
from collections.abc import Iterator
from pathlib import Path

from tunesmith.lock import BASE_PATH, MAX_BASE_BYTES, read_lock
from tunesmith.problem import Problem


def problems(root: Path) -> Iterator[Problem]:
    """A base archive that is not the one that the lock was written with."""
    lock = read_lock(root)
    if lock is None:
        yield Problem(str(root), 0, 0, "TS507", "holds no generated repository; `tunesmith apply` makes one")
        return
    try:
        with lzma.open(root / BASE_PATH) as archive:
            content = archive.read(MAX_BASE_BYTES)
    except FileNotFoundError:
        yield Problem(BASE_PATH, 0, 0, "TS507", "is missing; restore it from version control")
    except (OSError, EOFError, lzma.LZMAError):
        yield Problem(BASE_PATH, 0, 0, "TS507", "is damaged; restore it from version control")
    else:
        if hashlib.sha256(content).hexdigest() != lock.base:
            yield Problem(BASE_PATH, 0, 0, "TS507", "is not of the same generation as the lock; restore both")
