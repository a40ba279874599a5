"""Plan and apply: what plan says is what apply does, twice changes nothing, and an edit is never overwritten."""

import hashlib
import io
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from conftest import require, snapshot, spec_with, tunesmith, write_spec

Make = Callable[..., Path]


def test_plan_says_what_apply_does(tmp_path: Path) -> None:
    root = write_spec(tmp_path, spec_with())
    before = snapshot(root)
    planned = tunesmith("plan", root, "--json")
    assert planned.returncode == 2
    assert snapshot(root) == before, "plan writes nothing"
    steps = json.loads(planned.stdout)["steps"]
    assert {step["action"] for step in steps} == {"create"}
    applied = tunesmith("apply", root)
    assert applied.returncode == 0
    assert set(snapshot(root)) - set(before) == {step["path"] for step in steps}


def test_applying_twice_changes_nothing(repository: Make) -> None:
    root = repository()
    before = {path: os.stat(root / path).st_mtime_ns for path in snapshot(root)}
    planned = tunesmith("plan", root)
    assert planned.returncode == 0
    assert "Nothing to do" in planned.stdout
    assert tunesmith("apply", root).returncode == 0
    assert {path: os.stat(root / path).st_mtime_ns for path in snapshot(root)} == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"train__adapter": "lora"}, {"train__adapter": "full"}),
        ({"hpo__enabled": True}, {"hpo__enabled": False}),
        ({"serve__engine": "fastapi"}, {"serve__engine": "vllm"}),
        ({"project__name": "first-name"}, {"project__name": "second-name"}),
        ({"ci__provider": "github"}, {"ci__provider": "none"}),
    ],
)
def test_without_edits_a_change_equals_a_fresh_repository_and_back_again(
    one: dict[str, object], other: dict[str, object], repository: Make
) -> None:
    root, fresh = repository(spec_with(**one)), repository(spec_with(**other), name="fresh")
    first = snapshot(root)
    write_spec(root, spec_with(**other))
    assert tunesmith("plan", root).returncode == 2
    assert tunesmith("apply", root).returncode == 0
    # What is written once is the user's since, and the record says how it was written.
    once = {"README.md", "CONTRIBUTING.md", "LICENSE", ".env.example", ".tunesmith/lock.json", ".tunesmith/base.tar.xz"}
    after, wanted = snapshot(root), snapshot(fresh)
    assert after.keys() == wanted.keys()
    assert {path for path in after if after[path] != wanted[path]} <= once
    assert all(after[path] == first[path] for path in once if path in first and not path.startswith(".tunesmith/"))
    write_spec(root, spec_with(**one))
    assert tunesmith("apply", root).returncode == 0
    assert snapshot(root) == first


def test_an_edit_survives_a_change_of_other_files(repository: Make) -> None:
    root = repository()
    guide = root / "docs" / "data.md"
    guide.write_text("Mine.\n")
    write_spec(root, spec_with(hpo__enabled=False))
    assert tunesmith("apply", root).returncode == 0
    assert guide.read_text() == "Mine.\n"
    assert not (root / "docs" / "hpo.md").exists()


def test_a_file_the_user_deleted_stays_deleted(repository: Make) -> None:
    root = repository()
    (root / "AGENTS.md").unlink()
    write_spec(root, spec_with(hpo__enabled=False))
    planned = tunesmith("plan", root)
    assert "AGENTS.md  (deleted by you; stays deleted)" in planned.stdout
    assert tunesmith("apply", root).returncode == 0
    assert not (root / "AGENTS.md").exists()


def test_an_edited_file_that_is_no_longer_generated_is_a_conflict(repository: Make) -> None:
    root = repository()
    (root / "docs" / "hpo.md").write_text("Mine.\n")
    write_spec(root, spec_with(hpo__enabled=False))
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert (root / "docs" / "hpo.md").read_text() == "Mine.\n"


def test_a_file_of_the_users_in_the_way_is_a_conflict(tmp_path: Path) -> None:
    root = write_spec(tmp_path, spec_with())
    (root / "Makefile").write_text("mine:\n")
    before = snapshot(root)
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "Makefile: TS405 a file of yours is in the way" in done.stderr
    assert snapshot(root) == before


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    root, outside = write_spec(tmp_path / "repository", spec_with()), tmp_path / "outside"
    outside.mkdir()
    (root / "src").symlink_to(outside)
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert not list(outside.iterdir())


def test_a_new_repository_is_a_git_repository_and_a_subfolder_of_one_is_not(repository: Make, tmp_path: Path) -> None:
    assert (repository() / ".git").is_dir()
    subprocess.run([require("git"), "init", "-q", tmp_path / "large"], check=True)
    inner = repository(name="large/inner")
    assert not (inner / ".git").exists()


@pytest.mark.parametrize("target", ["a file", "a missing folder"])
def test_a_target_that_is_no_folder_is_refused(target: str, tmp_path: Path) -> None:
    path = tmp_path / "target"
    if target == "a file":
        path.write_text("x")
    done = tunesmith("apply", path)
    assert done.returncode == 1
    assert ("TS402" if target == "a file" else "TS001") in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that holds the spec and not much more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        require("mount as root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_disk_that_fills_during_apply_changes_nothing(small_disk: Path) -> None:
    root = write_spec(small_disk, spec_with())
    before = snapshot(root)
    done = tunesmith("apply", root)
    assert done.returncode == 1
    assert "TS404 no space left on the disk" in done.stderr
    assert snapshot(root) == before
    assert sorted(path.name for path in root.iterdir()) == ["data", "pipeline.yaml"]


def unprivileged(*command: object) -> subprocess.CompletedProcess[str]:
    """Run the command line as somebody for whom permissions count; root gives up the right to ignore them."""
    line = [sys.executable, "-m", "tunesmith", *map(str, command)]
    if os.getuid() == 0:
        line = [require("setpriv"), "--bounding-set=-dac_override,-dac_read_search", *line]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_a_folder_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    root = write_spec(tmp_path / "repository", spec_with())
    root.chmod(0o555)
    try:
        applied = unprivileged("apply", root)
        initialised = unprivileged("init", "support-assistant", root / "new", "--defaults")
    finally:
        root.chmod(0o755)
    for done in (applied, initialised):
        assert done.returncode == 1
        assert "TS403" in done.stderr, done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in root.iterdir()) == ["data", "pipeline.yaml"]


def test_a_subfolder_that_cannot_be_written_changes_nothing(repository: Make) -> None:
    root = repository()
    write_spec(root, spec_with(hpo__enabled=False))
    before = snapshot(root)
    (root / "docs").chmod(0o555)
    try:
        done = unprivileged("apply", root)
    finally:
        (root / "docs").chmod(0o755)
    assert done.returncode == 1
    assert "docs: TS403 cannot be written" in done.stderr, done.stderr
    assert snapshot(root) == before


KILLER = """
import json, os, shutil, signal, sys
from pathlib import Path
from tunesmith.regeneration import apply as application
from tunesmith.regeneration.plan import plan

changed, place = Path(sys.argv[1]), Path(sys.argv[2])
planned = plan(changed)

def apply_until(deadly):
    # Every call that changes the disk is counted; the one with the deadly number kills the process first.
    root = place / str(deadly)
    shutil.copytree(changed, root)
    process = os.fork()
    if process:
        return root, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    calls = 0
    def audit(event, arguments):
        nonlocal calls
        writes = event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree")
        if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            writes = True
        if writes and str(root) in str(arguments[0]):
            calls += 1
            if calls == deadly:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(audit)
    application.apply(planned._replace(root=root))
    os._exit(0)

codes = []
for deadly in range(1, 1000):
    root, code = apply_until(deadly)
    application.finish(root)
    codes.append(code)
    if code == 0:
        break
print(json.dumps(codes))
"""


def test_a_kill_at_any_write_leaves_the_old_or_the_new(repository: Make, tmp_path: Path) -> None:
    """The next run finishes what was decided, or clears away what was not; with merges, moves and deletions in it."""
    changed = repository()
    for name in ("README.md", "src/support_assistant/data.py"):
        with (changed / name).open("a") as file:
            file.write("\n\n# Ours\n")
    write_spec(changed, spec_with(project__name="order-helper", hpo__enabled=False))
    new = shutil.copytree(changed, tmp_path / "new")
    assert tunesmith("apply", new).returncode == 0
    old, wanted = snapshot(changed), snapshot(new)
    assert wanted["src/order_helper/data.py"].endswith(b"# Ours\n")
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(changed), str(tmp_path / "killed")],
        capture_output=True,
        text=True,
        check=True,
    )
    codes = json.loads(done.stdout)
    assert codes[-1] == 0, "the last one was not killed"
    assert set(codes[:-1]) == {-signal.SIGKILL}
    assert len(codes) > 40
    results = [snapshot(tmp_path / "killed" / str(number)) for number in range(1, len(codes) + 1)]
    assert [number for number, result in enumerate(results, 1) if result not in (old, wanted)] == []
    assert results[0] == old
    assert results[-1] == wanted


def interrupted(root: Path) -> None:
    """Leave what an apply leaves that was killed right after its change was decided."""
    code = "import sys; from pathlib import Path; from tunesmith.regeneration import apply, plan; apply._stage(plan.plan(Path(sys.argv[1])))"
    subprocess.run([sys.executable, "-c", code, str(root)], check=True)


def test_an_interrupted_apply_is_finished_by_the_next(repository: Make) -> None:
    root, wanted = repository(), snapshot(repository(spec_with(hpo__enabled=False), name="wanted"))
    write_spec(root, spec_with(hpo__enabled=False))
    interrupted(root)
    assert "TS413" in tunesmith("plan", root).stderr
    applied = tunesmith("apply", root)
    assert "Finished what an interrupted apply had begun" in applied.stderr
    assert snapshot(root) == wanted


def test_what_was_not_decided_when_apply_was_killed_is_cleared_away(repository: Make) -> None:
    root = repository()
    (root / ".tunesmith" / "staging").mkdir()
    (root / ".tunesmith" / "staging" / "0").write_text("half")
    applied = tunesmith("apply", root)
    assert applied.returncode == 0
    assert "Nothing was changed, and nothing is left, of what an interrupted apply had begun." in applied.stderr
    assert not (root / ".tunesmith" / "staging").exists()


def test_an_edit_after_an_interrupted_apply_survives(repository: Make) -> None:
    """Merged where it can be, between markers where it clashes, as it is where the file was to go."""
    root = repository()
    write_spec(root, spec_with(hpo__enabled=False))
    interrupted(root)
    with (root / "Makefile").open("a") as file:
        file.write("# Mine\n")
    for name in ("docs/pipeline.md", "docs/hpo.md"):
        (root / name).write_text("Mine.\n")
    applied = tunesmith("apply", root)
    assert applied.returncode == 3
    assert "Makefile: you edited it since; both changes are in it" in applied.stderr
    assert "docs/pipeline.md: you edited it since; both sides are between markers" in applied.stderr
    assert "docs/hpo.md: you changed it since, and it is left as it is" in applied.stderr
    fresh = repository(spec_with(hpo__enabled=False), name="fresh")
    assert (root / "Makefile").read_text() == (fresh / "Makefile").read_text() + "# Mine\n"
    assert "<<<<<<< yours\nMine.\n" in (root / "docs/pipeline.md").read_text()
    assert (root / "docs/hpo.md").read_text() == "Mine.\n"


@pytest.mark.parametrize("since", ["deleted", "markers"])
def test_a_file_that_an_interrupted_apply_could_not_write_is_written_by_a_later_one(
    since: str, repository: Make
) -> None:
    """The record says what was written: such a file is still of the last generation."""
    root = repository()
    guide, old = root / "docs" / "serve.md", (root / "docs" / "serve.md").read_text()
    write_spec(root, spec_with(serve__engine="vllm"))
    interrupted(root)
    guide.unlink() if since == "deleted" else guide.write_text("<<<<<<< a\n" + old + "=======\nB.\n>>>>>>> b\n")
    applied = tunesmith("apply", root)
    assert "docs/serve.md: you changed it since, and it is left as it is" in applied.stderr
    assert tunesmith("check", root).returncode == (0 if since == "deleted" else 1)
    guide.write_text("Mine.\n" + old)
    planned = tunesmith("plan", root)
    assert "merge    docs/serve.md  (your edits, and changed by the spec" in planned.stdout, planned.stdout
    assert tunesmith("apply", root).returncode == 0
    fresh = repository(spec_with(serve__engine="vllm"), name="fresh")
    assert guide.read_text() == "Mine.\n" + (fresh / "docs" / "serve.md").read_text()
    assert tunesmith("plan", root).returncode == 0


def test_what_became_of_an_interrupted_apply_is_said_before_anything_else_fails(repository: Make) -> None:
    root = repository()
    write_spec(root, spec_with(hpo__enabled=False))
    interrupted(root)
    (root / "docs/pipeline.md").write_text("Mine.\n")
    (root / "pipeline.yaml").write_text("a: [\n")
    (root / "docs" / "hpo.md").unlink()
    (root / "docs" / "hpo.md").mkdir()
    applied = tunesmith("apply", root)
    assert applied.returncode == 1
    assert "docs/pipeline.md: you edited it since" in applied.stderr
    assert "docs/hpo.md: you changed it since" in applied.stderr
    assert "TS004" in applied.stderr


def test_two_applies_at_once_come_one_after_the_other(repository: Make) -> None:
    root, fresh = repository(), repository(spec_with(hpo__enabled=False), name="fresh")
    write_spec(root, spec_with(hpo__enabled=False))
    line = [sys.executable, "-m", "tunesmith", "apply", str(root)]
    both = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert sum("Nothing to do" in output for output, _ in outputs) == 1
    assert snapshot(root) == snapshot(fresh)


@pytest.mark.parametrize(
    "journal",
    [
        '{"changes": [{"number": 0, "path": "../precious", "mode": 420, "old": "x", "new": null}]}',
        '{"changes": [{"number": 0, "path": "/etc/precious", "mode": 420, "old": "x", "new": null}]}',
        '{"changes": [{"number": 0, "path": "sub/.git/hooks/x", "mode": 493, "old": null, "new": "x"}]}',
        '{"changes": [{"number": 0, "path": "new", "mode": 2541, "old": null, "new": "x"}]}',
        '{"changes": [{"number": 0, "path": "new", "mode": 493, "old": null, "new": "x"}]}',
        '{"changes": [{"number": "../../../precious", "path": "new", "mode": 493, "old": null, "new": "x"}]}',
        '{"place": [1, 2], "changes": [{"number": 0, "path": "new", "mode": 420, "old": null, "new": "x"}]}',
        '{"path": 1}',
        "[" * 100_000,
        "{",
    ],
)
def test_a_journal_that_nobody_should_trust_is_refused(journal: str, repository: Make) -> None:
    """Also where a staged file is a link to something outside."""
    root = repository()
    precious = root.parent / "precious"
    precious.write_text("keep")
    precious.chmod(0o600)
    staging = root / ".tunesmith" / "staging"
    staging.mkdir()
    (staging / "0").symlink_to(precious)
    place = json.dumps([root.stat().st_dev, root.stat().st_ino])
    (staging / "journal.json").write_text(journal.replace('{"changes"', f'{{"place": {place}, "changes"'))
    before = snapshot(root)
    done = tunesmith("apply", root)
    assert done.returncode == 1
    assert "TS41" in done.stderr, done.stderr
    assert precious.read_text() == "keep"
    assert precious.stat().st_mode & 0o777 == 0o600
    assert snapshot(root) == before


def archive_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def with_archive(root: Path, archive: bytes) -> None:
    """Put `archive` in the place of the base, and make the lock say that it belongs there."""
    lock = root / ".tunesmith" / "lock.json"
    document = json.loads(lock.read_text())
    lock.write_text(lock.read_text().replace(document["base"], hashlib.sha256(archive).hexdigest()))
    (root / ".tunesmith" / "base.tar.xz").write_bytes(lzma.compress(archive))


def sparse_archive() -> bytes:
    """A member that claims to be 500 GB, in a few bytes: PAX's sparse format 0.1."""
    info = member("README.md")
    info.pax_headers = {"GNU.sparse.size": str(500 * 2**30), "GNU.sparse.map": "0,1", "GNU.sparse.name": "README.md"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    return buffer.getvalue()


BASES: dict[str, Callable[[Path, Path], object]] = {
    "truncated": lambda root, base: base.write_bytes(base.read_bytes()[:1000]),
    "no archive": lambda root, base: base.write_bytes(b"x" * 100),
    "another generation": lambda root, base: base.write_bytes(lzma.compress(archive_of([(member("README.md"), b"x")]))),
    "bomb": lambda root, base: base.write_bytes(lzma.compress(bytes(300_000_000))),
    "link to the archive": lambda root, base: base.symlink_to(shutil.move(base, root / "elsewhere")),
    "leaves the repository": lambda root, base: with_archive(root, archive_of([(member("../x"), b"x")])),
    "absolute path": lambda root, base: with_archive(root, archive_of([(member("/etc/x"), b"x")])),
    "link": lambda root, base: with_archive(root, archive_of([(member("README.md", tarfile.SYMTYPE, "/etc"), b"")])),
    "device": lambda root, base: with_archive(root, archive_of([(member("README.md", tarfile.CHRTYPE), b"")])),
    "other content": lambda root, base: with_archive(root, archive_of([(member("README.md"), b"other")])),
    "missing members": lambda root, base: with_archive(root, archive_of([])),
    "sparse": lambda root, base: with_archive(root, sparse_archive()),
    "no tar": lambda root, base: with_archive(root, b"x" * 2000),
}


@pytest.mark.parametrize("kind", BASES)
def test_a_base_that_nobody_should_trust_is_refused(kind: str, repository: Make) -> None:
    root = repository()
    BASES[kind](root, root / ".tunesmith" / "base.tar.xz")
    write_spec(root, spec_with(hpo__enabled=False))
    before = snapshot(root)
    for name in ("plan", "apply"):
        done = tunesmith(name, root)
        assert done.returncode == 1
        assert "base.tar.xz: TS414" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert snapshot(root) == before


def test_a_base_archive_that_went_missing_is_written_again(repository: Make) -> None:
    root = repository()
    before = snapshot(root)
    (root / ".tunesmith" / "base.tar.xz").unlink()
    assert tunesmith("check", root).returncode == 1
    assert tunesmith("apply", root).returncode == 0
    assert snapshot(root) == before


@pytest.mark.parametrize("host", ["::1", "0.0.0.0", "server.example.org"])
def test_every_kind_of_host_is_rendered(host: str, repository: Make) -> None:
    config = (repository(spec_with(serve__host=host)) / "configs" / "default.yaml").read_text()
    assert yaml.safe_load(config)["serve"]["host"] == host


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda text: text[: len(text) // 2], "TS410"),
        (lambda text: text.replace('"format": 2', '"format": 99'), "TS410 was written by a newer Tunesmith"),
        (lambda text: text.replace('"path": "README.md"', '"path": "../../README.md"'), "TS411"),
        (lambda text: text.replace('"path": "README.md"', '"path": "/etc/passwd"'), "TS411"),
        (lambda text: text.replace('"path": "README.md"', '"path": ".git/config"'), "TS411"),
        (lambda text: text.replace('"path": "README.md"', '"path": "AGENTS.md"'), "TS410"),
        (lambda text: text.replace('"path": "README.md"', '"path": "pipeline.yaml"'), "TS411"),
        (lambda text: text.replace('"path": "README.md"', '"path": "sub/.git/config"'), "TS411"),
        (lambda text: text.replace('"path": "README.md"', '"path": "README.md", "moved_to": "../x"'), "TS411"),
        (lambda text: text.replace('"mode": "644"', '"mode": "4777"', 1), "TS410"),
        (lambda _: "[]", "TS410"),
    ],
)
def test_a_lock_that_nobody_should_trust_is_refused(
    damage: Callable[[str], str], expected: str, repository: Make
) -> None:
    root = repository()
    lock = root / ".tunesmith" / "lock.json"
    lock.write_text(damage(lock.read_text()))
    write_spec(root, spec_with(hpo__enabled=False))
    before = snapshot(root)
    for command in ("plan", "apply", "check"):
        done = tunesmith(command, root)
        assert done.returncode == 1
        assert expected in done.stderr
    assert snapshot(root) == before


def test_unchanged_repositories_are_planned_quickly_enough_to_be_asked_often(repository: Make) -> None:
    """Not a timing: an unchanged repository is planned without importing what rendering needs."""
    root = repository()
    code = (
        "import sys; from pathlib import Path; from tunesmith.regeneration.plan import plan; plan(Path(sys.argv[1])); "
        "print(sorted({'jinja2', 'pydantic', 'yaml', 'copier', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
