"""The documentation says what is true: pages made from code are up to date, commands and links exist."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import yaml

from conftest import PROJECT, tunesmith
from tunesmith.codes import CODES, RETIRED
from tunesmith.spec.load import load_spec

PAGES = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]


def test_reference_pages_are_up_to_date() -> None:
    loader = importlib.util.spec_from_file_location("reference", PROJECT / "docs" / "reference.py")
    assert loader is not None
    assert loader.loader is not None
    reference: Any = importlib.util.module_from_spec(loader)
    loader.loader.exec_module(reference)
    for name, text in reference.pages().items():
        assert (PROJECT / "docs" / name).read_text() == text, "run `make reference`"


def test_every_code_that_is_named_somewhere_is_explained() -> None:
    folders = [PROJECT / name for name in ("docs", "generator", "runtime", "templates", "blueprints", "tests")]
    texts = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md", ".j2", ".yaml")]
    named = {code for path in [*texts, PROJECT / "README.md"] for code in re.findall(r"\bTS\d{3}\b", path.read_text())}
    assert named - {"TS999"} == set(CODES)


def test_codes_that_are_no_longer_reported_come_last_and_name_their_heir() -> None:
    page = (PROJECT / "docs" / "errors.md").read_text()
    headings = re.findall(r"^##+ (TS\d{3}):", page, re.MULTILINE)
    assert headings == [*sorted(set(CODES) - set(RETIRED)), *sorted(RETIRED)]
    for code in RETIRED:
        assert "TS201" in tunesmith("explain", code).stdout


def test_the_spec_in_the_readme_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "pipeline.yaml").write_text(text)
    assert load_spec(tmp_path / "pipeline.yaml").project.name == "support-assistant"
    assert len(yaml.safe_load(text)) >= 5


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_commands_named_in_the_documentation_exist() -> None:
    known = tunesmith("--help").stdout
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    for page in PAGES:
        text = page.read_text()
        for command in re.findall(r"`(?:tunesmith) ([a-z]+)", text):
            assert f"│ {command} " in known, f"{page.name}: tunesmith {command}"
        for target in re.findall(r"^make ([a-z-]+)", text, re.MULTILINE):
            assert target in [*targets, "setup", "smoke"], f"{page.name}: make {target}"
