"""What specs are rendered to changes on purpose only."""

import difflib

import pytest

import goldens


@pytest.mark.parametrize("persona", goldens.personas())
def test_a_repository_is_rendered_as_it_was(persona: str) -> None:
    known = (goldens.FOLDER / f"{persona}.txt").read_text(encoding="utf-8")
    now = goldens.golden(persona)
    if now != known:
        difference = difflib.unified_diff(
            known.splitlines(), now.splitlines(), "committed", "rendered now", lineterm="", n=1
        )
        pytest.fail("\n".join([*list(difference)[:60], "If that is meant: make goldens, and review the difference."]))


def test_personas_differ_from_one_another() -> None:
    assert len({goldens.golden(persona) for persona in goldens.personas()}) == len(goldens.personas()) >= 6
