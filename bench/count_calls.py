"""How many Python and library calls a training makes: seconds on a shared machine scatter, this does not.

`python count_calls.py OUTPUT -m MODULE ARGUMENTS`, or a script in the place of `-m MODULE`, in the environment of generated
repositories. Writes the number to OUTPUT.
"""

import cProfile
import runpy
import sys
from pathlib import Path
from typing import Any

import transformers


def main(output: Path, command: list[str]) -> None:
    """Run `command` in this process, and count within the trainer's `train`."""
    train = transformers.Trainer.train

    def counted(*arguments: Any, **named: Any) -> Any:
        profile = cProfile.Profile()
        try:
            return profile.runcall(train, *arguments, **named)
        finally:
            output.write_text(str(sum(entry.callcount for entry in profile.getstats())))

    transformers.Trainer.train = counted
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
