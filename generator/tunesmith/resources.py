"""Where the files that the tool ships are: templates, blueprints and the runtime package."""

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tunesmith import __version__

_PACKAGE = Path(__file__).resolve().parent
_CHECKOUT = _PACKAGE.parents[1]


def _first(installed: Path, in_checkout: Path) -> Path:
    return installed if installed.is_dir() else in_checkout


# A wheel carries these folders inside the package, and the runtime beside it.
TEMPLATES = _first(_PACKAGE / "templates", _CHECKOUT / "templates")
BLUEPRINTS = _first(_PACKAGE / "blueprints", _CHECKOUT / "blueprints")
RUNTIME = _first(_PACKAGE.parent / "tunesmith_runtime", _CHECKOUT / "runtime" / "tunesmith_runtime")


@cache
def generator_digest() -> str:
    """Digest of everything that decides what a spec is rendered to.

    Two tools with the same digest render the same spec to the same bytes.
    """
    digest = hashlib.sha256(__version__.encode())
    for root, ending in ((_PACKAGE, ".py"), (_PACKAGE / "stacks", ".txt"), (TEMPLATES, ""), (RUNTIME, ".py")):
        for path in _files(str(root), ending):
            # In a wheel the templates lie inside the package.
            if root != _PACKAGE or not path.startswith(str(_PACKAGE / "templates")):
                digest.update(path.removeprefix(str(root)).replace(os.sep, "/").encode())
                digest.update(b"\0")
                with open(path, "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()


def _files(root: str, ending: str) -> Iterator[str]:
    """Files below `root` that are not hidden, in an order that is the same everywhere."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        for name in sorted(names):
            if name.endswith(ending) and not name.startswith("."):
                yield os.path.join(folder, name)
