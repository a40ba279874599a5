"""What a component hands over: a file that is to be, and what its template sees."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.files.tree import Ownership

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Rendered:
    """A file made from a template and a context of its own.

    Attributes:
        id: `component/name`; stays the same when the file moves.
        path: Where the file goes, relative to the repository.
        template: Path below `templates/`.
        context: A dataclass; its fields are the template's variables.
        ownership: As of the file.
    """

    id: str
    path: str
    template: str
    context: "DataclassInstance"
    ownership: Ownership = "merge"


@dataclass(frozen=True)
class Copied:
    """A file that is the same in every repository that has it.

    Attributes:
        ownership: As of the file.
    """

    id: str
    path: str
    origin: Path
    ownership: Ownership = "sealed"


Source = Rendered | Copied
