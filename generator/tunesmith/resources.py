"""Where the files that the tool ships are: templates, blueprints and the runtime package."""

import hashlib
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
    for root, pattern in ((_PACKAGE, "*.py"), (_PACKAGE / "stacks", "*.txt"), (TEMPLATES, "*"), (RUNTIME, "*.py")):
        for path in sorted(root.rglob(pattern)):
            name = path.relative_to(root)
            hidden = any(part.startswith((".", "__pycache__")) for part in name.parts)
            # In a wheel the templates lie inside the package.
            twice = root == _PACKAGE and name.parts[0] == "templates"
            if path.is_file() and not hidden and not twice:
                digest.update(name.as_posix().encode())
                digest.update(b"\0")
                digest.update(path.read_bytes())
    return digest.hexdigest()
