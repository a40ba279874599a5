"""Whole commands: Tunesmith beside copier and cookiecutter on the same files, in one run.

copier and cookiecutter get templates made of the very files that Tunesmith generates, with the same names filled in, so
each tool writes the same number of files of the same length. For updates, both start from the same project with the same
twenty files edited, and change the same third of the files. The commands take turns; medians are printed.
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
from dataclasses import dataclass, field
from pathlib import Path

ROUNDS = 7
EDITED, OWN_FILES, MANY_OWN_FILES = 20, 40, 5_000
BIN = Path(sys.executable).parent
NAME, PACKAGE = "support-assistant", "support_assistant"
TUNESMITH, COPIER, COOKIECUTTER = (str(BIN / name) for name in ("tunesmith", "copier", "cookiecutter"))
# As from a wheel, whose modules pip compiles when it installs them, whatever this shell says.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
IDENTITY = ["-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false"]


@dataclass
class Command:
    """A command to time: `line` gets a folder that is not there yet, and makes in it what it needs."""

    line: Callable[[Path], list[str]]
    codes: tuple[int, ...] = (0,)
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)


def main() -> None:
    """Print two tables: creating, and updating."""
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        root = Path(folder)
        spec = root / "spec"
        run([TUNESMITH, "init", NAME, str(spec), "--defaults"])
        generated = copied(spec, root / "generated")
        run([TUNESMITH, "apply", str(generated)])
        changed = copied(generated, root / "changed")
        change_spec(changed)
        run([TUNESMITH, "apply", str(changed)])
        files = generated_files(generated)
        print(
            f"{len(files)} generated files, {sum(path.stat().st_size for path in files) / 1000:.0f} kB; {ROUNDS} rounds"
        )

        copier = copier_template(root / "copier", generated)
        cookiecutter = cookiecutter_template(root / "cookiecutter", generated)
        report(
            "tunesmith apply, first",
            {
                "tunesmith --version": Command(lambda _: [TUNESMITH, "--version"]),
                "tunesmith apply, first": Command(lambda place: [TUNESMITH, "apply", str(copied(spec, place))]),
                "copier copy": Command(
                    lambda place: [COPIER, "copy", "--defaults", "--quiet", str(copier), str(place)]
                ),
                "cookiecutter": Command(
                    lambda place: [COOKIECUTTER, "--no-input", "-o", str(place), str(cookiecutter)]
                ),
            },
            root,
        )

        edited = project_of_tunesmith(root / "edited", generated, OWN_FILES)
        crowded = project_of_tunesmith(root / "crowded", generated, MANY_OWN_FILES)
        by_copier = project_of_copier(root / "by-copier", copier, changed)
        steps = json.loads(run([TUNESMITH, "plan", "--json", str(with_changed_spec(edited, root / "count"))], (2,)))[
            "steps"
        ]
        touched = sum(step["action"] in ("create", "update", "merge", "delete") for step in steps)
        merged = sum(step["action"] == "merge" for step in steps)
        print(
            f"\nUpdates: {EDITED} files edited, {OWN_FILES} of the user's own; the change touches {touched}, merges {merged}"
        )
        update = [COPIER, "update", "--defaults", "--quiet"]
        report(
            "tunesmith apply, spec changed",
            {
                "tunesmith plan, nothing to do": Command(lambda _: [TUNESMITH, "plan", str(edited)]),
                "tunesmith plan, 5,000 files of the user's": Command(lambda _: [TUNESMITH, "plan", str(crowded)]),
                "tunesmith apply, spec changed": Command(
                    lambda place: [TUNESMITH, "apply", str(with_changed_spec(edited, place))]
                ),
                "tunesmith apply, 5,000 files of the user's": Command(
                    lambda place: [TUNESMITH, "apply", str(with_changed_spec(crowded, place))]
                ),
                "copier update": Command(lambda place: [*update, str(copied(by_copier, place))]),
            },
            root,
        )


def report(reference: str, commands: dict[str, Command], root: Path) -> None:
    """Time the commands in turns and print a table; ratios are to `reference`."""
    for number in range(ROUNDS + 1):
        for command in commands.values():
            place = root / "place"
            line = command.line(place)
            begin = time.perf_counter()
            kilobytes = run_measured(line, command.codes)
            if number:  # the first round warms caches up
                command.seconds.append(time.perf_counter() - begin)
                command.megabytes.append(kilobytes / 1000)
            shutil.rmtree(place, ignore_errors=True)
    first = statistics.median(commands[reference].seconds)
    print(f"\n{'command':44}{'median s':>9}{'min':>7}{'max':>7}{'MB':>6}{'ratio':>8}")
    for name, command in commands.items():
        median = statistics.median(command.seconds)
        print(
            f"{name:44}{median:9.3f}{min(command.seconds):7.3f}{max(command.seconds):7.3f}"
            f"{max(command.megabytes):6.0f}{median / first:7.2f}×"
        )


def run(command: list[str], codes: tuple[int, ...] = (0,), cwd: Path | None = None) -> str:
    """Run a command; its output, shown only where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def run_measured(command: list[str], codes: tuple[int, ...]) -> int:
    """Run a command; its largest memory, in kB."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            output.seek(0)
            sys.exit(f"{' '.join(command)}\n{output.read().decode()}")
    return usage.ru_maxrss


def copied(source: Path, target: Path) -> Path:
    """A fresh copy of a folder."""
    shutil.copytree(source, target, symlinks=True)
    return target


def change_spec(root: Path) -> None:
    """Change a third of the files: every weight is trained, and there is no search."""
    path = root / "pipeline.yaml"
    text = path.read_text(encoding="utf-8").replace('adapter: "lora"', "adapter: full")
    path.write_text(text + "hpo: {enabled: false}\n", encoding="utf-8")


def with_changed_spec(source: Path, target: Path) -> Path:
    """A copy of a project whose spec has changed since it was generated."""
    change_spec(copied(source, target))
    return target


def generated_files(root: Path) -> list[Path]:
    """Every file of a repository that is text and not git's."""
    paths = (path for path in sorted(root.rglob("*")) if path.is_file() and ".git" not in path.relative_to(root).parts)
    return [path for path in paths if path.suffix != ".xz"]


def edit(root: Path) -> None:
    """Add a line to twenty files, those first that the change of the spec touches, and files of the user's own."""
    first = ["README.md", "Makefile", "AGENTS.md", "configs/default.yaml", "configs/smoke.yaml", "pyproject.toml"]
    paths = [root / name for name in first] + [path for path in generated_files(root) if path.suffix in (".md", ".py")]
    # Where the change deletes the file, or rewrites its end, the edit would be a conflict.
    left_out = {"hpo.md", "hpo.py", "test_hpo.py", "train.md", "export.py"}
    kept = [path for path in dict.fromkeys(paths) if path.name not in left_out and "vendor" not in path.parts]
    for path in kept[:EDITED]:
        path.write_text(path.read_text(encoding="utf-8") + "# A line of ours\n", encoding="utf-8")


def add_own_files(root: Path, count: int) -> None:
    """Files of the user's, in folders of a hundred."""
    for number in range(count):
        path = root / "research" / f"{number // 100}" / f"notes_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""Notes {number}."""\n' + "VALUE = 1\n" * 40, encoding="utf-8")


def commit(root: Path, message: str, tag: str | None = None) -> None:
    """Commit everything."""
    run(["git", *IDENTITY, "add", "-A"], cwd=root)
    run(["git", *IDENTITY, "commit", "-qm", message], cwd=root)
    if tag:
        run(["git", "tag", tag], cwd=root)


def project_of_tunesmith(target: Path, generated: Path, own_files: int) -> Path:
    """A generated repository with edits, committed."""
    edit(copied(generated, target))
    add_own_files(target, own_files)
    commit(target, "ours")
    return target


def project_of_copier(target: Path, template: Path, changed: Path) -> Path:
    """The same project, made by copier; its template has moved on to what the changed spec gives."""
    run([COPIER, "copy", "--defaults", "--quiet", str(template), str(target)])
    run(["git", "init", "-q", "-b", "main"], cwd=target)
    edit(target)
    add_own_files(target, OWN_FILES)
    commit(target, "ours")
    shutil.rmtree(template / "template")
    write_template(template / "template", changed, "package", ".jinja")
    (template / "template" / "{{ _copier_conf.answers_file }}.jinja").write_text("{{ _copier_answers|to_nice_yaml }}\n")
    commit(template, "next", "v2")
    return target


def copier_template(target: Path, generated: Path) -> Path:
    """The generated files as a template for copier, in git, as its updates need it."""
    write_template(target / "template", generated, "package", ".jinja")
    (target / "template" / "{{ _copier_conf.answers_file }}.jinja").write_text("{{ _copier_answers|to_nice_yaml }}\n")
    text = f"_subdirectory: template\npackage: {{type: str, default: {PACKAGE}}}\n"
    (target / "copier.yml").write_text(text, encoding="utf-8")
    run(["git", "init", "-q", "-b", "main"], cwd=target)
    commit(target, "first", "v1")
    return target


def cookiecutter_template(target: Path, generated: Path) -> Path:
    """The generated files as a template for cookiecutter."""
    write_template(target / "{{ cookiecutter.name }}", generated, "cookiecutter.package", "")
    text = json.dumps({"name": NAME, "package": PACKAGE})
    (target / "cookiecutter.json").write_text(text, encoding="utf-8")
    return target


def write_template(target: Path, generated: Path, variable: str, suffix: str) -> None:
    """Write each generated file as a template in which the package's name is filled in."""
    name = "{{ " + variable + " }}"
    for path in generated_files(generated):
        text = path.read_text(encoding="utf-8")
        body = "{% raw %}" + text.replace(PACKAGE, "{% endraw %}" + name + "{% raw %}") + "{% endraw %}"
        place = target / (path.relative_to(generated).as_posix().replace(PACKAGE, name) + suffix)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(body, encoding="utf-8")


if __name__ == "__main__":
    main()
