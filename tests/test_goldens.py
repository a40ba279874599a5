"""What specs are rendered to changes on purpose only."""

import difflib

import pytest

import goldens


@pytest.mark.parametrize("persona", goldens.personas())
def test_a_repository_is_rendered_as_it_was(persona: str) -> None:
    known, now = goldens.committed(persona), goldens.golden(persona)
    difference = [
        line
        for path in sorted(known.keys() | now.keys())
        for line in difflib.unified_diff(
            known.get(path, "").splitlines(), now.get(path, "").splitlines(), f"committed/{path}", f"now/{path}", n=1
        )
    ]
    if known != now:
        pytest.fail("\n".join([*difference[:60], "If that is meant: make goldens, and review the difference."]))


def test_personas_differ_from_one_another() -> None:
    shown = [tuple(goldens.golden(persona).items()) for persona in goldens.personas()]
    assert len(set(shown)) == len(shown) >= 6


def test_of_a_persona_only_what_differs_is_committed() -> None:
    """Else a change of one template would be reviewed seven times."""
    first = goldens.committed(goldens.FIRST)
    assert len(first) > 50
    for persona in goldens.personas():
        if persona != goldens.FIRST:
            assert len(goldens.committed(persona)) < len(first)
