"""Every command, as Typer reads it. What a command needs is imported when it runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tunesmith import report
from tunesmith.cli import at_once
from tunesmith.cli.output import FAILED, say, say_json
from tunesmith.problem import TunesmithError
from tunesmith.regeneration.steps import OnConflict

app = typer.Typer(
    epilog="Begin with: tunesmith init support-assistant my-model\nThen: tunesmith apply my-model",
    pretty_exceptions_enable=False,
)


def _blueprints() -> list[tuple[str, str]]:
    from tunesmith.blueprints import shipped

    return [(found.name, found.description) for found in shipped()]


def _codes() -> list[tuple[str, str]]:
    from tunesmith.codes import CODES

    return [(code, explanation.title) for code, explanation in CODES.items()]


Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The folder that holds pipeline.yaml.")]
# Where `metavar` is not empty, the help of a flag says that it takes a value.
AsJson = Annotated[bool, typer.Option("--json", metavar="", help="Print one JSON document and nothing else.")]
# What plan and apply share, so that plan can show exactly what apply would do.
Way = Annotated[
    OnConflict,
    typer.Option(
        "--on-conflict",
        metavar="WAY",
        help="Where your edits and the new text clash: stop (write nothing), markers (write both sides, for you to "
        "choose), ours (keep your lines) or theirs (take the generated ones). The exit code is 3 in any case.",
    ),
]
Restore = Annotated[
    list[str] | None,
    typer.Option("--restore", metavar="PATH", help="Bring back a file that you deleted; repeatable."),
]
RebaseLock = Annotated[
    bool,
    typer.Option(
        "--rebase-lock",
        metavar="",
        help="While git merges two branches that both regenerated: go on from what both of them generated.",
    ),
]


def _print_version(asked: bool) -> None:
    if asked:
        at_once.version()
        raise typer.Exit


@app.callback(invoke_without_command=True)
def tunesmith(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", metavar="", callback=_print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Spec in, production LLM repository out; change the spec and regenerate."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command(epilog="Example: tunesmith init support-assistant my-model --defaults")
def init(
    blueprint: Annotated[
        str,
        typer.Argument(
            metavar="BLUEPRINT", autocompletion=_blueprints, help="Name of a blueprint, a folder or a git URL."
        ),
    ],
    directory: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="A new or empty folder, named after the blueprint when left out."),
    ] = None,
    defaults: Annotated[
        bool, typer.Option("--defaults", metavar="", help="Take every default instead of asking.")
    ] = False,
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="KEY=VALUE", help="Answer a question; repeatable."),
    ] = None,
) -> None:
    """Interview you and write pipeline.yaml and starter data."""
    from tunesmith import blueprints

    answers = {}
    for item in data or ():
        key, separator, value = item.partition("=")
        if not separator:
            raise typer.BadParameter(f"{item!r} is not KEY=VALUE", param_hint="--data")
        answers[key] = value
    blueprints.locate(blueprint)
    if not defaults and not sys.stdin.isatty():
        raise typer.BadParameter(
            "there is no terminal to ask on; add --defaults, and --data KEY=VALUE for what differs"
        )
    target = directory or Path(blueprint.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git"))
    paths = blueprints.init(blueprint, target, answers, defaults=defaults)
    say(report.created_text(target, paths))


@app.command(epilog="Example: tunesmith validate my-model/pipeline.yaml")
def validate(
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The file, or the folder that holds it.")] = Path(
        "pipeline.yaml"
    ),
    as_json: AsJson = False,
) -> None:
    """Check a spec and every row of the data that it names."""
    from tunesmith.data_files import check_data_files
    from tunesmith.spec.load import load_spec

    path = spec / "pipeline.yaml" if spec.is_dir() else spec
    loaded = load_spec(path)
    rows = check_data_files(loaded, path)
    if as_json:
        say_json(report.validation_document(loaded, rows))
    else:
        say(report.validation_text(path, rows))


@app.command(short_help="Show what apply would do.", epilog="Example: tunesmith plan my-model --diff")
def plan(
    directory: Directory = Path(),
    diff: Annotated[bool, typer.Option("--diff", metavar="", help="Show each change, line by line.")] = False,
    on_conflict: Way = "stop",
    restore: Restore = None,
    rebase_lock: RebaseLock = False,
    as_json: AsJson = False,
) -> int:
    """Show what apply would do. Exits 0 for nothing, 2 for changes, 3 for conflicts."""
    return at_once.plan(
        directory,
        diff=diff,
        as_json=as_json,
        on_conflict=on_conflict,
        restore=restore or (),
        rebase_lock=rebase_lock,
    )


@app.command(
    short_help="Create or regenerate the repository.", epilog="Example: tunesmith apply my-model --on-conflict markers"
)
def apply(
    directory: Directory = Path(),
    on_conflict: Way = "stop",
    restore: Restore = None,
    rebase_lock: RebaseLock = False,
    as_json: AsJson = False,
) -> int:
    """Create or regenerate the repository, with your edits in it: all of it or nothing.

    Exits 0, or 3 where your edits and the new text clash.
    """
    return at_once.apply(
        directory, as_json=as_json, on_conflict=on_conflict, restore=restore or (), rebase_lock=rebase_lock
    )


@app.command(short_help="Check the repository as it stands.", epilog="Example: tunesmith check my-model")
def check(directory: Directory = Path(), as_json: AsJson = False) -> int:
    """Check the repository as it stands: Python, YAML, TOML, JSON, workflows, and the tool's own record."""
    from tunesmith.check.repository import check as check_repository

    found = check_repository(directory)
    if as_json:
        say_json(report.check_document(found))
    else:
        say(report.problems_text(found.problems), err=True)
        say(report.check_text(found))
    return FAILED if found.problems else 0


@app.command(epilog="Example: tunesmith schema > pipeline.schema.json")
def schema() -> None:
    """Print the JSON Schema of pipeline.yaml."""
    from tunesmith.spec.schema import schema_text

    say(schema_text())


@app.command(epilog="Example: tunesmith blueprints")
def blueprints(as_json: AsJson = False) -> None:
    """List the blueprints that come with the tool."""
    from tunesmith.blueprints import shipped

    if as_json:
        say_json(report.blueprints_document(shipped()))
    else:
        say(report.blueprints_text(shipped()))


@app.command(short_help="Say what a code of a problem means.", epilog="Example: tunesmith explain TS101")
def explain(
    code: Annotated[
        str | None,
        typer.Argument(metavar="CODE", autocompletion=_codes, help="Such as TS101; all of them when left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a code of a problem means and what to do."""
    from tunesmith.codes import CODES

    if code is not None and code.upper() not in CODES:
        raise TunesmithError.of("TS605", f"no code {code!r}; `tunesmith explain` lists them all")
    wanted = CODES if code is None else {code.upper(): CODES[code.upper()]}
    if as_json:
        say_json(report.codes_document(wanted))
    elif code is None:
        say(report.codes_text(wanted))
    else:
        say(report.code_text(code.upper(), CODES[code.upper()]))
