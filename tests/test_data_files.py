"""Data files that a spec names: what is wrong is said with file, row and code before anything is written."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import snapshot, spec_with, tunesmith, write_spec

ROWS = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(2_000)]


def with_data(root: Path, name: str, content: bytes, **source: Any) -> Path:
    columns = {"prompt": "question", "completion": "answer"}
    write_spec(root, spec_with(data__sources=[{"path": name, "columns": columns, **source}]))
    (root / name).write_bytes(content)
    return root


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def csv_text(rows: list[dict[str, Any]]) -> bytes:
    import io

    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def parquet(rows: list[dict[str, Any]]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.jsonl", jsonl(ROWS)),
        ("rows.json", json.dumps(ROWS).encode()),
        ("rows.csv", csv_text(ROWS)),
        ("rows.parquet", parquet(ROWS)),
        ("bom.jsonl", b"\xef\xbb\xbf" + jsonl(ROWS)),
        ("bom.csv", b"\xef\xbb\xbf" + csv_text(ROWS)),
    ],
)
def test_every_file_type_is_read_whole(name: str, content: bytes, tmp_path: Path) -> None:
    done = tunesmith("validate", with_data(tmp_path, name, content), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == {name: 2_000}


def at_row(number: int, line: bytes) -> bytes:
    lines = jsonl(ROWS).splitlines(keepends=True)
    return b"".join([*lines[: number - 1], line + b"\n", *lines[number:]])


BAD = {
    "empty": ("rows.jsonl", b"", "rows.jsonl: TS302 no rows"),
    "blank lines": ("rows.jsonl", b"\n\n", "rows.jsonl: TS302 no rows"),
    "header alone": ("rows.csv", b"question,answer\n", "rows.csv: TS302 no rows"),
    "empty array": ("rows.json", b"[]", "rows.json: TS302 no rows"),
    "not UTF-8": ("rows.jsonl", at_row(7, '{"question": "é"}'.encode("latin-1")), "rows.jsonl:7: TS303 not UTF-8"),
    "malformed at row 1,207": ("rows.jsonl", at_row(1_207, b'{"question": '), "rows.jsonl:1207: TS304 not valid JSON"),
    "a list as a row": ("rows.jsonl", at_row(1_207, b"[1]"), "rows.jsonl:1207: TS304 expected an object"),
    "a number as a question": ("rows.jsonl", at_row(3, b'{"question": 1, "answer": "x"}'), "rows.jsonl:3: TS304"),
    "too many cells": ("rows.csv", csv_text(ROWS[:5]) + b"a,b,c\n", "rows.csv:7: TS304 more than the 2 cells"),
    "half a character": (
        "rows.jsonl",
        at_row(3, b'{"question": "hi \\ud83d", "answer": "x"}'),
        "rows.jsonl:3: TS303 half of",
    ),
    "a number without end": (
        "rows.jsonl",
        at_row(3, b'{"question": ' + b"9" * 5_000 + b"}"),
        "rows.jsonl:3: TS304 not valid",
    ),
    "bytes in a Parquet": (
        "rows.parquet",
        parquet([{"question": b"x", "answer": "y"}]),
        "TS304 the prompt is of type bytes",
    ),
    "damaged Parquet": ("rows.parquet", parquet(ROWS)[:300] + b"x" * 400 + parquet(ROWS)[700:], "rows.parquet: TS304"),
    "no array": ("rows.json", b'{"question": "a"}', "rows.json: TS304 expected an array"),
    "no Parquet": ("rows.parquet", b"not parquet", "rows.parquet: TS304 not readable as Parquet"),
    "unknown type": ("rows.xlsx", b"x", "rows.xlsx: TS304 unknown file type '.xlsx'"),
    "missing column": (
        "rows.jsonl",
        jsonl([{"frage": "a", "antwort": "b"}]),
        "rows.jsonl:1: TS305 no column 'question' (the prompt); columns here: antwort, frage",
    ),
    "missing column of a CSV": ("rows.csv", b"q,a\nx,y\n", "rows.csv:2: TS305 no column 'question'"),
    "missing column of a Parquet": (
        "rows.parquet",
        parquet([{"q": "x"}]),
        "rows.parquet:1: TS305 no column 'question'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_named_with_its_row_and_nothing_is_written(case: str, tmp_path: Path) -> None:
    name, content, expected = BAD[case]
    root = with_data(tmp_path, name, content)
    before = snapshot(root)
    for command in ("validate", "apply"):
        done = tunesmith(command, root)
        assert done.returncode == 1
        assert expected in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert snapshot(root) == before


def test_a_missing_file_is_reported_where_the_spec_names_it(tmp_path: Path) -> None:
    root = with_data(tmp_path, "rows.jsonl", b"")
    (root / "rows.jsonl").unlink()
    done = tunesmith("validate", root)
    assert done.returncode == 1
    assert "pipeline.yaml:10:5: TS301 data.sources[0].path: " in done.stderr


def test_each_bad_file_is_reported(tmp_path: Path) -> None:
    sources = [{"path": name} for name in ("one.jsonl", "two.jsonl", "three.jsonl")]
    write_spec(tmp_path, spec_with(data__sources=sources))
    assert tunesmith("validate", tmp_path).stderr.count("TS301") == 3


def test_conversations_are_read_from_the_mapped_column(tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    root = with_data(
        tmp_path,
        "talks.jsonl",
        jsonl([{"talk": [{**talk[0], "content": f"Hi {n}"}, talk[1]]} for n in range(40)]),
        format="messages",
        columns={"messages": "talk"},
    )
    assert tunesmith("validate", root).returncode == 0
    (root / "talks.jsonl").write_bytes(jsonl([{"talk": [{"role": "robot", "content": "Hi"}]}]))
    assert "talks.jsonl:1: TS304 message 1 has role 'robot'" in tunesmith("validate", root).stderr


def test_preferences_are_read_as_text_or_messages(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"ask": f"Hi {n}", "chosen": "Hello", "rejected": [{"role": "assistant", "content": "No"}]} for n in range(40)
    ]
    source = {"path": "pairs.jsonl", "format": "preference", "columns": {"prompt": "ask"}}
    write_spec(tmp_path, spec_with(train__method="dpo", data__sources=[source]))
    (tmp_path / "pairs.jsonl").write_bytes(jsonl(rows))
    assert tunesmith("validate", tmp_path).returncode == 0
    (tmp_path / "pairs.jsonl").write_bytes(jsonl([*rows, {"ask": "Hi", "chosen": "Hello"}]))
    assert "pairs.jsonl:41: TS305 no column 'rejected' (the rejected)" in tunesmith("validate", tmp_path).stderr
    (tmp_path / "pairs.jsonl").write_bytes(jsonl([*rows, {"ask": "Hi", "chosen": 3, "rejected": "No"}]))
    assert "pairs.jsonl:41: TS304 the chosen is a number, not text" in tunesmith("validate", tmp_path).stderr


def test_rows_that_all_fall_on_one_side_are_refused(tmp_path: Path) -> None:
    """The data stage would stop there, minutes later."""
    root = with_data(tmp_path, "few.jsonl", jsonl([{"question": "Hi", "answer": "Hello"}] * 3))
    done = tunesmith("validate", root)
    assert done.returncode == 1
    assert "pipeline.yaml:" in done.stderr
    assert "TS306 data.sources: the validation split would be empty, with 3 usable rows of 3" in done.stderr
