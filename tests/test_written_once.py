"""Files that are written once: theirs to the user from then on, whatever the spec and newer tools would write."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import command, require, snapshot, spec_with, tunesmith, write_spec
from tunesmith import generate as generation
from tunesmith.files.tree import Ownership, Tree
from tunesmith.spec.pipeline import Spec

Make = Callable[..., Path]
Own = Callable[..., None]
NO_SEARCH = {"hpo__enabled": False}
OTHER_NAME = {"project__name": "order-helper"}


@pytest.fixture
def owned(monkeypatch: pytest.MonkeyPatch) -> Own:
    """Sets the ownership of files by their ids, as another version of the tool might."""
    original = generation.generate

    def own(ownership: Ownership, *ids: str) -> None:
        def generate(spec: Spec) -> Tree:
            tree = original(spec)
            return Tree(file._replace(ownership=ownership) if file.id in ids else file for file in tree)

        monkeypatch.setattr(generation, "generate", generate)

    return own


def entries(root: Path) -> dict[str, dict[str, object]]:
    """The files that the lock records, by id."""
    return {file["id"]: file for file in json.loads((root / ".tunesmith" / "lock.json").read_text())["files"]}


def apply_with(root: Path, *options: object, **changes: object) -> str:
    """Apply another spec; what plan says of it. No conflict, and a second plan has nothing to do."""
    write_spec(root, spec_with(**changes))
    planned = tunesmith("plan", root, *options)
    assert planned.returncode in (0, 2), planned.stdout + planned.stderr
    applied = tunesmith("apply", root, *options)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    again = tunesmith("plan", root)
    assert again.returncode == 0, again.stdout
    return planned.stdout


@pytest.mark.parametrize("edit", ["", "Ours.\n"])
def test_it_is_never_updated(edit: str, repository: Make, owned: Own) -> None:
    owned("once", "project/readme")
    root = repository()
    with (root / "README.md").open("a") as file:
        file.write(edit)
    before = snapshot(root)
    planned = apply_with(root, **NO_SEARCH, **OTHER_NAME)
    assert "keep     README.md  (yours since it was written; it would be written otherwise today)" in planned
    assert (root / "README.md").read_bytes() == before["README.md"]
    apply_with(root)
    assert snapshot(root) == before


def test_what_the_user_deleted_stays_deleted_until_it_is_restored(repository: Make, owned: Own) -> None:
    owned("once", "project/readme")
    root = repository()
    (root / "README.md").unlink()
    assert "keep     README.md  (deleted by you; stays deleted)" in apply_with(root, **NO_SEARCH)
    assert not (root / "README.md").exists()
    apply_with(root, "--restore", "README.md", **NO_SEARCH)
    fresh = repository(spec_with(**NO_SEARCH), name="fresh")
    assert (root / "README.md").read_bytes() == (fresh / "README.md").read_bytes(), "as it would be written today"
    restored = snapshot(root)
    apply_with(root)
    assert (root / "README.md").read_bytes() == restored["README.md"]
    apply_with(root, **NO_SEARCH)
    assert snapshot(root) == restored


@pytest.mark.parametrize("edit", ["", "Ours.\n"])
def test_once_it_is_not_generated_any_more_it_goes_unless_it_was_edited(
    edit: str, repository: Make, owned: Own
) -> None:
    owned("once", "hpo/script", "hpo/guide", "hpo/tests")
    root = repository()
    script, text = root / "src" / "support_assistant" / "hpo.py", ""
    with script.open("a") as file:
        file.write(edit)
    text = script.read_text()
    apply_with(root, train__adapter="full")
    assert script.read_text() == text
    planned = apply_with(root, train__adapter="full", **NO_SEARCH)
    assert ("(yours; written once; no longer generated)" in planned) == bool(edit)
    assert not (root / "docs" / "hpo.md").exists()
    assert script.exists() == bool(edit)
    if edit:
        assert script.read_text() == text
        assert "hpo/script" not in entries(root), "from now on it is nobody's but the user's"
        apply_with(root)
        assert script.read_text() == text
        assert (root / "docs" / "hpo.md").exists()


def test_it_is_not_written_over_what_is_there(repository: Make, owned: Own) -> None:
    """A file or a folder of the user's stays, without a conflict, whatever comes later."""
    owned("once", "hpo/guide", "hpo/tests")
    root = repository(spec_with(**NO_SEARCH))
    (root / "docs" / "hpo.md").write_text("Mine.\n")
    (root / "tests" / "test_hpo.py").mkdir()
    (root / "tests" / "test_hpo.py" / "own.txt").write_text("Mine.\n")
    planned = apply_with(root)
    assert "keep     docs/hpo.md  (yours: there was something here when it would have been written)" in planned
    assert "keep     tests/test_hpo.py  (yours" in planned
    apply_with(root, train__adapter="full")
    apply_with(root, **NO_SEARCH)
    assert (root / "docs" / "hpo.md").read_text() == "Mine.\n"
    assert (root / "tests" / "test_hpo.py" / "own.txt").read_text() == "Mine.\n"


def test_it_is_not_written_over_a_generated_file_that_the_user_moved_there(repository: Make, owned: Own) -> None:
    owned("once", "hpo/guide")
    root = repository(spec_with(**NO_SEARCH))
    (root / "docs" / "data.md").rename(root / "docs" / "hpo.md")
    text = (root / "docs" / "hpo.md").read_text()
    assert "not written, since another generated file is in its place" in apply_with(root)
    assert (root / "docs" / "hpo.md").read_text() == text
    assert not (root / "docs" / "data.md").exists()


def test_it_moves_with_what_the_user_wrote(repository: Make, owned: Own) -> None:
    owned("once", "train/script", "data/script", "hpo/script")
    root = repository()
    source, target = root / "src" / "support_assistant", root / "src" / "order_helper"
    with (source / "train.py").open("a") as file:
        file.write("\n\nOURS = 1\n")
    text, unedited = (source / "train.py").read_text(), (source / "data.py").read_bytes()
    target.mkdir()
    (target / "hpo.py").write_text("MINE = 1\n")
    (source / "hpo.py").write_text("OURS = 1\n")
    planned = apply_with(root, **OTHER_NAME)
    assert "move     src/order_helper/train.py  (from src/support_assistant/train.py, with your edits)" in planned, (
        planned
    )
    assert "keep     src/support_assistant/hpo.py  (stays here: something of yours is at src/order_helper/hpo.py)" in (
        planned
    )
    assert (target / "train.py").read_text() == text
    assert (target / "data.py").read_bytes() == unedited
    assert (source / "hpo.py").read_text() == "OURS = 1\n"
    assert (target / "hpo.py").read_text() == "MINE = 1\n"
    assert not (source / "train.py").exists()


def test_where_the_user_moved_it_it_stays(repository: Make, owned: Own) -> None:
    owned("once", "train/script")
    root = repository()
    script = root / "src" / "support_assistant" / "train.py"
    script.rename(root / "our_train.py")
    text = (root / "our_train.py").read_bytes()
    apply_with(root, **OTHER_NAME)
    assert (root / "our_train.py").read_bytes() == text
    assert entries(root)["train/script"]["moved_to"] == "our_train.py"
    assert not (root / "src" / "order_helper" / "train.py").exists()


@pytest.mark.parametrize("edit", ["", "Ours.\n"])
def test_a_newer_tool_makes_a_file_one_that_is_written_once(edit: str, repository: Make, owned: Own) -> None:
    owned("merge", "project/readme")
    root = repository()
    with (root / "README.md").open("a") as file:
        file.write(edit)
    text = (root / "README.md").read_bytes()
    owned("once", "project/readme")
    apply_with(root, **NO_SEARCH)
    assert (root / "README.md").read_bytes() == text
    assert entries(root)["project/readme"]["ownership"] == "once"
    # And back: what was written then is what the user's edits are edits of.
    owned("merge", "project/readme")
    apply_with(root, **NO_SEARCH, **OTHER_NAME)
    fresh = repository(spec_with(**NO_SEARCH, **OTHER_NAME), name="fresh")
    assert (root / "README.md").read_text() == (fresh / "README.md").read_text() + edit


@pytest.mark.parametrize("edit", ["", "OURS = 1\n"])
def test_a_lost_archive_is_no_conflict(edit: str, repository: Make, owned: Own) -> None:
    owned("once", "hpo/script")
    root = repository()
    script = root / "src" / "support_assistant" / "hpo.py"
    with script.open("a") as file:
        file.write(edit)
    text = script.read_bytes()
    (root / ".tunesmith" / "base.tar.xz").unlink()
    apply_with(root, train__adapter="full")
    assert script.read_bytes() == text
    apply_with(root, train__adapter="full", **NO_SEARCH)
    assert script.exists() == bool(edit)


def test_two_branches_keep_what_they_wrote(repository: Make, owned: Own) -> None:
    """Of a file that both branches had and neither touched, nothing is left to settle."""
    owned("once", "project/readme")
    root = repository()
    git = [require("git"), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    text = (root / "README.md").read_bytes()

    def run(*arguments: str) -> int:
        return subprocess.run([*git, *arguments], cwd=root, capture_output=True, check=False).returncode

    run("init", "--initial-branch", "main")
    run("add", "-A")
    run("commit", "-m", "first")
    run("checkout", "-b", "other")
    apply_with(root, serve__port=9000)
    run("commit", "-am", "port")
    run("checkout", "main")
    apply_with(root, train__epochs=7)
    run("commit", "-am", "epochs")
    assert run("merge", "other") != 0
    write_spec(root, spec_with(serve__port=9000, train__epochs=7))
    assert tunesmith("apply", root, "--rebase-lock").returncode == 0
    assert (root / "README.md").read_bytes() == text
    shutil.rmtree(root / ".git")
    apply_with(root, serve__port=9000, train__epochs=7)


def test_a_change_of_the_spec_that_would_be_seen_in_it_is_told(tmp_path: Path) -> None:
    """The licence is the owner's to exchange, and a spec that names another one is not passed over in silence."""
    root = write_spec(tmp_path, spec_with())
    assert tunesmith("apply", root).returncode == 0
    before = (root / "LICENSE").read_bytes()
    write_spec(root, spec_with(project__license="mit"))
    told = "keep     LICENSE  (yours since it was written; it would be written otherwise today)"
    assert told in tunesmith("plan", root).stdout
    assert told in tunesmith("apply", root).stdout
    assert (root / "LICENSE").read_bytes() == before
    # Only of the change that does it: not once it is done, and not at later ones of something else.
    assert command("plan", root).stdout.startswith("Nothing to do")
    write_spec(root, spec_with(project__license="mit", train__epochs=5))
    later = tunesmith("apply", root).stdout
    assert "configs/default.yaml" in later
    assert "LICENSE" not in later
    assert "README.md" not in later
    write_spec(root, spec_with(train__epochs=5))
    assert "LICENSE" not in tunesmith("plan", root).stdout, "it is what the spec says again"
    write_spec(root, spec_with(project__license="mit", train__epochs=5))
    (root / "LICENSE").unlink()
    assert tunesmith("apply", root, "--restore", "LICENSE").returncode == 0
    assert "Permission is hereby granted" in (root / "LICENSE").read_text()
    write_spec(root, spec_with(project__license="mit", train__epochs=7))
    assert "LICENSE" not in tunesmith("plan", root).stdout
