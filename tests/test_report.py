"""What a face prints: text that ends in a newline, and documents of what JSON knows; nothing printed on the way."""

import json
import re
from pathlib import Path

import pytest

from conftest import spec_with, write_spec
from tunesmith import report
from tunesmith.blueprints import shipped
from tunesmith.check.repository import check
from tunesmith.codes import CODES
from tunesmith.data_files import check_data_files
from tunesmith.problem import Problem
from tunesmith.regeneration.apply import Finished, apply
from tunesmith.regeneration.plan import plan
from tunesmith.spec.load import load_spec


def test_a_face_gets_text_and_documents_and_prints_them_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_spec(tmp_path / "my model", spec_with())
    spec = load_spec(root / "pipeline.yaml")
    rows = check_data_files(spec, root / "pipeline.yaml")
    planned = plan(root)
    apply(planned)
    checked = check(root)
    problems = [Problem("a", 1, 2, "TS101", "b")]
    documents = {
        "plan": report.plan_document(planned, diff=True),
        "validation": report.validation_document(spec, rows),
        "check": report.check_document(checked),
        "problems": report.problems_document(problems),
        "blueprints": report.blueprints_document(shipped()),
        "codes": report.codes_document(CODES),
    }
    assert json.loads(json.dumps(documents)).keys() == documents.keys()
    texts = [
        report.plan_text(planned),
        report.summary_text(planned, done=True),
        report.validation_text(root / "pipeline.yaml", rows),
        report.check_text(checked),
        report.problems_text(problems),
        report.blueprints_text(shipped()),
        report.codes_text(CODES),
        report.code_text("TS101", CODES["TS101"]),
        report.created_text(root, ["pipeline.yaml"]),
        report.next_text(planned, root, is_new=True),
        report.interrupted_text(Finished(decided=True, left=("a",))),
    ]
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in texts)
    assert capsys.readouterr() == ("", "")


def test_a_blocked_plan_shows_both_sides_and_each_way_out(tmp_path: Path) -> None:
    root = write_spec(tmp_path, spec_with())
    apply(plan(root))
    for config in (root / "configs").glob("*.yaml"):
        config.write_text(config.read_text().replace("epochs: 3.0", "epochs: 5.0"))
    write_spec(root, spec_with(train__epochs=7.5))
    planned = plan(root)
    (step,) = planned.conflicts
    assert report.summary_text(planned, done=False).endswith("1 in conflict\n")
    assert "  |   epochs: 5.0\n" in report.plan_text(planned)
    assert "  |   epochs: 7.5\n" in report.plan_text(planned)
    told = report.blocked_text(planned, Path("shop"))
    assert told.startswith(f"{step.path}: TS405 ")
    assert re.findall("  tunesmith apply shop --on-conflict ([a-z]+)", told) == ["markers", "ours", "theirs"]
    document = json.loads(json.dumps(report.plan_document(planned)))
    (shown,) = [shown for shown in document["steps"] if shown["action"] == "conflict"]
    (hunk,) = shown["conflicts"]
    assert shown["settled_by"] == ["markers", "ours", "theirs"]
    assert [re.findall(r"epochs: (\S+)", hunk[side]) for side in ("yours", "before", "generated")] == [
        ["5.0"],
        ["3.0"],
        ["7.5"],
    ]
