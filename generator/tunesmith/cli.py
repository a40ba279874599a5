"""The command line: parse, call, print."""

import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tunesmith import __version__
from tunesmith.problem import Problem, TunesmithError

if TYPE_CHECKING:
    from tunesmith.plan import Plan

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
    from tunesmith.sources import check_sources
    from tunesmith.spec.load import load_spec

    path = spec / "pipeline.yaml" if spec.is_dir() else spec
    loaded = load_spec(path)
    counts = check_sources(loaded, path)
    if as_json:
        click.echo(json.dumps({"problems": [], "spec": loaded.model_dump(mode="json"), "rows": counts}))
        return
    for name, rows in counts.items():
        click.echo(f"{name}: {rows} rows")
    click.echo(f"{path}: no problem found")


@app.command(epilog="Example: tunesmith plan my-model --diff")
@_directory
@click.option("--diff", is_flag=True, help="Show each change, line by line.")
@_json
def plan(directory: Path, diff: bool, as_json: bool) -> None:
    """Show what apply would do. Exits 0 for nothing, 2 for changes, 3 for conflicts."""
    from tunesmith.plan import plan as plan_of

    planned = plan_of(directory)
    if as_json:
        click.echo(_plan_as_json(planned, diff))
    else:
        _print_plan(planned, diff)
    if planned.conflicts:
        raise click.exceptions.Exit(CONFLICTS)
    if planned.changes:
        raise click.exceptions.Exit(CHANGES)


@app.command(epilog="Example: tunesmith apply my-model")
@_directory
@_json
def apply(directory: Path, as_json: bool) -> None:
    """Create or regenerate the repository: all of it or, with exit code 3, nothing."""
    from tunesmith import apply as application
    from tunesmith.plan import plan as plan_of

    edited = application.finish(directory)
    if edited is not None:
        click.echo("Finished what an interrupted apply had begun.", err=True)
        for path in edited:
            click.echo(f"{path}: left as it is; you edited it since", err=True)
    planned = plan_of(directory)
    application.apply(planned)
    if as_json:
        click.echo(_plan_as_json(planned, diff=False))
    elif not planned.conflicts:
        _print_plan(planned, diff=False)
    if planned.conflicts:
        _print_problems(
            [Problem(step.path, 0, 0, "TS405", f"{step.reason}; nothing was written") for step in planned.conflicts]
        )
        raise click.exceptions.Exit(CONFLICTS)
    if planned.changes and not as_json:
        click.echo(f"Next: cd {directory} && make setup && make smoke")


@app.command(epilog="Example: tunesmith check my-model")
@_directory
@_json
def check(directory: Path, as_json: bool) -> None:
    """Check the repository as it stands: Python, YAML, TOML, JSON, workflows, and the tool's own record."""
    from tunesmith.check import check as check_repository

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
    shown = [step for step in planned.steps if step.reason != "unchanged"]
    for step in shown:
        click.echo(f"{step.action:9}{step.path}  ({step.reason})")
        if diff:
            click.echo(step.diff(), nl=False)
    counts = {action: sum(step.action == action for step in planned.steps) for action in ("create", "update", "delete")}
    summary = ", ".join(f"{count} to {action}" for action, count in counts.items() if count)
    if planned.conflicts:
        summary = ", ".join(filter(None, [summary, f"{len(planned.conflicts)} in conflict"]))
    click.echo(summary or f"Nothing to do: {len(planned.steps)} files are as pipeline.yaml says.")


def _plan_as_json(planned: "Plan", diff: bool) -> str:
    steps = [
        {"path": step.path, "action": step.action, "reason": step.reason, **({"diff": step.diff()} if diff else {})}
        for step in planned.steps
    ]
    return json.dumps({"steps": steps}, ensure_ascii=False)


def _print_problems(problems: "list[Problem] | tuple[Problem, ...]", as_json: bool = False) -> None:
    if as_json:
        click.echo(json.dumps({"problems": [vars(problem) for problem in problems]}, ensure_ascii=False))
        return
    for problem in problems:
        click.echo(str(problem), err=True)
