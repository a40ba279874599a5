"""Text of rows and configs in Markdown: data, which must not become mark-up."""

import re
import unicodedata


def plain(text: str) -> str:
    """Text as one line of Markdown that shows its characters as they are."""
    line = "".join(f"\\{c}" if c in "\\`*_#[]<>|~&$" else c for c in _one_line(text))
    # At its start, the line would be a list or a rule.
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", line) or "(nothing)"


def code(text: str) -> str:
    """Text as a span of code on one line."""
    line = _one_line(text)
    # A fence longer than any run of backticks inside; a space, where one stands at an end.
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    space = " " if not line or "`" in (line[0], line[-1]) else ""
    return f"{fence}{space}{line}{space}{fence}"


def _one_line(text: str) -> str:
    return "".join(c for c in " ".join(text.split()) if unicodedata.category(c) != "Cc")
