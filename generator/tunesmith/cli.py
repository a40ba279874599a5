"""The command line: parse, call, print."""

import gc
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunesmith import __version__
from tunesmith.problem import Problem, TunesmithError, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from tunesmith.regeneration.apply import Finished
    from tunesmith.regeneration.merge import Hunk
    from tunesmith.regeneration.plan import Plan
    from tunesmith.regeneration.steps import OnConflict

FAILED, CHANGES, CONFLICTS = 1, 2, 3

_directory = click.argument("directory", metavar="[DIR]", default=".", type=click.Path(path_type=Path), required=False)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")


@click.group(
    invoke_without_command=True,
    epilog="Begin with: tunesmith init support-assistant my-model && tunesmith apply my-model",
)
@click.version_option(__version__, message="tunesmith %(version)s")
@click.pass_context
def app(context: click.Context) -> None:
    """Spec in, production LLM repository out; change the spec and regenerate."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line; what the user can mend is one line each on standard error, and exit code 1."""
    # The process is short and makes little garbage; looking for it while modules load costs a twentieth of the time.
    gc.disable()
    try:
        # Not standalone: its exit code for a misused option is the one that `plan` has for changes.
        sys.exit(app(prog_name="tunesmith", standalone_mode=False))
    except click.ClickException as error:
        _print_problems([Problem("", 0, 0, "TS606", error.format_message())], as_json="--json" in sys.argv)
        sys.exit(FAILED)
    except TunesmithError as error:
        _print_problems(error.problems, as_json="--json" in sys.argv)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader, such as `head`, has gone.
        sys.stderr.close()
        sys.exit(FAILED)


@app.command(epilog="Example: tunesmith init support-assistant my-model --defaults")
@click.argument("blueprint")
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option("--defaults", is_flag=True, help="Take every default instead of asking.")
@click.option("--data", metavar="KEY=VALUE", multiple=True, help="Answer a question; may be repeated.")
def init(blueprint: str, directory: Path | None, defaults: bool, data: tuple[str, ...]) -> None:
    """Interview you and write pipeline.yaml and starter data.

    BLUEPRINT is the name of a blueprint, a folder or a git URL; DIR is a new or empty folder, named after the
    blueprint when left out.
    """
    from tunesmith import blueprints

    answers = {}
    for item in data:
        key, separator, value = item.partition("=")
        if not separator:
            raise click.BadParameter(f"{item!r} is not KEY=VALUE", param_hint="--data")
        answers[key] = value
    blueprints.locate(blueprint)
    if not defaults and not sys.stdin.isatty():
        raise click.BadParameter(
            "there is no terminal to ask on; add --defaults, and --data KEY=VALUE for what differs"
        )
    target = directory or Path(blueprint.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git"))
    for path in blueprints.init(blueprint, target, answers, defaults=defaults):
        click.echo(f"create  {target / path}")
    click.echo(f"Next: look through {target / 'pipeline.yaml'}, then `tunesmith apply {target}`")


@app.command(epilog="Example: tunesmith validate my-model/pipeline.yaml")
@click.argument("spec", metavar="[SPEC]", default="pipeline.yaml", type=click.Path(path_type=Path), required=False)
@_json
def validate(spec: Path, as_json: bool) -> None:
    """Check a spec and every row of the data that it names.

    SPEC is the file, pipeline.yaml when left out, or the folder that holds it.
    """
    from tunesmith.data_files import check_data_files
    from tunesmith.spec.load import load_spec

    path = spec / "pipeline.yaml" if spec.is_dir() else spec
    loaded = load_spec(path)
    rows = check_data_files(loaded, path)
    if as_json:
        click.echo(
            json.dumps({"problems": [], "spec": loaded.model_dump(mode="json"), "rows": rows.read, "splits": rows.used})
        )
        return
    for name, count in rows.read.items():
        click.echo(f"{name}: {count} rows")
    click.echo("used: " + ", ".join(f"{count} for {split}" for split, count in sorted(rows.used.items())))
    click.echo(f"{path}: no problem found")


def _regeneration(command: "Callable[..., None]") -> "Callable[..., None]":
    """The options that plan and apply share, so that plan can show exactly what apply would do."""
    for option in (
        click.option(
            "--on-conflict",
            type=click.Choice(["stop", "markers", "ours", "theirs"]),
            default="stop",
            show_default=True,
            help="Where your edits and the new text clash: write nothing, write both sides between markers, keep your "
            "lines, or take the generated ones. The exit code is 3 in any case.",
        ),
        click.option(
            "--restore", metavar="PATH", multiple=True, help="Bring back a file that you deleted; repeatable."
        ),
        click.option(
            "--rebase-lock",
            is_flag=True,
            help="While git merges two branches that both regenerated: go on from what both of them generated.",
        ),
        _json,
        _directory,
    ):
        command = option(command)
    return command


@app.command(short_help="Show what apply would do.", epilog="Example: tunesmith plan my-model --diff")
@click.option("--diff", is_flag=True, help="Show each change, line by line.")
@_regeneration
def plan(
    directory: Path,
    diff: bool,
    as_json: bool,
    on_conflict: "OnConflict",
    restore: tuple[str, ...],
    rebase_lock: bool,
) -> None:
    """Show what apply would do. Exits 0 for nothing, 2 for changes, 3 for conflicts."""
    from tunesmith.regeneration.plan import plan as plan_of

    planned = plan_of(directory, on_conflict=on_conflict, restore=_in(directory, restore), rebase_lock=rebase_lock)
    if as_json:
        click.echo(_plan_as_json(planned, diff))
    else:
        _print_plan(planned, diff)
        click.echo(_summary(planned, done=False))
    if planned.conflicts:
        raise click.exceptions.Exit(CONFLICTS)
    if planned.changes:
        raise click.exceptions.Exit(CHANGES)


@app.command(
    short_help="Create or regenerate the repository.", epilog="Example: tunesmith apply my-model --on-conflict markers"
)
@_regeneration
def apply(
    directory: Path, as_json: bool, on_conflict: "OnConflict", restore: tuple[str, ...], rebase_lock: bool
) -> None:
    """Create or regenerate the repository, with your edits in it: all of it or nothing.

    Exits 0, or 3 where your edits and the new text clash.
    """
    from tunesmith.regeneration import apply as application
    from tunesmith.regeneration.plan import plan as plan_of

    with application.alone(directory):
        found = application.finish(directory)
        if found is not None:
            done = "Finished what" if found.decided else "Nothing was changed, and nothing is left, of what"
            click.echo(f"{done} an interrupted apply had begun.", err=True)
            _print_edited_since(found)
        planned = plan_of(directory, on_conflict=on_conflict, restore=_in(directory, restore), rebase_lock=rebase_lock)
        is_new = not (directory / ".tunesmith" / "lock.json").exists()
        finished = application.apply(planned)
        _print_edited_since(finished)
    if as_json:
        click.echo(_plan_as_json(planned, diff=False))
    else:
        _print_plan(planned, diff=False)
    if planned.blocking:
        _print_problems([Problem(step.path, 0, 0, "TS405", step.reason) for step in planned.blocking])
        click.echo(_ways_out(planned, directory), err=True)
    elif not as_json:
        click.echo(_summary(planned, done=True))
    if planned.conflicts or any(done and (done.marked or done.left) for done in (found, finished)):
        raise click.exceptions.Exit(CONFLICTS)
    if as_json:
        return
    entering = "" if directory.resolve() == Path.cwd() else f"cd {shlex.quote(str(directory))} && "
    if is_new:
        click.echo(f"Next: {entering}make setup && make smoke")
    elif any(step.changes and step.path in ("pyproject.toml", "constraints.txt") for step in planned.steps):
        click.echo(f"Next: {entering}make setup, since what the repository depends on may have changed")


@app.command(short_help="Check the repository as it stands.", epilog="Example: tunesmith check my-model")
@_directory
@_json
def check(directory: Path, as_json: bool) -> None:
    """Check the repository as it stands: Python, YAML, TOML, JSON, workflows, and the tool's own record."""
    from tunesmith.check.repository import check as check_repository

    report = check_repository(directory)
    if as_json:
        problems = [vars(problem) for problem in report.problems]
        click.echo(json.dumps({"files": report.files, "problems": problems, "skipped": report.skipped}))
    else:
        for reason in report.skipped:
            click.echo(f"skipped  {reason}")
        _print_problems(report.problems)
        click.echo(f"{report.files} files checked, {len(report.problems)} problems")
    if report.problems:
        raise click.exceptions.Exit(FAILED)


@app.command(epilog="Example: tunesmith schema > pipeline.schema.json")
def schema() -> None:
    """Print the JSON Schema of pipeline.yaml."""
    from tunesmith.spec.schema import schema_text

    click.echo(schema_text(), nl=False)


@app.command(epilog="Example: tunesmith blueprints")
@_json
def blueprints(as_json: bool) -> None:
    """List the blueprints that come with the tool."""
    from tunesmith.blueprints import shipped

    if as_json:
        click.echo(json.dumps([vars(found) for found in shipped()], ensure_ascii=False))
        return
    for found in shipped():
        click.echo(f"{found.name:20}{found.description}")
        click.echo(f"{'':20}asks: {', '.join(found.questions)}")


@app.command(epilog="Example: tunesmith explain TS101")
@click.argument("code", required=False)
@_json
def explain(code: str | None, as_json: bool) -> None:
    """Say what a code of a problem means and what to do; all of them when CODE is left out."""
    from tunesmith.codes import CODES

    if code is not None and code.upper() not in CODES:
        raise TunesmithError.of("TS605", f"no code {code!r}; `tunesmith explain` lists them all")
    wanted = [code.upper()] if code else list(CODES)
    if as_json:
        click.echo(json.dumps([{"code": name, **vars(CODES[name])} for name in wanted], ensure_ascii=False))
        return
    for name in wanted:
        click.echo(f"{name}  {CODES[name].title}")
        if code:
            click.echo(f"\n{CODES[name].text}")


def _print_plan(planned: "Plan", diff: bool) -> None:
    from tunesmith.regeneration.steps import UNCHANGED

    for change in planned.spec_changes:
        click.echo(f"spec     {change}")
    for step in planned.steps:
        if step.reason == UNCHANGED:
            continue
        click.echo(f"{step.action:9}{step.path}  ({step.reason})")
        if diff and not step.path.startswith(".tunesmith/"):
            click.echo(step.diff(), nl=False)
        if step.conflict is not None and step in planned.blocking:
            for hunk in step.conflict.hunks:
                click.echo(_both_sides(hunk), nl=False)


def _summary(planned: "Plan", done: bool) -> str:
    if not planned.changes and not planned.conflicts:
        return f"Nothing to do: none of {len(planned.steps)} files has to change."
    words = {"create": "created", "update": "updated", "merge": "merged", "move": "moved", "delete": "deleted"}
    counts = {action: sum(step.action == action for step in planned.steps) for action in words}
    parts = [f"{count} {words[action] if done else f'to {action}'}" for action, count in counts.items() if count]
    if planned.conflicts:
        ways = {"stop": "", "markers": ", marked", "ours": ", your lines kept", "theirs": ", generated lines taken"}
        parts.append(f"{len(planned.conflicts)} in conflict{ways[planned.on_conflict]}")
    return ", ".join(parts)


def _both_sides(hunk: "Hunk", limit: int = 20) -> str:
    """Both sides of a conflict, for a person to look at."""
    from tunesmith.regeneration.merge import LABELS

    text = ""
    for label, side in zip(LABELS, (hunk.ours, hunk.base, hunk.theirs), strict=True):
        if side is None:
            continue
        lines = [printable(line) for line in side.decode("utf-8", "replace").removesuffix("\n").split("\n")]
        shown = [*lines[:limit], *([f"… and {len(lines) - limit} lines more"] if len(lines) > limit else [])]
        text += f"  {label}:\n" + "".join(f"  | {line}\n" for line in shown)
    return text


def _in(directory: Path, paths: tuple[str, ...]) -> list[str]:
    """Paths as the lock has them: relative to the repository, however they were given."""
    root = str(directory.absolute())
    return [os.path.relpath(os.path.join(root, path), root) for path in paths]


def _print_edited_since(finished: "Finished") -> None:
    for path in finished.merged:
        click.echo(f"{path}: you edited it since; both changes are in it", err=True)
    for path in finished.marked:
        click.echo(f"{path}: you edited it since; both sides are between markers, for you to choose", err=True)
    for path in finished.left:
        click.echo(f"{path}: you changed it since, and it is left as it is", err=True)


_WAYS = {
    "markers": "writes both sides into the files, for you to choose",
    "ours": "keeps your lines where they clash",
    "theirs": "takes the generated lines where they clash",
}


def _ways_out(planned: "Plan", directory: Path) -> str:
    ways = [way for way in _WAYS if all(way in step.conflict.choices for step in planned.blocking if step.conflict)]
    lines = [
        f"Nothing was written: {len(planned.blocking)} in conflict. Edit or move what is in the way, and apply again"
    ]
    lines[0] += ", or:" if ways else "."
    return "\n".join([*lines, *(f"  tunesmith apply {directory} --on-conflict {way:9}{_WAYS[way]}" for way in ways)])


def _plan_as_json(planned: "Plan", diff: bool) -> str:
    steps = []
    for step in planned.steps:
        shown: dict[str, object] = {"path": step.path, "action": step.action, "reason": step.reason}
        if step.source:
            shown["from"] = step.source
        if diff:
            shown["diff"] = step.diff()
        if step.conflict is not None:
            shown["settled_by"] = sorted(step.conflict.choices)
            shown["conflicts"] = [
                {
                    name: None if side is None else side.decode("utf-8", "replace")
                    for name, side in (("yours", hunk.ours), ("before", hunk.base), ("generated", hunk.theirs))
                }
                for hunk in step.conflict.hunks
            ]
        steps.append(shown)
    return json.dumps({"spec": [vars(change) for change in planned.spec_changes], "steps": steps}, ensure_ascii=False)


def _print_problems(problems: "list[Problem] | tuple[Problem, ...]", as_json: bool = False) -> None:
    if as_json:
        click.echo(json.dumps({"problems": [vars(problem) for problem in problems]}, ensure_ascii=False))
        return
    for problem in problems:
        click.echo(str(problem), err=True)
