"""A problem with something the user gave us: one line, a stable code, and a place where there is one."""

from typing import NamedTuple


class Problem(NamedTuple):
    """One line of bad news. `line` and `column` count from 1; 0 means that there is none."""

    file: str
    line: int
    column: int
    code: str
    message: str

    def __str__(self) -> str:
        place = printable(self.file)
        if self.line:
            place += f":{self.line}"
            if self.column:
                place += f":{self.column}"
        message = printable(self.message)
        return f"{place}: {self.code} {message}" if place else f"{self.code} {message}"


def printable(text: str) -> str:
    """`text` with an escape for what a terminal would not show, or would obey."""
    # One problem is one line, whatever text of the user's is in it.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


class TunesmithError(Exception):
    """Something the user can mend. Carries every problem that was found, in order of place."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def of(cls, code: str, message: str, file: str = "", line: int = 0, column: int = 0) -> "TunesmithError":
        """The error made of one problem."""
        return cls(Problem(file, line, column, code, message))


def shorten(text: object, limit: int = 60) -> str:
    """`text` in quotes, cut to `limit` characters, for use in a message."""
    shown = str(text)
    return repr(shown if len(shown) <= limit else shown[: limit - 1] + "…")
