"""The command line: parse, call, print."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from tunesmith import __version__
from tunesmith.problem import Problem, TunesmithError

if TYPE_CHECKING:
    from tunesmith.plan import Plan

FAILED, CHANGES, CONFLICTS = 1, 2, 3

app = typer.Typer(
    help="Spec in, production LLM repository out; change the spec and regenerate.",
    epilog="Begin with: tunesmith init support-assistant my-model && tunesmith apply my-model",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that holds pipeline.yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def main() -> None:
    """Run the command line; what the user can mend is one line each on standard error, and exit code 1."""
    try:
        # Not standalone: its exit code for a misused option is the one that `plan` has for changes.
        sys.exit(app(prog_name="tunesmith", standalone_mode=False))
    except TyperException as error:
        _print_problems([Problem("", 0, 0, "TS606", str(error))], as_json="--json" in sys.argv)
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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tunesmith {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: tunesmith init support-assistant my-model --defaults")
def init(
    blueprint: Annotated[str, typer.Argument(help="Name of a blueprint, a folder, or a git URL.")],
    directory: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="New or empty folder; the blueprint's name when left out.")
    ] = None,
    defaults: Annotated[bool, typer.Option("--defaults", help="Take every default instead of asking.")] = False,
    data: Annotated[
        list[str] | None, typer.Option("--data", metavar="KEY=VALUE", help="Answer a question; may be repeated.")
    ] = None,
) -> None:
    """Interview you and write pipeline.yaml and starter data."""
    from tunesmith import blueprints

    answers = {}
    for item in data or []:
        key, separator, value = item.partition("=")
        if not separator:
            raise typer.BadParameter(f"{item!r} is not KEY=VALUE", param_hint="--data")
        answers[key] = value
    if not defaults and not sys.stdin.isatty():
        raise typer.BadParameter(
            "there is no terminal to ask on; add --defaults, and --data KEY=VALUE for what differs"
        )
    target = directory or Path(blueprint.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git"))
    for path in blueprints.init(blueprint, target, answers, defaults=defaults):
        typer.echo(f"create  {target / path}")
    typer.echo(f"Next: look through {target / 'pipeline.yaml'}, then `tunesmith apply {target}`")


@app.command(epilog="Example: tunesmith validate my-model/pipeline.yaml")
def validate(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The spec, or the folder that holds it.")] = Path(
        "pipeline.yaml"
    ),
    as_json: Json = False,
) -> None:
    """Check a spec and every row of the data that it names."""
    from tunesmith.sources import check_sources
    from tunesmith.spec.load import load_spec

    path = spec / "pipeline.yaml" if spec.is_dir() else spec
    loaded = load_spec(path)
    counts = check_sources(loaded, path)
    if as_json:
        typer.echo(json.dumps({"problems": [], "spec": loaded.model_dump(mode="json"), "rows": counts}))
        return
    for name, rows in counts.items():
        typer.echo(f"{name}: {rows} rows")
    typer.echo(f"{path}: no problem found")


@app.command(epilog="Example: tunesmith plan my-model --diff")
def plan(
    directory: Directory = Path(),
    diff: Annotated[bool, typer.Option("--diff", help="Show each change, line by line.")] = False,
    as_json: Json = False,
) -> None:
    """Show what apply would do. Exits 0 for nothing, 2 for changes, 3 for conflicts."""
    from tunesmith.plan import plan as plan_of

    planned = plan_of(directory)
    if as_json:
        typer.echo(_plan_as_json(planned, diff))
    else:
        _print_plan(planned, diff)
    if planned.conflicts:
        raise typer.Exit(CONFLICTS)
    if planned.changes:
        raise typer.Exit(CHANGES)


@app.command(epilog="Example: tunesmith apply my-model")
def apply(directory: Directory = Path(), as_json: Json = False) -> None:
    """Create or regenerate the repository: all of it or, with exit code 3, nothing."""
    from tunesmith import apply as application
    from tunesmith.plan import plan as plan_of

    edited = application.finish(directory)
    if edited is not None:
        typer.echo("Finished what an interrupted apply had begun.", err=True)
        for path in edited:
            typer.echo(f"{path}: left as it is; you edited it since", err=True)
    planned = plan_of(directory)
    application.apply(planned)
    if as_json:
        typer.echo(_plan_as_json(planned, diff=False))
    elif not planned.conflicts:
        _print_plan(planned, diff=False)
    if planned.conflicts:
        _print_problems(
            [Problem(step.path, 0, 0, "TS405", f"{step.reason}; nothing was written") for step in planned.conflicts]
        )
        raise typer.Exit(CONFLICTS)
    if planned.changes and not as_json:
        typer.echo(f"Next: cd {directory} && make setup && make smoke")


@app.command(epilog="Example: tunesmith check my-model")
def check(directory: Directory = Path(), as_json: Json = False) -> None:
    """Check the repository as it stands: Python, YAML, TOML, JSON, workflows, and the tool's own record."""
    from tunesmith.check import check as check_repository

    report = check_repository(directory)
    if as_json:
        problems = [vars(problem) for problem in report.problems]
        typer.echo(json.dumps({"files": report.files, "problems": problems, "skipped": report.skipped}))
    else:
        for reason in report.skipped:
            typer.echo(f"skipped  {reason}")
        _print_problems(report.problems)
        typer.echo(f"{report.files} files checked, {len(report.problems)} problems")
    if report.problems:
        raise typer.Exit(FAILED)


@app.command(epilog="Example: tunesmith schema > pipeline.schema.json")
def schema() -> None:
    """Print the JSON Schema of pipeline.yaml."""
    from tunesmith.spec.schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command(epilog="Example: tunesmith blueprints")
def blueprints(as_json: Json = False) -> None:
    """List the blueprints that come with the tool."""
    from tunesmith.blueprints import shipped

    if as_json:
        typer.echo(json.dumps([vars(found) for found in shipped()], ensure_ascii=False))
        return
    for found in shipped():
        typer.echo(f"{found.name:20}{found.description}")
        typer.echo(f"{'':20}asks: {', '.join(found.questions)}")


@app.command(epilog="Example: tunesmith explain TS101")
def explain(
    code: Annotated[str | None, typer.Argument(help="A code such as TS101; all of them when left out.")] = None,
    as_json: Json = False,
) -> None:
    """Say what a code of a problem means and what to do."""
    from tunesmith.codes import CODES

    if code is not None and code.upper() not in CODES:
        raise TunesmithError.of("TS605", f"no code {code!r}; `tunesmith explain` lists them all")
    wanted = [code.upper()] if code else list(CODES)
    if as_json:
        typer.echo(json.dumps([{"code": name, **vars(CODES[name])} for name in wanted], ensure_ascii=False))
        return
    for name in wanted:
        typer.echo(f"{name}  {CODES[name].title}")
        if code:
            typer.echo(f"\n{CODES[name].text}")


def _print_plan(planned: "Plan", diff: bool) -> None:
    shown = [step for step in planned.steps if step.reason != "unchanged"]
    for step in shown:
        typer.echo(f"{step.action:9}{step.path}  ({step.reason})")
        if diff:
            typer.echo(step.diff(), nl=False)
    counts = {action: sum(step.action == action for step in planned.steps) for action in ("create", "update", "delete")}
    summary = ", ".join(f"{count} to {action}" for action, count in counts.items() if count)
    if planned.conflicts:
        summary = ", ".join(filter(None, [summary, f"{len(planned.conflicts)} in conflict"]))
    typer.echo(summary or f"Nothing to do: {len(planned.steps)} files are as pipeline.yaml says.")


def _plan_as_json(planned: "Plan", diff: bool) -> str:
    steps = [
        {"path": step.path, "action": step.action, "reason": step.reason, **({"diff": step.diff()} if diff else {})}
        for step in planned.steps
    ]
    return json.dumps({"steps": steps}, ensure_ascii=False)


def _print_problems(problems: "list[Problem] | tuple[Problem, ...]", as_json: bool = False) -> None:
    if as_json:
        typer.echo(json.dumps({"problems": [vars(problem) for problem in problems]}, ensure_ascii=False))
        return
    for problem in problems:
        typer.echo(str(problem), err=True)
