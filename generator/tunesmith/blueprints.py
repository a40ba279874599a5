"""Blueprints: copier templates that interview and write a pipeline.yaml and starter data."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import yaml

from tunesmith.data_files import check_data_files
from tunesmith.files.lock import SPEC_NAME
from tunesmith.problem import TunesmithError
from tunesmith.resources import BLUEPRINTS
from tunesmith.spec.load import load_spec


class Blueprint(NamedTuple):
    """A blueprint that the tool ships."""

    name: str
    description: str
    questions: tuple[str, ...]


def shipped() -> list[Blueprint]:
    """The blueprints that come with the tool."""
    found = []
    for path in sorted(BLUEPRINTS.glob("*/copier.yml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        questions = tuple(key for key in document if not key.startswith("_"))
        found.append(Blueprint(path.parent.name, document["_message_before_copy"], questions))
    return found


def init(blueprint: str, target: Path, answers: dict[str, str], *, defaults: bool) -> list[str]:
    """Interview the user and write the blueprint's files into `target`, all or none of them.

    Args:
        blueprint: Name of a shipped blueprint, a folder, or a git URL.
        target: A folder that does not exist or is empty.
        answers: Answers given beforehand, by question.
        defaults: Take the default of every other question instead of asking.

    Returns:
        The paths written, relative to `target`.

    Raises:
        TunesmithError: TS401–TS404 for the target, TS601–TS603 for the blueprint and its answers, and every problem
            of the spec that the answers lead to.
    """
    _check_target(target)
    source = locate(blueprint)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise TunesmithError.of("TS403", f"cannot be written: {error.strerror}", str(target.parent)) from None
    try:
        _copy(blueprint, source, draft, answers, defaults=defaults)
        _check_draft(blueprint, draft, target)
        draft.chmod(0o755)
        if target.is_dir():
            target.rmdir()
        draft.rename(target)
    except OSError as error:
        raise TunesmithError.of("TS403", f"cannot be written: {error.strerror}", str(target)) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())


def _check_target(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise TunesmithError.of("TS402", "is a file; name a folder that is not there yet, or an empty one", str(target))
    if target.is_dir() and any(target.iterdir()):
        raise TunesmithError.of(
            "TS401", "is not empty; name a folder that is not there yet, or an empty one", str(target)
        )
    above = next(folder for folder in (target, *target.absolute().parents) if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise TunesmithError.of(
            "TS403", "cannot be written; choose another folder or change its permissions", str(above)
        )


def locate(blueprint: str) -> str:
    """The folder or URL that copier takes.

    Raises:
        TunesmithError: TS601.
    """
    names = [found.name for found in shipped()]
    if blueprint in names:
        return str(BLUEPRINTS / blueprint)
    if Path(blueprint).is_dir() or "://" in blueprint or blueprint.startswith(("git@", "gh:", "gl:", "git+")):
        return blueprint
    raise TunesmithError.of(
        "TS601", f"no blueprint {blueprint!r}; there are {', '.join(names)}, or give a folder or a git URL"
    )


def _copy(blueprint: str, source: str, draft: Path, answers: dict[str, str], *, defaults: bool) -> None:
    from copier import Worker
    from copier.errors import CopierAnswersInterrupt, CopierError
    from jinja2 import TemplateError
    from plumbum.commands import CommandNotFound, ProcessExecutionError

    questions = Path(source, "copier.yml")
    try:
        if questions.is_file():
            # copier reports invalid YAML on its own, in colour and over several lines.
            yaml.safe_load(questions.read_text(encoding="utf-8"))
        with Worker(source, draft, data=dict(answers), defaults=defaults, quiet=True, overwrite=True) as worker:
            known = list(worker.template.questions_data)
            unknown = sorted(set(answers) - set(known))
            if unknown:
                raise TunesmithError.of("TS602", f"no question {unknown[0]!r}; this blueprint asks {', '.join(known)}")
            worker.run_copy()
    except CopierAnswersInterrupt:
        raise KeyboardInterrupt from None
    except ProcessExecutionError as error:
        reason = (error.stderr.strip().splitlines() or ["git failed"])[-1]
        raise TunesmithError.of("TS603", f"cannot be fetched: {reason}", blueprint) from None
    except (
        *(CopierError, CommandNotFound, TemplateError, yaml.YAMLError),
        *(ValueError, TypeError, AttributeError, ArithmeticError),
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TunesmithError.of("TS603", f"the blueprint or an answer cannot be used: {reason}", blueprint) from None


def _check_draft(blueprint: str, draft: Path, target: Path) -> None:
    spec_path = draft / SPEC_NAME
    if not spec_path.is_file():
        raise TunesmithError.of("TS603", f"writes no {SPEC_NAME}, so it is no blueprint", blueprint)
    try:
        check_data_files(load_spec(spec_path), spec_path)
    except TunesmithError as error:
        # The draft goes away; the lines are those that the target would have had.
        raise TunesmithError(
            *(
                type(problem)(
                    problem.file.replace(str(draft), str(target)),
                    problem.line,
                    problem.column,
                    problem.code,
                    problem.message,
                )
                for problem in error.problems
            )
        ) from None
