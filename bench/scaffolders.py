"""Times of whole commands: Tunesmith beside copier and cookiecutter on the same files, in one run.

copier and cookiecutter get a template made of the very files that Tunesmith generates, with the same names filled in,
so each tool writes the same number of files of the same length. The commands take turns; medians are printed.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 7
BIN = Path(sys.executable).parent
NAME, PACKAGE = "support-assistant", "support_assistant"


def main() -> None:
    """Print a table of medians and ratios."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        root = Path(folder)
        tunesmith = str(BIN / "tunesmith")
        spec = root / "spec"
        run([tunesmith, "init", NAME, str(spec), "--defaults"])
        generated = copied(spec, root / "generated")
        run([tunesmith, "apply", str(generated)])
        files = [path for path in generated.rglob("*") if path.is_file() and ".git" not in path.parts]
        copier_template, cookiecutter_template = other_templates(generated, files, root)
        changed = copied(generated, root / "changed")
        rename_project(changed)

        commands: dict[str, Callable[[Path], list[str]]] = {
            "tunesmith --version": lambda _: [tunesmith, "--version"],
            "tunesmith plan, nothing to do": lambda _: [tunesmith, "plan", str(generated)],
            "tunesmith apply, first": lambda place: [tunesmith, "apply", str(copied(spec, place))],
            "tunesmith apply, spec changed": lambda place: [tunesmith, "apply", str(copied(changed, place))],
            "copier copy": lambda place: [
                str(BIN / "copier"),
                "copy",
                "--defaults",
                "--quiet",
                str(copier_template),
                str(place),
            ],
            "cookiecutter": lambda place: [
                str(BIN / "cookiecutter"),
                "--no-input",
                "-o",
                str(place),
                str(cookiecutter_template),
            ],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(ROUNDS + 1):
            for name, command in commands.items():
                line = command(root / f"{name.replace(' ', '-')}-{number}")
                begin = time.perf_counter()
                run(line)
                if number:  # the first round warms caches up
                    seconds[name].append(time.perf_counter() - begin)
        print(f"{len(files)} files, {sum(path.stat().st_size for path in files) / 1000:.0f} kB; {ROUNDS} rounds\n")
        first = statistics.median(seconds["tunesmith apply, first"])
        print(f"{'command':32}{'median s':>9}{'min':>7}{'max':>7}{'beside apply':>14}")
        for name, measured in seconds.items():
            median = statistics.median(measured)
            print(f"{name:32}{median:9.3f}{min(measured):7.3f}{max(measured):7.3f}{median / first:13.2f}×")


def run(command: list[str]) -> None:
    """Run a command; its output only where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "GIT_PAGER": ""})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def copied(source: Path, target: Path) -> Path:
    """A fresh copy of a folder."""
    shutil.copytree(source, target)
    return target


def rename_project(root: Path) -> None:
    """Change the spec so that a third of the files change: the package takes the project's name."""
    path = root / "pipeline.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(NAME, "order-helper"), encoding="utf-8")


def other_templates(generated: Path, files: list[Path], root: Path) -> tuple[Path, Path]:
    """The generated files as a template for copier and as one for cookiecutter."""
    copier, cookiecutter = root / "copier", root / "cookiecutter"
    for path in files:
        relative = path.relative_to(generated).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # the base archive
        body = "{% raw %}" + text.replace(PACKAGE, "{% endraw %}{{ PACKAGE }}{% raw %}") + "{% endraw %}"
        for place, variable, suffix in (
            (copier / "template", "package", ".jinja"),
            (cookiecutter / "{{ cookiecutter.name }}", "cookiecutter.package", ""),
        ):
            target = place / (relative.replace(PACKAGE, "{{ " + variable + " }}") + suffix)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(body.replace("PACKAGE", variable), encoding="utf-8")
    (copier / "copier.yml").write_text(
        f"_subdirectory: template\npackage: {{type: str, default: {PACKAGE}}}\n", encoding="utf-8"
    )
    (cookiecutter / "cookiecutter.json").write_text(json.dumps({"name": NAME, "package": PACKAGE}), encoding="utf-8")
    return copier, cookiecutter


if __name__ == "__main__":
    main()
