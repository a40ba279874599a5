"""Regeneration where git takes files away and brings them back, and where it merges what two branches generated."""

import json
import lzma
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import command, newer_tool, require, snapshot, spec_with, tunesmith, write_spec

Make = Callable[..., Path]
NO_SEARCH = {"hpo__enabled": False}
OTHER = {"train__epochs": 7, "serve__engine": "vllm"}
RECORD = (".tunesmith/lock.json", ".tunesmith/base.tar.xz")


def git(root: Path, *arguments: str, code: int | None = 0) -> str:
    """What git prints, in its user's environment; any exit code where `code` is None."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.editor=true")
    done = subprocess.run(
        [require("git"), *identity, *arguments], cwd=root, check=False, capture_output=True, text=True
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "c", "--allow-empty")


def regenerated(root: Path, **changes: object) -> None:
    write_spec(root, spec_with(**changes))
    done = tunesmith("apply", root)
    assert done.returncode == 0, done.stdout + done.stderr


def append(path: Path, line: str = "A line of ours.\n") -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


@pytest.fixture
def committed(repository: Make) -> Path:
    """A repository with one commit."""
    root = repository()
    commit(root)
    return root


# Files that are not there for a while


def test_a_sparse_checkout_is_neither_a_deletion_nor_written_and_catches_up(committed: Path, repository: Make) -> None:
    root = committed
    append(root / "docs" / "pipeline.md")
    commit(root)
    git(root, "sparse-checkout", "set", "src", "configs", ".tunesmith", "data")
    planned = tunesmith("plan", root)
    assert planned.returncode == 0, planned.stdout
    assert "keep     docs/data.md  (outside of the sparse checkout)" in planned.stdout
    regenerated(root, **OTHER, **NO_SEARCH)
    assert not (root / "docs").exists()
    assert not (root / "vendor").exists()
    planned = tunesmith("plan", root)
    assert planned.returncode == 0, planned.stdout
    assert "docs/serve.md  (outside of the sparse checkout; is updated once it is there)" in planned.stdout
    assert "deleted by you" not in planned.stdout
    commit(root)
    git(root, "sparse-checkout", "disable")
    planned = tunesmith("plan", root)
    for line in (
        "merge    docs/pipeline.md  (your edits, and changed by the spec)",
        "update   docs/serve.md  (changed by the spec)",
        "delete   docs/hpo.md  (no longer generated)",
    ):
        assert line in planned.stdout, planned.stdout
    assert tunesmith("apply", root).returncode == 0
    fresh, found = snapshot(repository(spec_with(**OTHER, **NO_SEARCH), name="fresh")), snapshot(root)
    assert found.pop("docs/pipeline.md") == fresh.pop("docs/pipeline.md") + b"A line of ours.\n"
    once = {"README.md", "CONTRIBUTING.md", "LICENSE", ".env.example"}
    assert {path: found[path] for path in found.keys() - once - {*RECORD}} == {
        path: fresh[path] for path in fresh.keys() - once - {*RECORD}
    }
    assert tunesmith("plan", root).returncode == 0


def test_a_sparse_checkout_while_the_spec_moves_everything(committed: Path, repository: Make) -> None:
    root, changes = committed, {"project__name": "order-helper"}
    git(root, "sparse-checkout", "set", "docs", ".tunesmith", "data")
    regenerated(root, **changes)
    assert not (root / "src").exists()
    commit(root)
    git(root, "sparse-checkout", "disable")
    assert "move     src/order_helper/train.py  (from src/support_assistant/train.py)" in tunesmith("plan", root).stdout
    assert tunesmith("apply", root).returncode == 0
    assert snapshot(root).keys() == snapshot(repository(spec_with(**changes), name="fresh")).keys()
    assert tunesmith("plan", root).returncode == 0


def test_a_file_of_the_users_outside_of_the_sparse_checkout_is_not_overwritten(repository: Make) -> None:
    """Where a new file has to go; it is in conflict as soon as it is there."""
    root = repository(spec_with(**NO_SEARCH))
    (root / "docs" / "hpo.md").write_text("Mine.\n")
    commit(root)
    git(root, "sparse-checkout", "set", "src", "configs", "tests", ".tunesmith", "data")
    regenerated(root)
    assert not (root / "docs").exists()
    assert (
        "docs/hpo.md  (outside of the sparse checkout; is written once it is there)" in tunesmith("plan", root).stdout
    )
    git(root, "add", "-A")
    git(root, "sparse-checkout", "disable")
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "docs/hpo.md: TS405 a file of yours is in the way" in done.stderr
    assert (root / "docs" / "hpo.md").read_text() == "Mine.\n"


@pytest.mark.parametrize("cone", ["--cone", "--no-cone"])
def test_a_new_file_that_a_sparse_checkout_leaves_out_is_written_once_it_is_in(repository: Make, cone: str) -> None:
    """git would not add it, and everybody else would get a record of a file that nobody has."""
    root = repository(spec_with(**NO_SEARCH))
    commit(root)
    at_the_top = [] if cone == "--cone" else ["pipeline.yaml"]  # where all files are always in
    git(root, "sparse-checkout", "set", cone, "src", "configs", "tests", ".tunesmith", "data", *at_the_top)
    regenerated(root)
    assert not (root / "docs").exists()
    assert (root / "src" / "support_assistant" / "hpo.py").exists()
    assert (
        "docs/hpo.md  (outside of the sparse checkout; is written once it is there)" in tunesmith("plan", root).stdout
    )
    git(root, "add", "-A")
    git(root, "commit", "--quiet", "--message", "regenerated")
    git(root, "sparse-checkout", "disable")
    assert "create   docs/hpo.md  (new)" in tunesmith("plan", root).stdout
    assert tunesmith("apply", root).returncode == 0
    assert (root / "docs" / "hpo.md").exists()
    assert tunesmith("plan", root).returncode == 0


def test_a_sparse_checkout_without_the_record_says_how_to_get_it(committed: Path) -> None:
    git(committed, "sparse-checkout", "set", "src", "data")
    for name in ("plan", "apply", "check"):
        done = tunesmith(name, committed)
        assert done.returncode == 1
        assert (
            "TS415 is missing, which records what was generated here; restore it: `git sparse-checkout add .tunesmith`"
            in done.stderr
        )


def test_restoring_what_is_outside_of_the_sparse_checkout_is_refused(committed: Path) -> None:
    git(committed, "sparse-checkout", "set", "src", ".tunesmith", "data")
    done = tunesmith("apply", committed, "--restore", "docs/data.md")
    assert done.returncode == 1
    assert "docs/data.md: TS407 is outside of the sparse checkout" in done.stderr


@pytest.mark.parametrize("edited", [False, True])
def test_a_deleted_file_that_git_brings_back_gets_what_it_missed(
    edited: bool, committed: Path, repository: Make
) -> None:
    """Also what it missed twice, and also where it was edited."""
    root, guide = committed, committed / "docs" / "serve.md"
    ours = "A line of ours.\n" if edited else ""
    guide.write_text(ours + guide.read_text())
    commit(root)
    guide.unlink()
    regenerated(root, serve__engine="vllm")
    assert not guide.exists()
    regenerated(root, serve__engine="vllm", serve__port=9000)
    entry = next(
        file for file in json.loads((root / RECORD[0]).read_text())["files"] if file["path"] == "docs/serve.md"
    )
    assert entry["deleted"]
    git(root, "checkout", "--", "docs/serve.md")
    planned = tunesmith("plan", root)
    assert f"{'merge ' if edited else 'update'}   docs/serve.md  (" in planned.stdout, planned.stdout
    assert tunesmith("apply", root).returncode == 0
    fresh = repository(spec_with(serve__engine="vllm", serve__port=9000), name="fresh")
    assert guide.read_text() == ours + (fresh / "docs" / "serve.md").read_text()
    assert tunesmith("plan", root).returncode == 0


def test_a_deleted_file_that_git_brings_back_where_it_is_no_longer_generated(committed: Path) -> None:
    """It goes, as it would have gone; what the user writes there instead is theirs."""
    root, guide = committed, committed / "docs" / "hpo.md"
    guide.unlink()
    regenerated(root, **NO_SEARCH)
    guide.write_text("Mine.\n")
    assert tunesmith("plan", root).returncode in (0, 2)
    git(root, "checkout", "--", "docs/hpo.md")
    assert "delete   docs/hpo.md  (no longer generated)" in tunesmith("plan", root).stdout
    guide.write_text("Mine.\n")
    assert tunesmith("apply", root).returncode == 0
    assert guide.read_text() == "Mine.\n"
    assert tunesmith("plan", root).returncode == 0
    write_spec(root, spec_with())
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "docs/hpo.md: TS405 a file of yours is in the way" in done.stderr


def test_a_deleted_file_that_git_brings_back_where_it_is_generated_elsewhere(committed: Path) -> None:
    root = committed
    (root / "src" / "support_assistant" / "cli.py").unlink()
    regenerated(root, project__name="order-helper")
    assert not (root / "src" / "order_helper" / "cli.py").exists()
    git(root, "checkout", "--", "src/support_assistant/cli.py")
    assert tunesmith("apply", root).returncode == 0
    assert (root / "src" / "order_helper" / "cli.py").is_file()
    assert not (root / "src" / "support_assistant").exists()
    assert tunesmith("plan", root).returncode == 0


def test_a_deleted_file_stays_deleted_through_a_change_and_back(committed: Path) -> None:
    root = committed
    (root / "docs" / "hpo.md").unlink()
    regenerated(root)
    before = snapshot(root)
    regenerated(root, **NO_SEARCH)
    regenerated(root)
    assert snapshot(root) == before


def test_a_deleted_file_whose_path_another_one_takes(committed: Path, tmp_path: Path) -> None:
    """Two absent files and one that is there claim one path: each keeps its own bytes in the archive."""
    data = "generator/tunesmith/components/data.py"
    training = "generator/tunesmith/components/training.py"
    root = committed
    (root / "docs" / "train.md").unlink()
    assert tunesmith("apply", root).returncode == 0
    tool = newer_tool(
        tmp_path / "tool",
        (data, '"docs/data.md"', '"docs/train.md"'),
        (training, '"docs/train.md"', '"docs/training.md"'),
    )
    done = tool("apply", root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# " in (root / "docs" / "train.md").read_text()
    assert not (root / "docs" / "data.md").exists()
    assert tool("plan", root).returncode == 0
    entries = {file["id"]: file for file in json.loads((root / RECORD[0]).read_text())["files"]}
    assert entries["data/guide"]["path"] == entries["train/guide"]["path"] == "docs/train.md"
    assert tool("check", root).returncode == 0
    (root / "docs" / "train.md").unlink()
    assert tool("apply", root).returncode == 0
    assert tool("plan", root).returncode == 0
    git(root, "checkout", "--", "docs/train.md")
    done = tool("apply", root)
    assert done.returncode == 0
    assert "move     docs/training.md  (from docs/train.md)" in done.stdout
    assert tool("plan", root).returncode == 0


def test_a_lock_of_before_files_could_be_absent_is_read(committed: Path) -> None:
    """With neither seal nor the archive's digest; also where it recorded a deletion with what is generated today."""
    root, lock = committed, committed / RECORD[0]
    (root / "AGENTS.md").unlink()
    assert tunesmith("apply", root).returncode == 0
    document = json.loads(lock.read_text())
    del document["seal"], document["archive"]
    lock.write_text(json.dumps(document))
    planned = tunesmith("plan", root)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    regenerated(root, **NO_SEARCH)
    assert not (root / "AGENTS.md").exists()
    assert json.loads(lock.read_text())["seal"]


# Two branches that both regenerated, however git merges them

EPOCHS, TRIALS = "train:\n  epochs: 3\n", "hpo:\n  trials: 20\n"


@pytest.fixture
def branches(repository: Make) -> Path:
    """On `main`, other epochs; on `other`, another engine and no search; both regenerated."""
    root = repository()
    spec = root / "pipeline.yaml"
    apart = "# one\n# two\n# three\n# four\n"
    append(spec, f"{EPOCHS}{apart}{TRIALS}")
    assert tunesmith("apply", root).returncode == 0
    commit(root)
    git(root, "checkout", "-qb", "other")
    append(root / "AGENTS.md", "Theirs.\n")
    spec.write_text(spec.read_text().replace("trials: 20", "enabled: false"))
    assert tunesmith("apply", root).returncode == 0
    commit(root)
    git(root, "checkout", "-q", "main")
    append(root / "Makefile", "# Ours.\n")
    spec.write_text(spec.read_text().replace("epochs: 3", "epochs: 9"))
    assert tunesmith("apply", root).returncode == 0
    commit(root)
    return root


def merged_by(how: str, root: Path) -> None:
    """Leave git waiting for somebody to merge the lock."""
    if how == "squash":
        git(root, "merge", "--squash", "other", code=1)
    elif how == "stash pop":
        git(root, "checkout", "-q", "other")
        git(root, "reset", "-q", "--soft", "HEAD^")
        git(root, "stash", "-q")
        git(root, "checkout", "-q", "main")
        git(root, "stash", "pop", code=1)
    elif how == "autostash":
        upstream = root.parent / "upstream"
        git(root, "clone", "-q", "--bare", str(root), str(upstream))
        git(root, "remote", "add", "origin", str(upstream))
        git(root, "push", "-q", "origin", "other:main", "--force")
        git(root, "reset", "-q", "--soft", "HEAD^")
        git(root, "pull", "-q", "--rebase", "--autostash", "origin", "main", code=None)
    else:
        git(root, *how.split(), "other", code=1)
    assert git(root, "ls-files", "--unmerged", "--", ".tunesmith"), "this is the situation"


@pytest.mark.parametrize("taken", ["as git leaves it", "--ours", "--theirs"])
@pytest.mark.parametrize("how", ["squash", "stash pop", "autostash", "cherry-pick", "merge"])
def test_two_versions_of_the_lock_are_noticed_and_merged(how: str, taken: str, branches: Path) -> None:
    root = branches
    merged_by(how, root)
    if taken != "as git leaves it":
        git(root, "checkout", taken, "--", ".tunesmith")
    before = snapshot(root)
    for name in ("plan", "apply"):
        done = tunesmith(name, root)
        assert done.returncode == 1
        assert "TS409 git is merging two branches that both regenerated; add --rebase-lock" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "TS409" in tunesmith("check", root).stderr
    assert snapshot(root) == before
    done = tunesmith("apply", root, "--rebase-lock")
    assert done.returncode == 0, done.stdout + done.stderr
    commit(root)
    assert tunesmith("plan", root).returncode == 0
    assert tunesmith("check", root).returncode == 0
    assert "epochs: 9.0" in (root / "configs" / "default.yaml").read_text()
    assert not (root / "docs" / "hpo.md").exists()
    assert (root / "AGENTS.md").read_text().endswith("Theirs.\n")
    assert (root / "Makefile").read_text().endswith("# Ours.\n")
    # Nothing that a branch generated is taken for an edit.
    assert "configs/default.yaml" not in tunesmith("plan", root).stdout


def test_a_merge_where_another_repository_is_in_the_environment(branches: Path, tmp_path: Path) -> None:
    """As in a hook of a repository elsewhere, or of this one, with an index of its own."""
    git(tmp_path, "init", "-q", str(tmp_path / "elsewhere"))
    merged_by("merge", branches)
    elsewhere = tmp_path / "elsewhere" / ".git"
    for environment in (
        {"GIT_DIR": str(elsewhere), "GIT_WORK_TREE": str(elsewhere.parent)},
        {"GIT_INDEX_FILE": str(tmp_path / "another index")},
        {"GIT_DIR": "/nowhere"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.worktree", "GIT_CONFIG_VALUE_0": str(tmp_path)},
    ):
        assert "TS409" in command("plan", branches, **environment).stderr, environment
    done = command("apply", branches, "--rebase-lock", GIT_DIR=str(elsewhere), GIT_INDEX_FILE=str(tmp_path / "none"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "none").exists()


def test_a_new_repository_while_another_one_is_in_the_environment(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", str(tmp_path / "elsewhere"))
    root = write_spec(tmp_path / "repository", spec_with())
    done = command("apply", root, GIT_DIR=str(tmp_path / "elsewhere" / ".git"))
    assert done.returncode == 0, done.stderr
    assert (root / ".git").is_dir()
    checked = command("check", root, GIT_DIR=str(tmp_path / "elsewhere" / ".git"))
    assert not checked.stdout.startswith("0 files")


def test_tunesmith_in_a_hook_of_the_repository(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit of some paths alone has an index of its own, of which the hook is told."""
    root = committed
    hook = root / ".git" / "hooks" / "pre-commit"
    hook.write_text(
        f'#!/bin/sh\nenv | grep ^GIT_ > "{root.parent}/environment"\nexec "$TUNESMITH" -m tunesmith plan "{root}"\n'
    )
    hook.chmod(0o755)
    append(root / "docs" / "data.md")
    monkeypatch.setenv("TUNESMITH", sys.executable)
    git(root, "commit", "-qm", "edit", "docs/data.md")
    assert "GIT_INDEX_FILE" in (root.parent / "environment").read_text()


def test_the_lock_of_one_branch_with_the_archive_of_the_other(branches: Path) -> None:
    """Also where the spec and the files are those of the lock, so that nothing seems to change."""
    root = branches
    git(root, "checkout", "other", "--", ".tunesmith/base.tar.xz")
    before = snapshot(root)
    for name in ("plan", "apply", "check"):
        done = tunesmith(name, root)
        assert done.returncode == 1
        assert "base.tar.xz: TS414 is not of the same generation as the lock" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert snapshot(root) == before


@pytest.mark.parametrize("side", ["ours", "theirs", "union"])
def test_a_lock_that_git_merged_line_by_line(side: str, branches: Path) -> None:
    """Without the attributes that Tunesmith writes, git mixes the lines of two generations, and is content."""
    root = branches
    (root / ".gitattributes").unlink()
    (root / ".git" / "info").mkdir(exist_ok=True)
    (root / ".git" / "info" / "attributes").write_text(".tunesmith/lock.json merge=union\n" if side == "union" else "")
    commit(root)
    git(root, "merge", "-q", "--no-edit", "-X", "theirs" if side == "theirs" else "ours", "other", code=None)
    assert not git(root, "ls-files", "--unmerged", "--", RECORD[0])
    before = snapshot(root)
    for name in ("plan", "apply", "check"):
        done = tunesmith(name, root)
        assert done.returncode == 1, done.stdout
        assert "TS409" in done.stderr or "TS410" in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    assert snapshot(root) == before
    done = tunesmith("apply", root, "--rebase-lock")
    assert done.returncode == 0, done.stdout + done.stderr
    assert tunesmith("plan", root).returncode == 0


def test_a_lock_with_conflict_markers_that_was_added(branches: Path) -> None:
    root = branches
    (root / ".gitattributes").unlink()
    commit(root)
    git(root, "merge", "--squash", "other", code=1)
    commit(root)
    assert "<<<<<<< " in (root / RECORD[0]).read_text()
    for name in ("plan", "apply", "check"):
        done = tunesmith(name, root)
        assert done.returncode == 1
        assert "lock.json: TS409 has conflict markers" in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
    git(root, "checkout", "other", "--", ".tunesmith")
    assert tunesmith("apply", root).returncode == 0
    assert "epochs: 9.0" in (root / "configs" / "default.yaml").read_text()


def test_a_merge_that_does_not_touch_the_lock_is_none_of_tunesmiths_business(committed: Path) -> None:
    root = committed
    (root / "own.txt").write_text("one\n")
    commit(root)
    git(root, "checkout", "-qb", "other")
    (root / "own.txt").write_text("two\n")
    commit(root)
    git(root, "checkout", "-q", "main")
    (root / "own.txt").write_text("three\n")
    commit(root)
    git(root, "merge", "other", code=1)
    assert tunesmith("plan", root).returncode == 0
    regenerated(root, **OTHER)


def test_an_archive_that_another_version_of_the_library_packed(committed: Path) -> None:
    """The same bytes, in another compression: the record is sound."""
    base = committed / RECORD[1]
    base.write_bytes(lzma.compress(lzma.decompress(base.read_bytes()), preset=6))
    assert tunesmith("plan", committed).returncode == 0
    assert tunesmith("check", committed).returncode == 0


@pytest.mark.parametrize("situation", ["unchanged", "changed", "no record"])
def test_without_git_on_the_machine(situation: str, committed: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    if situation == "changed":
        write_spec(committed, spec_with(**OTHER))
    if situation == "no record":
        shutil.rmtree(committed / ".tunesmith")
    done = command("apply", committed, PATH=str(tmp_path / "bin"))
    assert done.returncode == 0, done.stderr
    assert command("check", committed, PATH=str(tmp_path / "bin")).returncode == 0


# The record is lost


@pytest.mark.parametrize(
    ("loss", "advice"),
    [
        ("deleted", "git checkout -- .tunesmith"),
        ("removed by git", "git checkout HEAD -- .tunesmith"),
        ("lock alone", "git checkout -- .tunesmith"),
    ],
)
def test_a_lost_record_that_git_has_is_named_with_the_command_that_restores_it(
    loss: str, advice: str, committed: Path
) -> None:
    root = committed
    append(root / "docs" / "pipeline.md")
    if loss == "removed by git":
        git(root, "rm", "-rq", ".tunesmith")
    elif loss == "lock alone":
        (root / RECORD[0]).unlink()
    else:
        shutil.rmtree(root / ".tunesmith")
    write_spec(root, spec_with(**OTHER))
    before = snapshot(root)
    for name in ("plan", "apply", "check"):
        done = tunesmith(name, root)
        assert done.returncode == 1
        assert (
            f".tunesmith: TS415 is missing, which records what was generated here; restore it: `{advice}`"
            in done.stderr
        )
        assert len(done.stderr.splitlines()) == 1
    assert snapshot(root) == before
    git(root, *advice.split()[1:])
    assert tunesmith("apply", root).returncode == 0
    assert (root / "docs" / "pipeline.md").read_text().endswith("A line of ours.\n")


def test_a_lost_archive_that_git_has_is_named_where_edits_cannot_be_merged(committed: Path) -> None:
    root = committed
    append(root / "docs" / "serve.md")
    (root / RECORD[1]).unlink()
    write_spec(root, spec_with(**OTHER))
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "base.tar.xz: TS415 is missing" in done.stderr
    assert "`git checkout -- .tunesmith`" in done.stderr


def test_a_record_that_was_never_committed_because_of_a_gitignore(repository: Make, tmp_path: Path) -> None:
    root = repository()
    (root / ".git" / "info" / "exclude").write_text(".tunesmith/\n")
    commit(root)
    assert ".tunesmith/lock.json: TS415 is ignored by git, so no clone will have it" in tunesmith("check", root).stderr
    git(tmp_path, "clone", "-q", str(root), str(tmp_path / "clone"))
    clone = write_spec(tmp_path / "clone", spec_with(**OTHER))
    before = snapshot(clone)
    for name in ("plan", "apply"):
        done = tunesmith(name, clone)
        assert done.returncode == 3
        first = done.stderr.splitlines()[0]
        assert ".tunesmith: TS415 is missing" in first
        assert "`git add --force .tunesmith`" in first
    assert snapshot(clone) == before
    assert json.loads(tunesmith("plan", clone, "--json").stdout)["problems"][0]["code"] == "TS415"
    assert "TS415" in tunesmith("check", clone).stderr
    assert tunesmith("apply", clone, "--on-conflict", "theirs").returncode == 3
    assert tunesmith("plan", clone).returncode == 0
    git(root, "add", "--force", ".tunesmith")
    assert tunesmith("check", root).returncode == 0


def test_a_first_apply_beside_files_of_the_users_speaks_of_no_lost_record(tmp_path: Path) -> None:
    root = write_spec(tmp_path, spec_with())
    (root / "Makefile").write_text("mine:\n")
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "TS415" not in done.stderr
