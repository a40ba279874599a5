"""How an editor stores text is no edit, and stays: signature, line ends, final newline; alone, together, beside edits."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import snapshot, spec_with, tunesmith, write_spec
from test_apply import interrupted
from tunesmith.files.form import formed, plain

Make = Callable[..., Path]
OTHER = {"train__epochs": 7}
CONFIG = "configs/default.yaml"


def mixed(content: bytes) -> bytes:
    """Every third line with the line end of another editor."""
    lines = content.split(b"\n")
    return b"\n".join(line + b"\r" if number % 3 == 0 else line for number, line in enumerate(lines[:-1])) + b"\n"


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "no final newline": lambda content: content.removesuffix(b"\n"),
    "signature": lambda content: b"\xef\xbb\xbf" + content,
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "some CRLF": mixed,
    "signature and CRLF": lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"),
    "all three": lambda content: b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n").removesuffix(b"\r\n"),
    "UTF-16": lambda content: b"\xff\xfe" + content.replace(b"\n", b"\r\n").decode().encode("utf-16-le"),
    "UTF-16, big end first": lambda content: b"\xfe\xff" + content.decode().encode("utf-16-be"),
}


@pytest.mark.parametrize("form", FORMS)
def test_stored_otherwise_it_is_updated_and_stays_stored_so(form: str, repository: Make) -> None:
    """A file that nobody edited; Python, YAML, Markdown and the Makefile alike."""
    root = repository()
    paths = [path for path in snapshot(root) if path.endswith((".py", ".yaml", ".md", "Makefile"))]
    paths = [path for path in paths if path != "pipeline.yaml" and (root / path).stat().st_size]
    for path in paths:
        (root / path).write_bytes(FORMS[form]((root / path).read_bytes()))
    before = snapshot(root)
    assert tunesmith("plan", root).stdout.startswith("Nothing to do")
    write_spec(root, spec_with(**OTHER, hpo__enabled=False))
    done = tunesmith("apply", root)
    assert done.returncode == 0, done.stdout + done.stderr
    fresh, after = snapshot(repository(spec_with(**OTHER, hpo__enabled=False), name="fresh")), snapshot(root)
    for path in ("Makefile", "docs/pipeline.md", "src/support_assistant/cli.py", CONFIG):
        assert plain(after[path]) == fresh[path]
        if form != "some CRLF":
            assert after[path] == FORMS[form](fresh[path])
        assert after[path] != before[path]
    assert tunesmith("plan", root).returncode == 0
    write_spec(root, spec_with())
    assert tunesmith("apply", root).returncode == 0
    if form != "some CRLF":
        again = snapshot(root)
        assert {path: again[path] for path in after if path in before} == {path: before[path] for path in after}


@pytest.mark.parametrize("form", FORMS)
def test_stored_otherwise_and_edited_it_is_merged(form: str, repository: Make) -> None:
    """An edit in one line, and one at the end, with a generated change elsewhere."""
    root = repository()
    content = (root / CONFIG).read_bytes().replace(b"  trials: 20\n", b"  trials: 21\n") + b"# Ours: \xc3\xa9\n"
    (root / CONFIG).write_bytes(FORMS[form](content))
    write_spec(root, spec_with(**OTHER))
    done = tunesmith("apply", root)
    assert done.returncode == 0, done.stdout
    found = (root / CONFIG).read_bytes()
    assert plain(found) == content.replace(b"  epochs: 3.0\n", b"  epochs: 7.0\n")
    if form != "some CRLF":
        assert found == FORMS[form](plain(found))
    else:
        assert [line.endswith(b"\r") for line in found.split(b"\n")] == [
            line.endswith(b"\r") for line in FORMS[form](content).split(b"\n")
        ] or abs(found.count(b"\r") - FORMS[form](content).count(b"\r")) <= 1


@pytest.mark.parametrize("form", FORMS)
def test_stored_otherwise_a_conflict_is_in_the_lines_that_clash_alone(form: str, repository: Make) -> None:
    root = repository()
    content = (root / CONFIG).read_bytes().replace(b"  epochs: 3.0\n", b"  epochs: 5.0\n")
    (root / CONFIG).write_bytes(FORMS[form](content))
    write_spec(root, spec_with(**OTHER))
    planned = tunesmith("plan", root)
    assert planned.returncode == 3
    assert "  yours:\n  |   epochs: 5.0\n  as generated before:\n  |   epochs: 3.0\n" in planned.stdout
    assert tunesmith("apply", root, "--on-conflict", "ours").returncode == 3
    assert (root / CONFIG).read_bytes() == FORMS[form](content)
    assert tunesmith("plan", root).returncode == 0


def test_an_editor_strips_the_final_newline_where_lines_are_added_at_the_end(repository: Make) -> None:
    root, fresh = repository(spec_with(serve__engine="vllm", hpo__enabled=False)), repository(name="fresh")
    old, new = snapshot(root), snapshot(fresh)
    ends = {path: old[path].rsplit(b"\n", 3)[-3:] for path in old.keys() & new.keys()}
    changed = [
        path
        for path, end in ends.items()
        if not path.startswith(".tunesmith/") and not new[path].endswith(b"\n".join(end))
    ]
    changed = [path for path in changed if path not in ("pipeline.yaml", "README.md")]
    assert changed
    for path in changed:
        (root / path).write_bytes((root / path).read_bytes().removesuffix(b"\n"))
    write_spec(root, spec_with())
    assert tunesmith("apply", root).returncode == 0
    for path in changed:
        assert (root / path).read_bytes() == (fresh / path).read_bytes().removesuffix(b"\n"), path


def test_stored_otherwise_after_an_interrupted_apply_it_is_merged(repository: Make) -> None:
    root, fresh = repository(), repository(spec_with(**OTHER), name="fresh")
    write_spec(root, spec_with(**OTHER))
    interrupted(root)
    form = FORMS["all three"]
    (root / CONFIG).write_bytes(form((root / CONFIG).read_bytes() + b"# Ours\n"))
    done = tunesmith("apply", root)
    assert done.returncode == 0, done.stderr
    assert (root / CONFIG).read_bytes() == form((fresh / CONFIG).read_bytes() + b"# Ours\n")


def test_what_is_generated_is_stored_plainly(repository: Make) -> None:
    for path, content in snapshot(repository()).items():
        assert plain(content) == content, path


PIECES = st.sampled_from([b"a", b"b", b"\n", b"\r\n", b"\r", b"\xc3\xa9", b"\xff", b"\0", b"\xef\xbb\xbf"])
SIGNATURES = st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])


@settings(max_examples=500, deadline=None, database=None)
@given(signature=SIGNATURES, pieces=st.lists(PIECES, max_size=12))
def test_whatever_is_made_plain_can_be_stored_as_it_was(signature: bytes, pieces: list[bytes]) -> None:
    content = signature + b"".join(pieces)
    assert formed(plain(content), content) == content
