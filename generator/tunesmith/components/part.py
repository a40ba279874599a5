"""What a component contributes to a repository: files, packages, stages, settings, variables, make targets, checks."""

from pathlib import Path
from typing import Any, NamedTuple

from tunesmith.files.tree import Ownership
from tunesmith.resources import TEMPLATES


class Verbatim(str):
    """Text of the tool's own in a context, such as a line of a Makefile: it is printed as it stands."""

    __slots__ = ()


class Rendered(NamedTuple):
    """A file made from a template and a context of its own.

    Attributes:
        id: `component/name`; stays the same when the file moves.
        path: Where the file goes, relative to the repository.
        template: Path below `templates/`.
        context: Its fields are the template's variables.
        ownership: `merge`: the tool and the user both edit it; `once`: the user's from its creation on.
    """

    id: str
    path: str
    template: str
    context: NamedTuple
    ownership: Ownership = "merge"


class Copied(NamedTuple):
    """A file that is the same in every repository that has it.

    Attributes:
        ownership: As that of a rendered file, or `sealed`: not for users to edit.
    """

    id: str
    path: str
    origin: Path
    ownership: Ownership = "merge"


Output = Rendered | Copied


class Stage(NamedTuple):
    """A stage of the pipeline: `make NAME`, the module NAME of the package, the section NAME of configs/.

    Attributes:
        purpose: What it does, for `--help`: a verb and its objects.
        reads: What it reads, as Markdown.
        writes: What it writes, as Markdown.
        uses_one_gpu: Whether it hides all GPUs but one from libraries that would spread over them.
        resumes: Whether a stopped run goes on where it was.
        arguments: What follows `make NAME` in the usual real run.
    """

    name: str
    purpose: str
    reads: Verbatim
    writes: Verbatim
    uses_one_gpu: bool = False
    resumes: bool = False
    arguments: Verbatim | None = None


class Setting(NamedTuple):
    """A value in configs/.

    Attributes:
        value: A scalar, a list or a mapping on one line; a tuple of settings below this one; or, for a list of
            mappings, a list of such tuples.
        smoke: The smoke run's value, where it is another one.
        comment: Behind the value.
        smoke_comment: The same in the smoke run's file, where it is another one.
    """

    key: str
    value: Any
    smoke: Any = ...
    comment: str = ""
    smoke_comment: str | None = None


class Settings(NamedTuple):
    """A section of configs/.

    Attributes:
        only_smoke: Whether the real run has no use for it.
    """

    section: str
    settings: tuple[Setting, ...]
    only_smoke: bool = False


class Variable(NamedTuple):
    """Variables of the environment that a stage reads.

    Attributes:
        names: In the order in which they are to be filled in.
        purpose: One sentence.
        named_by: The value in configs/ that says the name, if any does.
    """

    names: tuple[str, ...]
    purpose: str
    named_by: str = ""


class Target(NamedTuple):
    """A target of the Makefile, beside those of the stages.

    Attributes:
        recipe: Its lines, without tabs.
        comment: Why it is as it is, where that is not plain.
    """

    name: str
    purpose: Verbatim
    recipe: tuple[Verbatim, ...]
    comment: str = ""


class Check(NamedTuple):
    """A step of `make smoke`.

    Attributes:
        function: What runs it, of the module `module` in the package's smoke/; a stage runs by itself.
    """

    name: str
    module: str = "stages"
    function: str = "run_stage"


class Part(NamedTuple):
    """All that a component contributes.

    Attributes:
        requirements: Packages that the stages import.
        untyped: Modules of theirs that mypy does not follow.
        development: Packages that tests and linters need beside them.
        settings: Sections of configs/.
        environment: What is read from the environment.
        checks: What `make smoke` runs for it.
    """

    outputs: tuple[Output, ...] = ()
    requirements: tuple[str, ...] = ()
    untyped: tuple[str, ...] = ()
    development: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    settings: tuple[Settings, ...] = ()
    environment: tuple[Variable, ...] = ()
    targets: tuple[Target, ...] = ()
    checks: tuple[Check, ...] = ()


def module(id_: str, package: str, path: str, origin: str | None = None) -> Copied:
    """A module of the package that is the same everywhere; `origin` is where it lies, if under another name."""
    return Copied(id_, f"src/{package}/{path}", TEMPLATES / "src" / "package" / (origin or path))
