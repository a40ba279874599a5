"""Regeneration: the situations in which other tools lost people's work, each under its name, and the ways out."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import command, newer_tool, require, snapshot, spec_with, tunesmith, write_spec

Make = Callable[..., Path]
NO_SEARCH = {"hpo__enabled": False}
PROJECT_COMPONENT = "generator/tunesmith/components/project.py"
DATA_COMPONENT = "generator/tunesmith/components/data.py"
DATA_GUIDE = "templates/docs/data.md.j2"


def edit(path: Path, old: str, new: str) -> None:
    """Replace text that must be there."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def append(path: Path, line: str = "A line of ours.\n") -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(line)


def steps(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    return {step["path"]: step for step in json.loads(done.stdout)["steps"]}


def clash(root: Path) -> None:
    """Edit a line that a change of the spec rewrites."""
    edit(root / "configs" / "full.yaml", "  epochs: 3.0\n", "  epochs: 5.0  # ours\n")
    append(root / "configs" / "full.yaml", "# The end.\n")
    write_spec(root, spec_with(train__epochs=7))


# What is merged, and what moves


def test_edits_and_a_change_of_the_spec_in_one_file_are_merged(repository: Make) -> None:
    root = repository()
    append(root / "README.md")
    write_spec(root, spec_with(**NO_SEARCH))
    planned = tunesmith("plan", root)
    assert planned.returncode == 2
    assert "merge    README.md  (your edits, and changed by the spec" in planned.stdout
    assert tunesmith("apply", root).returncode == 0
    fresh = repository(spec_with(**NO_SEARCH), name="fresh")
    assert (root / "README.md").read_text() == (fresh / "README.md").read_text() + "A line of ours.\n"


def test_a_template_is_renamed(repository: Make, tmp_path: Path) -> None:
    root = repository()
    append(root / "docs" / "data.md")
    tool = newer_tool(
        tmp_path / "tool", (DATA_COMPONENT, '"docs/data.md"', '"docs/rows.md"'), (DATA_GUIDE, "# ", "# New: ")
    )
    assert "move     docs/rows.md  (from docs/data.md, with your edits)" in tool("plan", root).stdout
    assert tool("apply", root).returncode == 0
    text = (root / "docs" / "rows.md").read_text()
    assert text.startswith("# New: ")
    assert text.endswith("A line of ours.\n")
    assert not (root / "docs" / "data.md").exists()


@pytest.mark.parametrize("edited", [False, True])
def test_a_template_is_deleted(edited: bool, repository: Make, tmp_path: Path) -> None:
    root = repository()
    if edited:
        append(root / "AGENTS.md")
    tool = newer_tool(
        tmp_path / "tool", (PROJECT_COMPONENT, '    yield Rendered("project/agents"', '    Rendered("project/agents"')
    )
    done = tool("apply", root)
    assert done.returncode == (3 if edited else 0)
    assert (root / "AGENTS.md").exists() == edited
    if edited:
        assert "AGENTS.md: TS405 edited by you, and no longer generated" in done.stderr
        assert tool("apply", root, "--on-conflict", "ours").returncode == 3
        assert (root / "AGENTS.md").read_text().endswith("A line of ours.\n")
        assert tool("plan", root).returncode == 0, "from now on the file is the user's own"


def test_a_value_moves_a_folder(repository: Make) -> None:
    root = repository()
    append(root / "src" / "support_assistant" / "train.py", "\n\nOURS = 1\n")
    (root / "src" / "support_assistant" / "own.py").write_text("OWN = 1\n")
    write_spec(root, spec_with(project__name="order-helper"))
    assert tunesmith("apply", root).returncode == 0
    assert (root / "src" / "order_helper" / "train.py").read_text().endswith("OURS = 1\n")
    assert sorted(path.name for path in (root / "src" / "support_assistant").iterdir()) == ["own.py"]


def test_the_user_renamed_a_file(repository: Make) -> None:
    """Also where it was edited on the way; it stays where the user put it, and goes on being generated."""
    root = repository()
    append(root / "CONTRIBUTING.md")
    (root / "guides").mkdir()
    (root / "CONTRIBUTING.md").rename(root / "guides" / "how-to-help.md")
    for spec in (NO_SEARCH, {"project__name": "order-helper"}):
        write_spec(root, spec_with(**spec))
        assert tunesmith("apply", root).returncode == 0
        assert not (root / "CONTRIBUTING.md").exists()
    text = (root / "guides" / "how-to-help.md").read_text()
    assert "order-helper" in text
    assert text.endswith("A line of ours.\n")
    (root / "guides" / "how-to-help.md").rename(root / "CONTRIBUTING.md")
    assert "\n1 to update\n" in tunesmith("plan", root).stdout, "only the lock, which records the place"
    write_spec(root, spec_with())
    assert tunesmith("apply", root).returncode == 0
    assert "support-assistant" in (root / "CONTRIBUTING.md").read_text()


def test_a_file_that_user_and_spec_move_apart_is_a_conflict(repository: Make) -> None:
    root = repository()
    train = root / "src" / "support_assistant" / "train.py"
    train.rename(root / "train_model.py")
    write_spec(root, spec_with(project__name="order-helper"))
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "you moved it from src/support_assistant/train.py to train_model.py" in done.stderr
    kept = shutil.copytree(root, root.parent / "kept")
    assert tunesmith("apply", kept, "--on-conflict", "ours").returncode == 3
    assert (kept / "train_model.py").is_file()
    assert not (kept / "src" / "order_helper" / "train.py").exists()
    assert tunesmith("apply", root, "--on-conflict", "theirs").returncode == 3
    assert (root / "src" / "order_helper" / "train.py").is_file()
    assert not (root / "train_model.py").exists()
    for place in (kept, root):
        assert tunesmith("plan", place).returncode == 0


def test_two_files_swap_their_places(repository: Make, tmp_path: Path) -> None:
    root = repository()
    for name in ("data", "train"):
        append(root / "docs" / f"{name}.md", f"Ours of {name}.\n")
    tool = newer_tool(
        tmp_path / "tool",
        (DATA_COMPONENT, '"docs/data.md"', '"docs/train.md"'),
        ("generator/tunesmith/components/train.py", '"docs/train.md"', '"docs/data.md"'),
    )
    assert tool("apply", root).returncode == 0
    assert (root / "docs" / "train.md").read_text().endswith("Ours of data.\n")
    assert (root / "docs" / "data.md").read_text().endswith("Ours of train.\n")


def test_a_move_to_a_place_that_the_user_took_is_a_conflict(repository: Make, tmp_path: Path) -> None:
    root = repository()
    (root / "docs" / "rows.md").write_text("Mine.\n")
    tool = newer_tool(tmp_path / "tool", (DATA_COMPONENT, '"docs/data.md"', '"docs/rows.md"'))
    before = snapshot(root)
    done = tool("apply", root)
    assert done.returncode == 3
    assert "docs/rows.md: TS405 moves here from docs/data.md, but something of yours is in the way" in done.stderr
    assert tool("apply", root, "--on-conflict", "theirs").returncode == 3
    assert snapshot(root) == before, "a file that was never generated is not overwritten"
    tool("apply", root, "--on-conflict", "ours")
    assert (root / "docs" / "rows.md").read_text() == "Mine.\n"
    assert (root / "docs" / "data.md").is_file()
    assert tool("plan", root).returncode == 0


def test_two_similar_files_of_which_one_goes(repository: Make, tmp_path: Path) -> None:
    """A guess by likeness would carry the edits of one into the other."""
    twin = '    yield Rendered("project/twin", "docs/twin.md", "docs/data.md.j2", {context})\n'
    old = newer_tool(tmp_path / "old")
    source = (tmp_path / "old" / DATA_COMPONENT).read_text()
    line = next(line for line in source.splitlines(keepends=True) if "docs/data.md" in line)
    context = line.rsplit(",", 1)[1].strip().removesuffix(")")
    (tmp_path / "old" / DATA_COMPONENT).write_text(source.replace(line, line + twin.format(context=context)))
    root = write_spec(tmp_path / "repository", spec_with())
    assert old("apply", root).returncode == 0
    append(root / "docs" / "twin.md")
    untouched = (root / "docs" / "data.md").read_bytes()
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "docs/twin.md: TS405 edited by you, and no longer generated" in done.stderr
    assert (root / "docs" / "data.md").read_bytes() == untouched


def test_a_copy_that_the_user_made_stays_as_it_is(repository: Make) -> None:
    root = repository()
    shutil.copy(root / "docs" / "hpo.md", root / "docs" / "our-search.md")
    before = (root / "docs" / "our-search.md").read_bytes()
    write_spec(root, spec_with(**NO_SEARCH))
    assert tunesmith("apply", root).returncode == 0
    assert (root / "docs" / "our-search.md").read_bytes() == before


def test_copies_elsewhere_are_not_moves(repository: Make) -> None:
    """Backups, other repositories and vendored code are no place where a missing file is looked for."""
    root = repository()
    for place in ("backup", "third_party/lib", ".worktrees/feature", "nested"):
        shutil.copytree(root / "docs", root / place / "docs")
    (root / "nested" / ".git").write_text("gitdir: elsewhere\n")
    before = snapshot(root)
    shutil.rmtree(root / "docs")
    write_spec(root, spec_with(train__adapter="full", **NO_SEARCH))
    assert tunesmith("apply", root).returncode == 0
    after = snapshot(root)
    assert not (root / "docs").exists()
    for path in before:
        if path.startswith(("backup", "third_party", ".worktrees", "nested")):
            assert after[path] == before[path]


def test_a_copy_that_was_kept_is_not_deleted_with_its_component(repository: Make) -> None:
    root = repository()
    shutil.move(root / "docs" / "hpo.md", root / "docs" / "our-search.md")
    write_spec(root, spec_with(**NO_SEARCH))
    assert (
        "keep     docs/our-search.md  (moved by you from docs/hpo.md; no longer generated)"
        in tunesmith("plan", root).stdout
    )
    assert tunesmith("apply", root).returncode == 0
    assert (root / "docs" / "our-search.md").is_file()


def test_what_was_deleted_once_is_not_looked_for_again(repository: Make) -> None:
    root = repository()
    text = (root / "docs" / "serve.md").read_bytes()
    (root / "docs" / "serve.md").unlink()
    assert tunesmith("apply", root).returncode == 0
    (root / "docs" / "like-serve.md").write_bytes(text)
    write_spec(root, spec_with(serve__engine="vllm"))
    assert tunesmith("apply", root).returncode == 0
    assert (root / "docs" / "like-serve.md").read_bytes() == text
    assert not (root / "docs" / "serve.md").exists()


@pytest.mark.parametrize("name", ["2024: data.md", "back\\slash.md", "bell\x07.md", "b\udcffyte.md"])
def test_a_move_to_a_name_that_no_lock_can_hold(name: str, repository: Make) -> None:
    root = repository()
    shutil.move(root / "docs" / "serve.md", root / "docs" / name)
    for engine in ("vllm", "fastapi"):
        write_spec(root, spec_with(serve__engine=engine))
        assert tunesmith("apply", root).returncode == 0
    assert tunesmith("plan", root).returncode == 0
    assert (root / "docs" / name).is_file()


def test_one_file_takes_the_place_of_another(repository: Make) -> None:
    """By the user's hand, again and again: each place in the lock belongs to one file."""
    root = repository()
    docs = root / "docs"

    def regenerated(length: int) -> None:
        write_spec(root, spec_with(model__max_length=length))
        assert tunesmith("apply", root).returncode == 0
        assert tunesmith("plan", root).returncode == 0

    (docs / "data.md").rename(docs / "data2.md")
    regenerated(2048)
    (docs / "serve.md").rename(docs / "data.md")
    regenerated(4096)
    (docs / "data2.md").unlink()
    regenerated(8192)
    write_spec(root, spec_with(model__max_length=8192, serve__engine="vllm"))
    assert tunesmith("apply", root).returncode == 0
    assert "vLLM" in (docs / "data.md").read_text()


def test_a_moved_file_in_the_place_of_a_deleted_one(repository: Make) -> None:
    root = repository()
    (root / "src" / "support_assistant" / "evaluate.py").unlink()
    (root / "src" / "shop").mkdir()
    (root / "src" / "support_assistant" / "train.py").rename(root / "src" / "shop" / "evaluate.py")
    write_spec(root, spec_with(project__name="shop"))
    assert tunesmith("apply", root, "--on-conflict", "ours").returncode == 3
    assert "def build_trainer" in (root / "src" / "shop" / "evaluate.py").read_text()
    assert tunesmith("plan", root).returncode in (0, 3)


def test_a_file_of_the_users_where_a_deleted_one_would_move_is_a_conflict(repository: Make) -> None:
    root = repository()
    (root / "src" / "support_assistant" / "cli.py").unlink()
    (root / "src" / "shop").mkdir()
    (root / "src" / "shop" / "cli.py").write_text("MINE = 1\n")
    write_spec(root, spec_with(project__name="shop"))
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "src/shop/cli.py: TS405 a file of yours is in the way" in done.stderr


# Conflicts, and the ways out


def test_a_conflict_writes_nothing_and_shows_both_sides_and_the_ways_out(repository: Make) -> None:
    root = repository()
    clash(root)
    before = snapshot(root)
    for name in ("plan", "apply"):
        done = command(name, root)
        assert done.returncode == 3
        for text in (
            "  yours:\n  |   epochs: 5.0  # ours\n",
            "  as generated before:\n  |   epochs: 3.0\n",
            "  |   epochs: 7",
        ):
            assert text in done.stdout
        assert snapshot(root) == before
    assert "configs/full.yaml: TS405 edited by you, and changed by the spec" in done.stderr
    for way in ("markers", "ours", "theirs"):
        assert f"--on-conflict {way}" in done.stderr


@pytest.mark.parametrize("way", ["markers", "ours", "theirs"])
def test_conflicts_that_exit_0(way: str, repository: Make) -> None:
    """They exit 3 whatever way out is taken, and lines that do not clash stay in any case."""
    root = repository()
    clash(root)
    assert tunesmith("plan", root, "--on-conflict", way).returncode == 3
    assert tunesmith("apply", root, "--on-conflict", way).returncode == 3
    text = (root / "configs" / "full.yaml").read_text()
    both = (
        "<<<<<<< yours\n  epochs: 5.0  # ours\n||||||| as generated before\n  epochs: 3.0\n"
        "=======\n  epochs: 7.0\n>>>>>>> generated now\n"
    )
    expected = {"markers": both, "ours": "  epochs: 5.0  # ours\n", "theirs": "  epochs: 7.0\n"}
    assert expected[way] in text
    assert text.endswith("# The end.\n")
    for other in expected.keys() - {way, "markers"}:
        assert (expected[other] in text) == (way == "markers")
    assert tunesmith("plan", root).returncode == 0


def test_git_merge_file_counts_conflicts_in_its_exit_code(repository: Make) -> None:
    """Several conflicts in one file, and several files, are conflicts and no error."""
    root = repository()
    config = root / "configs" / "full.yaml"
    write_spec(root, spec_with(train__epochs=7, hpo__trials=33, evaluate__batch_size=5, serve__port=9000))
    for old in ("  epochs: 3.0", "  trials: 20", "  batch_size: 16", "  port: 8000"):
        edit(config, old, f"{old}1")
    done = tunesmith("apply", root, "--on-conflict", "markers")
    assert done.returncode == 3, done.stderr
    assert config.read_text().count("<<<<<<< yours\n") == 4


def test_the_base_is_not_advanced_after_a_conflict_was_resolved(repository: Make) -> None:
    """It is: what was resolved once does not come back, and left markers are not merged over."""
    root = repository()
    clash(root)
    config = root / "configs" / "full.yaml"
    tunesmith("apply", root, "--on-conflict", "markers")
    assert "keep     configs/full.yaml  (has conflict markers left in it)" in tunesmith("plan", root).stdout
    assert "configs/full.yaml:" in (checked := tunesmith("check", root)).stderr
    assert "TS508" in checked.stderr
    write_spec(root, spec_with(train__epochs=7, hpo__trials=33))
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "configs/full.yaml: TS405 has conflict markers left in it" in done.stderr
    for way in ("markers", "ours"):
        assert "Nothing was written" in tunesmith("apply", root, "--on-conflict", way).stderr
    text = config.read_text()
    begin, end = text.index("<<<<<<<"), text.index(">>>>>>> generated now\n") + len(">>>>>>> generated now\n")
    config.write_text(text[:begin] + "  epochs: 6.0  # both of us\n" + text[end:])
    assert tunesmith("apply", root).returncode == 0
    assert "  epochs: 6.0  # both of us\n" in config.read_text()
    assert "  trials: 33\n" in config.read_text()


def test_a_merge_that_would_not_parse_is_a_conflict(repository: Make, tmp_path: Path) -> None:
    """Each side is sound, and they fit line by line; together they use a name that is gone."""
    root = repository()
    append(root / "src" / "support_assistant" / "data.py", "\n\nOURS = DataConfig\n")
    tool = newer_tool(tmp_path / "tool", ("templates/src/package/data.py.j2", "DataConfig", "RowsConfig"))
    before = snapshot(root)
    done = tool("apply", root)
    assert done.returncode == 3
    assert "fit line by line, but not together: line" in done.stderr
    assert "Undefined name `DataConfig`" in done.stderr
    assert snapshot(root) == before
    append(root / "src" / "support_assistant" / "data.py", "broken before(\n")
    assert tool("apply", root).returncode == 0, "what was broken before is not the merge's doing"


# What is deleted, by either side


def test_a_file_the_user_deleted_comes_back(repository: Make) -> None:
    """It stays deleted, and comes back when it is asked for."""
    root = repository()
    (root / "AGENTS.md").unlink()
    write_spec(root, spec_with(**NO_SEARCH))
    assert "keep     AGENTS.md  (deleted by you; stays deleted)" in tunesmith("plan", root).stdout
    assert tunesmith("apply", root).returncode == 0
    assert not (root / "AGENTS.md").exists()
    assert "create   AGENTS.md  (restored)" in tunesmith("plan", root, "--restore", "AGENTS.md").stdout
    assert tunesmith("apply", root, "--restore", "AGENTS.md").returncode == 0
    fresh = repository(spec_with(**NO_SEARCH), name="fresh")
    assert (root / "AGENTS.md").read_bytes() == (fresh / "AGENTS.md").read_bytes()
    for path, message in (("AGENTS.md", "is not one that you deleted"), ("../x", "is no generated file")):
        refused = tunesmith("apply", root, "--restore", path)
        assert refused.returncode == 1
        assert f"{path}: TS407 {message}" in refused.stderr


def test_files_of_a_component_that_was_switched_off_linger(repository: Make) -> None:
    """They go, with folders that are empty then, unless they were edited."""
    root = repository()
    append(root / "docs" / "hpo.md")
    write_spec(root, spec_with(ci__provider="none", **NO_SEARCH))
    done = tunesmith("apply", root)
    assert "docs/hpo.md: TS405 edited by you, and no longer generated" in done.stderr
    assert tunesmith("apply", root, "--on-conflict", "theirs").returncode == 3
    assert not (root / "docs" / "hpo.md").exists()
    assert not (root / ".github").exists()


def test_switching_a_component_on_regenerates_shared_files_that_carry_edits(repository: Make) -> None:
    root = repository(spec_with(**NO_SEARCH))
    for name in ("README.md", "Makefile", "pyproject.toml"):
        append(root / name, "# Ours\n")
    write_spec(root, spec_with())
    assert tunesmith("apply", root).returncode == 0
    fresh = repository(spec_with(), name="fresh")
    for name in ("README.md", "Makefile", "pyproject.toml"):
        assert (root / name).read_text() == (fresh / name).read_text() + "# Ours\n"


def test_an_option_that_the_old_spec_lacked_defaults_to_off_and_deletes_files(repository: Make, tmp_path: Path) -> None:
    """A newer tool makes something optional: the plan names the deletion, and an edited file stays."""
    root = repository()
    append(root / "AGENTS.md")
    tool = newer_tool(
        tmp_path / "tool",
        (
            PROJECT_COMPONENT,
            '    yield Rendered("project/agents"',
            '    if project.agents: yield Rendered("project/agents"',
        ),
        (
            "generator/tunesmith/spec/project.py",
            "    name: ",
            '    agents: Annotated[bool, Field(description="x")] = False\n    name: ',
        ),
    )
    planned = tool("plan", root)
    assert planned.returncode == 3
    assert "spec     " not in planned.stdout, "the user changed nothing"
    assert "conflict AGENTS.md" in planned.stdout
    assert (root / "AGENTS.md").read_text().endswith("A line of ours.\n")


def test_a_file_that_both_sides_added(repository: Make) -> None:
    root = repository(spec_with(**NO_SEARCH))
    (root / "docs" / "hpo.md").write_text("Our own notes.\n")
    write_spec(root, spec_with())
    before = snapshot(root)
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "docs/hpo.md: TS405 a file of yours is in the way" in done.stderr
    assert snapshot(root) == before
    tunesmith("apply", root, "--on-conflict", "markers")
    text = (root / "docs" / "hpo.md").read_text()
    assert "<<<<<<< yours\nOur own notes.\n=======\n" in text


def test_a_file_that_both_sides_added_alike_is_no_conflict(repository: Make) -> None:
    root, fresh = repository(spec_with(**NO_SEARCH)), repository(name="fresh")
    shutil.copy(fresh / "docs" / "hpo.md", root / "docs" / "hpo.md")
    write_spec(root, spec_with())
    assert tunesmith("apply", root).returncode == 0
    assert snapshot(root) == snapshot(fresh)


def test_no_base_at_hand(repository: Make) -> None:
    """Never overwrite: without the base, or without any record, what differs is a conflict."""
    root = repository()
    append(root / "README.md")
    write_spec(root, spec_with(**NO_SEARCH))
    for lost in ("base.tar.xz", "lock.json"):
        (root / ".tunesmith" / lost).unlink()
        before = snapshot(root)
        done = tunesmith("apply", root)
        assert done.returncode == 3
        assert "README.md: TS405" in done.stderr
        assert snapshot(root) == before


# Bytes that must survive


def test_line_endings_of_a_checkout_with_gitattributes(repository: Make) -> None:
    """`* text eol=crlf` writes every file anew; that is no edit, and new text takes the same endings."""
    root = repository()
    for path in snapshot(root):
        if not path.startswith(".tunesmith/") and not path.startswith("data/"):
            (root / path).write_bytes((root / path).read_bytes().replace(b"\n", b"\r\n"))
    assert tunesmith("plan", root).returncode == 0
    with (root / "README.md").open("ab") as readme:
        readme.write(b"A line of ours.\r\n")
    write_spec(root, spec_with(**NO_SEARCH))
    assert tunesmith("apply", root).returncode == 0
    fresh = repository(spec_with(**NO_SEARCH), name="fresh")
    for name, ours in (("README.md", b"A line of ours.\n"), ("Makefile", b""), ("configs/full.yaml", b"")):
        assert (root / name).read_bytes() == ((fresh / name).read_bytes() + ours).replace(b"\n", b"\r\n")


def test_permissions_ends_encodings_and_links_survive(repository: Make) -> None:
    root = repository()
    (root / "Makefile").chmod(0o755)
    (root / "configs" / "full.yaml").chmod(0o2640)
    readme = (root / "README.md").read_bytes() + b"Latin: \xe9\xff, and no end"
    (root / "README.md").write_bytes(readme)
    (root / "link").symlink_to("README.md")
    (root / "LICENSE").unlink()
    (root / "LICENSE").symlink_to("README.md")
    (root / "own.bin").write_bytes(bytes(range(256)))
    write_spec(root, spec_with(train__epochs=7, **NO_SEARCH))
    planned = tunesmith("plan", root)
    assert "keep     LICENSE  (replaced by you)" in planned.stdout
    assert tunesmith("apply", root).returncode == 0
    assert (root / "Makefile").stat().st_mode & 0o777 == 0o755
    assert (root / "configs" / "full.yaml").stat().st_mode & 0o777 == 0o640
    assert (root / "README.md").read_bytes().endswith(b"Latin: \xe9\xff, and no end")
    assert os.readlink(root / "link") == os.readlink(root / "LICENSE") == "README.md"
    assert (root / "own.bin").read_bytes() == bytes(range(256))


def test_a_link_in_the_place_of_a_file_that_moves_is_a_conflict(repository: Make) -> None:
    root = repository()
    link = root / "src" / "support_assistant" / "data.py"
    link.unlink()
    link.symlink_to("train.py")
    write_spec(root, spec_with(project__name="shop"))
    done = tunesmith("apply", root)
    assert done.returncode == 3
    assert "data.py: TS405 replaced by you" in done.stderr
    assert tunesmith("apply", root, "--on-conflict", "ours").returncode == 3
    assert os.readlink(link) == "train.py"
    assert tunesmith("plan", root).returncode in (0, 2)


def test_a_sealed_file_that_was_edited_is_reported_and_never_merged(repository: Make, tmp_path: Path) -> None:
    root = repository()
    vendored = root / "vendor" / "tunesmith_runtime" / "errors.py"
    append(vendored, "# ours\n")
    assert "only Tunesmith should write it" in tunesmith("plan", root).stdout
    tool = newer_tool(tmp_path / "tool", ("runtime/tunesmith_runtime/errors.py", "class ", "# New\nclass "))
    assert tool("apply", root).returncode == 3
    assert vendored.read_text().endswith("# ours\n")


# Where the repository lives


@pytest.mark.parametrize("kind", ["no git", "subfolder", "shallow clone", "no history", "uncommitted"])
def test_it_merges_wherever_the_repository_lives(kind: str, repository: Make, tmp_path: Path) -> None:
    git = require("git")

    def run(*arguments: str, cwd: Path) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "protocol.file.allow=always")
        subprocess.run([git, *identity, *arguments], cwd=cwd, check=True, capture_output=True)

    root = repository()
    if kind != "uncommitted":
        run("add", "-A", cwd=root)
        run("commit", "-qm", "first", cwd=root)
        run("commit", "-qm", "second", "--allow-empty", cwd=root)
    if kind == "shallow clone":
        run("clone", "-q", "--depth", "1", root.as_uri(), str(tmp_path / "clone"), cwd=tmp_path)
        root = tmp_path / "clone"
    elif kind in ("no git", "subfolder", "no history"):
        shutil.rmtree(root / ".git")
        if kind == "subfolder":
            run("init", "-q", ".", cwd=tmp_path)
        if kind == "no history":
            run("init", "-q", ".", cwd=root)
    append(root / "README.md")
    write_spec(root, spec_with(**NO_SEARCH))
    staged = subprocess.run([git, "status", "--porcelain"], cwd=root, capture_output=True, check=False).stdout
    done = command("apply", root)
    assert done.returncode == 0, done.stderr
    assert (root / "README.md").read_text().endswith("A line of ours.\n")
    if kind == "uncommitted":
        after = subprocess.run([git, "status", "--porcelain"], cwd=root, capture_output=True, check=False).stdout
        assert [line for line in staged.splitlines() if not line.startswith(b"??")] == [
            line for line in after.splitlines() if not line.startswith(b"??")
        ], "git's index is not touched"


def test_what_plan_says_is_what_apply_does(repository: Make) -> None:
    """Merges, moves, deletions, conflicts and restored files in one change."""
    root = repository()
    append(root / "README.md")
    append(root / "src" / "support_assistant" / "data.py", "\n\nOURS = 1\n")
    (root / "AGENTS.md").unlink()
    edit(root / "configs" / "full.yaml", "  epochs: 3.0\n", "  epochs: 5.0\n")
    write_spec(root, spec_with(project__name="order-helper", train__epochs=7, **NO_SEARCH))
    before = snapshot(root)
    options = ("--on-conflict", "markers", "--restore", "AGENTS.md")
    planned = steps(tunesmith("plan", root, "--json", *options))
    assert snapshot(root) == before
    applied = steps(tunesmith("apply", root, "--json", *options))
    assert applied == planned
    after = snapshot(root)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    said = {path for path, step in planned.items() if step["action"] != "keep"}
    said |= {str(step["from"]) for step in planned.values() if "from" in step}
    assert changed == said
    assert {step["action"] for step in planned.values()} == {
        "create",
        "update",
        "merge",
        "move",
        "delete",
        "keep",
        "conflict",
    }


# Two branches


@pytest.mark.parametrize("how", ["merge", "rebase"])
def test_two_branches_that_both_regenerated(how: str, repository: Make) -> None:
    root, git = repository(), require("git")

    def run(*arguments: str, code: int = 0) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.editor=true")
        done = subprocess.run([git, *identity, *arguments], cwd=root, check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr

    def change(old: str, new: str) -> None:
        edit(root / "pipeline.yaml", old, new)
        assert tunesmith("apply", root).returncode == 0
        run("add", "-A")
        run("commit", "-qm", f"{old} becomes {new}")

    append(root / "pipeline.yaml", "hpo:\n  trials: 20\n# one\n# two\n# three\ntrain:\n  epochs: 3\n")
    assert tunesmith("apply", root).returncode == 0
    run("add", "-A")
    run("commit", "-qm", "first")
    run("checkout", "-qb", "other")
    append(root / "README.md", "Theirs.\n")
    change("trials: 20", "trials: 33")
    run("checkout", "-q", "main")
    append(root / "CONTRIBUTING.md", "Ours.\n")
    change("epochs: 3", "epochs: 9")
    refused = tunesmith("apply", root, "--rebase-lock")
    assert refused.returncode == 1
    assert "TS408" in refused.stderr
    run(how, "other", code=1)
    conflicts = subprocess.run(
        [git, "diff", "--name-only", "--diff-filter=U"], cwd=root, capture_output=True, text=True, check=True
    )
    assert set(conflicts.stdout.split()) == {".tunesmith/lock.json", ".tunesmith/base.tar.xz"}
    done = tunesmith("apply", root, "--rebase-lock")
    assert done.returncode == 0, done.stdout + done.stderr
    run("add", "-A")
    run("commit", "-qm", "both") if how == "merge" else run("rebase", "--continue")
    assert tunesmith("plan", root).returncode == 0
    assert tunesmith("check", root).returncode == 0
    assert (root / "README.md").read_text().endswith("Theirs.\n")
    assert (root / "CONTRIBUTING.md").read_text().endswith("Ours.\n")
    config = (root / "configs" / "full.yaml").read_text()
    assert "  epochs: 9.0\n" in config
    assert "  trials: 33\n" in config


def test_a_branch_whose_options_were_rejected_leaves_nothing_behind(repository: Make) -> None:
    """What the other branch generated is not taken for the user's edits."""
    root, git = repository(), require("git")

    def run(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run([git, *identity, *arguments], cwd=root, check=False, capture_output=True)

    def regenerated(**changes: object) -> None:
        write_spec(root, spec_with(**changes))
        assert tunesmith("apply", root).returncode == 0
        run("add", "-A")
        run("commit", "-qm", "regenerated")

    run("add", "-A")
    run("commit", "-qm", "first")
    run("checkout", "-qb", "other")
    append(root / "AGENTS.md", "Theirs.\n")
    regenerated(serve__engine="vllm")
    run("checkout", "-q", "main")
    regenerated(hpo__trials=33)
    run("merge", "other")
    unsettled = tunesmith("apply", root)
    assert unsettled.returncode == 1
    assert "TS409 git is merging two branches that both regenerated; add --rebase-lock" in unsettled.stderr
    write_spec(root, spec_with(hpo__trials=33))
    assert tunesmith("apply", root, "--rebase-lock").returncode == 0
    wanted = snapshot(repository(spec_with(hpo__trials=33), name="fresh"))
    found = snapshot(root)
    assert found.pop("AGENTS.md") == wanted.pop("AGENTS.md") + b"Theirs.\n"
    assert found == wanted
    run("add", "-A")
    run("commit", "-qm", "merged")
    assert tunesmith("plan", root).returncode == 0
    shutil.rmtree(root / ".tunesmith")
    assert tunesmith("apply", root, "--rebase-lock").returncode == 0, "also after the merge was committed"
    assert tunesmith("plan", root).returncode == 0


# What plan says of the spec


PAIRS = {"format": "preference", "columns": {"prompt": "question", "chosen": "answer", "rejected": "other"}}


def preferences(**changes: object) -> dict[str, object]:
    return spec_with(data__sources=[{"path": "data/raw/support.jsonl", **PAIRS}], **changes)


def test_plan_says_what_follows_from_a_changed_option_and_why(repository: Make) -> None:
    root = repository(preferences(train__method="dpo"))
    write_spec(root, preferences(train__method="orpo"))
    printed = tunesmith("plan", root).stdout
    for line in (
        'train.method: "dpo" → "orpo"\n',
        "train.learning_rate: 5e-06 → 8e-05 (usual for orpo with an adapter)\n",
        "train.epochs: 1.0 → 3.0 (usual for orpo)\n",
        "hpo.learning_rate.low: 5e-07 → 8e-06 (a tenth to ten times train.learning_rate)\n",
    ):
        assert f"spec     {line}" in printed, printed
    changes = {change["option"]: change for change in json.loads(tunesmith("plan", root, "--json").stdout)["spec"]}
    assert changes["train.learning_rate"] == {
        "option": "train.learning_rate",
        "old": 5e-6,
        "new": 8e-5,
        "reason": "usual for orpo with an adapter",
    }
    assert changes["train.epochs"] == {
        "option": "train.epochs",
        "old": 1.0,
        "new": 3.0,
        "reason": "usual for orpo",
    }
    assert changes["train.method"]["reason"] is None


def test_plan_shows_a_new_section_by_its_options(repository: Make) -> None:
    root = repository(spec_with(train__adapter="full"))
    changed = spec_with(train__lora={"rank": 8, "target_modules": ["q_proj"]}, train__learning_rate=1e-3)
    changed["data"]["sources"].append({**changed["data"]["sources"][0], "path": "data/raw/more.jsonl"})
    shutil.copy(root / "data" / "raw" / "support.jsonl", root / "data" / "raw" / "more.jsonl")
    write_spec(root, changed)
    lines = [line[9:] for line in tunesmith("plan", root).stdout.splitlines() if line.startswith("spec ")]
    assert "train.lora.rank: null → 8" in lines
    assert 'train.lora.target_modules: null → ["q_proj"]' in lines
    assert 'data.sources[1].path: null → "data/raw/more.jsonl"' in lines
    assert "train.learning_rate: 2e-05 → 0.001" in lines
    assert not [line for line in lines if "{" in line], lines


def in_format_1(root: Path, **changes: object) -> None:
    """Make the lock one that 0.1.0 wrote: with the defaults that no other option decides, and nothing that follows."""
    from tunesmith.spec.pipeline import Spec

    lock = root / ".tunesmith" / "lock.json"
    document = json.loads(lock.read_text())
    spec = {**Spec.model_validate(spec_with()).model_dump(mode="json"), **changes}
    lock.write_text(json.dumps({**document, "format": 1, "spec": spec, "inputs": "older"}))


def test_a_lock_without_what_follows_from_options_is_read(repository: Make) -> None:
    root = repository()
    before = snapshot(root)
    in_format_1(root)
    planned = tunesmith("plan", root)
    assert "spec     " not in planned.stdout
    assert planned.stdout.endswith("\n1 to update\n"), planned.stdout
    assert tunesmith("apply", root).returncode == 0
    assert snapshot(root) == before
    in_format_1(root)
    write_spec(root, spec_with(train__adapter="full"))
    assert (
        "train.learning_rate: 0.0002 → 2e-05 (usual for sft with every weight trained)"
        in tunesmith("plan", root).stdout
    )


def test_a_lock_of_a_spec_that_is_no_longer_valid_is_compared_by_what_both_have(repository: Make) -> None:
    root = repository()
    in_format_1(root, gone={"option": 1}, stack="2020.01", hpo={"trials": 3, "gone": True})
    lines = [line for line in tunesmith("plan", root).stdout.splitlines() if line.startswith("spec ")]
    assert 'spec     stack: "2020.01" → "2026.11"' in lines
    assert "spec     hpo.trials: 3 → 20" in lines
    assert not [line for line in lines if "gone" in line or "null" in line or "enabled" in line]
