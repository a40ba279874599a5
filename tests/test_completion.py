"""Completion in bash, zsh and fish: what is installed, and what the shell's own request brings."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunesmith.codes import CODES

SHELLS = ["bash", "zsh", "fish"]
INSTALLED = {
    "bash": ".bash_completions/tunesmith.sh",
    "zsh": ".zfunc/_tunesmith",
    "fish": ".config/fish/completions/tunesmith.fish",
}
WAYS = ["stop", "markers", "ours", "theirs"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the command `tunesmith`, and the shells' names, under which bash reads a line."""
    home = tmp_path_factory.mktemp("home")
    binaries = home / "bin"
    binaries.mkdir()
    (binaries / "tunesmith").write_text(f'#!/bin/sh\nexec {sys.executable} -m tunesmith "$@"\n')
    (binaries / "tunesmith").chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    for shell in SHELLS:
        (binaries / shell).symlink_to(bash)
    return home


@pytest.fixture(scope="module", params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    """Each shell."""
    return str(request.param)


@pytest.fixture(scope="module")
def script(shell: str, home: Path) -> str:
    """What the shell is told to do."""
    return run(home, shell, "tunesmith --show-completion")


def run(home: Path, shell: str, script: str) -> str:
    # The last command keeps the shell from making way for the one before.
    done = subprocess.run(
        [home / "bin" / shell, "-c", f"{script}\n:"],
        env={**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def test_completion_is_installed_for_the_shell_that_asks(shell: str, script: str, home: Path) -> None:
    assert f"_TUNESMITH_COMPLETE=complete_{shell} " in script
    assert INSTALLED[shell] in run(home, shell, "tunesmith --install-completion").replace("\n", "")
    assert (home / INSTALLED[shell]).read_text().strip() == script.strip()


def proposed(home: Path, shell: str, script: str, line: str) -> set[str]:
    """What the shell proposes at the end of `line`, by the request in its script."""
    if shell == "bash":
        words = line.split(" ")
        script += f"\nCOMP_WORDS=({shlex.join(words[:-1])} '{words[-1]}') COMP_CWORD={len(words) - 1}"
        return set(
            run(home, shell, f"{script}\n_tunesmith_completion tunesmith\nprintf '%s\\n' ${{COMPREPLY[@]}}").split()
        )
    # The part that the shell runs, with the line in the place of the variable or the command that holds it there.
    if shell == "zsh":
        (request,) = re.findall(r"eval \$\((.*)\)$", script, re.MULTILINE)
        answer = run(home, shell, request.replace('"${words[1,$CURRENT]}"', shlex.quote(line)))
        return set(re.findall(r'^(?:_arguments .*\(\()?"([^"]*)"', answer, re.MULTILINE))
    arguments, condition = re.findall(r'"\(?(env .*?)\)?"(?= |$)', script)
    held = run(home, shell, f"{condition.replace('(commandline -cp)', shlex.quote(line))} && echo yes || echo no")
    answer = run(home, shell, arguments.replace("(commandline -cp)", shlex.quote(line)))
    found = {row.partition("\t")[0] for row in answer.splitlines() if row}
    assert held == ("yes\n" if found else "no\n"), "fish asks first whether there is something to propose"
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("tunesmith ", ["init", "validate", "plan", "apply", "check", "schema", "blueprints", "explain"]),
        ("tunesmith pl", ["plan"]),
        ("tunesmith apply --re", ["--restore", "--rebase-lock"]),
        ("tunesmith plan my-model --on-conflict ", WAYS),
        ("tunesmith init support-", ["support-assistant", "support-preferences"]),
        ("tunesmith explain TS00", [code for code in CODES if code.startswith("TS00")]),
        ("tunesmith plan my-", []),
    ],
)
def test_commands_options_and_values_are_proposed(
    line: str, expected: list[str], shell: str, script: str, home: Path
) -> None:
    assert proposed(home, shell, script, line) == set(expected)
