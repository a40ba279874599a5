"""`tunesmith check`: one finding for one fault."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import spec_with, tunesmith, write_spec
from test_apply import interrupted

Make = Callable[..., Path]
MARKERS = b"<<<<<<< yours\na = (1\n||||||| as generated before\n\ta: b: c\n=======\na = 2\n>>>>>>> generated now\n"


@pytest.mark.parametrize(
    "path",
    ["src/support_assistant/train.py", "configs/default.yaml", "pyproject.toml", ".tunesmith/pipeline.schema.json"],
)
@pytest.mark.parametrize("form", ["as it is", "with a signature and CRLF"])
def test_a_file_with_conflict_markers_is_one_finding(path: str, form: str, repository: Make) -> None:
    root = repository()
    head = (root / path).read_bytes()
    content = MARKERS + head if form != "as it is" else head + MARKERS
    if form != "as it is":
        content = b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n")
    (root / path).write_bytes(content)
    done = tunesmith("check", root)
    assert done.returncode == 1
    line = 1 if form != "as it is" else head.count(b"\n") + 1
    assert done.stderr == f"{path}:{line}: TS508 has conflict markers; keep the lines that are right\n"


def test_other_files_are_checked_beside_one_with_markers(repository: Make) -> None:
    root = repository()
    for name in ("default.yaml", "smoke.yaml"):
        (root / "configs" / name).write_bytes(MARKERS if name == "default.yaml" else b"a: 1\na: 2\n")
    done = tunesmith("check", root)
    assert [line.split(" ")[1] for line in done.stderr.splitlines()] == ["TS508", "TS503"]


@pytest.mark.parametrize("left", ["the journal", "half of it", "no journal"])
def test_what_an_interrupted_apply_left_is_a_finding(left: str, repository: Make) -> None:
    root = repository()
    write_spec(root, spec_with(hpo__enabled=False))
    interrupted(root)
    staging = root / ".tunesmith" / "staging"
    if left == "half of it":
        (root / "docs" / "hpo.md").unlink()
    elif left == "no journal":
        (staging / "journal.json").unlink()
    done = tunesmith("check", root)
    assert done.returncode == 1
    assert done.stderr.startswith(".tunesmith/staging: TS413 an apply was interrupted here; `tunesmith apply` finishes")
    assert tunesmith("apply", root).returncode == 0
    assert tunesmith("check", root).returncode == 0
