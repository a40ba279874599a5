"""Every pair of values of the spec's options is rendered and checked, or refused by a rule."""

import itertools
from pathlib import Path

import pytest

import option_pairs
from conftest import spec_with
from option_pairs import ABSENT, OPTIONS, Level, problems, spec_of
from tunesmith.check import documents, python, workflows
from tunesmith.generate import generate
from tunesmith.problem import Problem
from tunesmith.spec.pipeline import Spec

PARTS = 8  # which share the rows between the processes that run tests


def pairs_of(row: dict[option_pairs.Option, str]) -> set[frozenset[Level]]:
    return {frozenset(two) for two in itertools.combinations(row.items(), 2)}


def test_the_table_holds_todays_options_and_values() -> None:
    assert option_pairs.is_current(), "run `make pairs`"


def test_every_pair_is_covered_or_refused_by_a_rule() -> None:
    """Rows that a rule came to refuse, and refusals that a rule dropped, need `make pairs` too."""
    rows, refused = option_pairs.read()
    for row in rows:
        assert problems(row) == {}, "run `make pairs`"
    # The pair and defaults otherwise. That nothing else in the spec helps is what the search found.
    defaults = {option: levels[0] for option, levels in OPTIONS.items()}
    for pair, codes in refused.items():
        assert set(problems({**defaults, **dict(pair)}).values()) == codes != set(), "run `make pairs`"
    held = set().union(*map(pairs_of, rows))
    assert held.isdisjoint(map(frozenset, refused))
    wanted = {
        frozenset((one, other))
        for a, b in itertools.combinations(OPTIONS, 2)
        for one, other in itertools.product(((a, level) for level in OPTIONS[a]), ((b, level) for level in OPTIONS[b]))
    }
    assert held | set(map(frozenset, refused)) == wanted
    assert len(OPTIONS) > 40
    assert {row["data", "sources", 0, "format"] for row in rows} >= {"messages", "prompt-completion"}
    known = {"TS201", "TS204", "TS205", "TS211", "TS213", "TS214", "TS217", "TS218", "TS220"}
    assert set().union(*refused.values()) == known, "rules, and nothing else, refuse pairs"


@pytest.mark.parametrize("part", range(PARTS))
def test_every_covering_row_is_rendered_and_sound(part: int, tmp_path: Path) -> None:
    rows, _ = option_pairs.read()
    for number, row in enumerate(rows[part::PARTS]):
        root = tmp_path / str(number)
        tree = generate(Spec.model_validate(spec_of(row)))
        for file in tree:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_bytes(file.content)
        paths = [Path(file.path) for file in tree]
        found = [finding for check in (workflows, documents, python) for finding in check.problems(root, paths)]
        assert [finding for finding in found if isinstance(finding, Problem)] == [], spec_of(row)


@pytest.mark.long
@pytest.mark.timeout(5_400)
def test_the_search_finds_the_table_again() -> None:
    """And so what the table calls refused is what no search got round."""
    found = option_pairs.Covering()
    assert option_pairs.document(found.rows, found.refused) == option_pairs.TABLE.read_text(encoding="utf-8")


def test_options_and_their_values_are_taken_from_the_schema() -> None:
    assert OPTIONS["train", "adapter"] == [ABSENT, "full", "lora", "qlora"]
    assert ("data", "sources", 0, "format") in OPTIONS
    assert spec_with()["model"]["base"] in OPTIONS["model", "base"]
