"""The command line: parse, call, print."""

import gc
import os
import sys
from typing import Any

from tunesmith.cli import at_once
from tunesmith.cli.output import FAILED, give_up_streams, open_streams, say, say_json
from tunesmith.problem import TunesmithError


def main() -> None:
    """Run the command line; what the user can mend is one line each on standard error, and exit code 1."""
    # The process is short and makes little garbage; looking for it while modules load costs a twentieth of the time.
    gc.disable()
    open_streams()
    arguments = sys.argv[1:]
    try:
        code = at_once.run(arguments)
        sys.exit(_run(arguments) if code is None else code)
    except TunesmithError as error:
        from tunesmith import report

        if "--json" in arguments:
            say_json(report.problems_document(error.problems))
        else:
            say(report.problems_text(error.problems), err=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader, such as `head`, has gone.
        give_up_streams()
        sys.exit(FAILED)
    except OSError as error:
        if error.filename is not None:
            raise
        # It is a stream: a disk is full, or a terminal is gone.
        sys.stderr.write(f"TS607 the output cannot be written: {error.strerror}\n")
        give_up_streams()
        sys.exit(FAILED)


def _run(arguments: list[str]) -> Any:
    """What the command returns: an exit code, or None for 0."""
    if "_TUNESMITH_COMPLETE" in os.environ:
        # Typer wraps the help of what it proposes to the width of the window; to fish, each line is a proposal.
        os.environ["TERMINAL_WIDTH"] = "1000"
    import typer

    from tunesmith.cli.commands import app

    try:
        # Not standalone: its exit code for a misused option is the one that `plan` has for changes.
        return app(arguments, prog_name="tunesmith", standalone_mode=False)
    except typer.TyperException as error:
        # The words that pydantic, which checks the values for Typer, puts before the message.
        message = error.format_message().replace("Value error, ", "")
        raise TunesmithError.of("TS606", message) from None
