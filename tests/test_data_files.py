"""Data files that a spec names: what is wrong is said with file, row and code before anything is written."""

import csv
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

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


def parquet(rows: list[dict[str, Any]], **columns: pa.Array) -> bytes:
    """Of rows, with some columns in other types than Python's."""
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows)
    pq.write_table(pa.table({**dict(zip(table.column_names, table.columns, strict=True)), **columns}), sink)
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
        ("dates.parquet", parquet(ROWS, created=pa.array([2**62 + 1] * 2_000, pa.timestamp("ns")))),
        ("years.parquet", parquet(ROWS, created=pa.array([2**62] * 2_000, pa.timestamp("us")))),
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
    "a key twice": (
        "rows.jsonl",
        at_row(3, b'{"question": "x", "answer": "y", "question": "z"}'),
        "rows.jsonl:3: TS304 the key 'question' is given twice",
    ),
    "a column twice": (
        "rows.csv",
        b"question,answer,question\na,b,c\n",
        "rows.csv:1: TS304 the column 'question' is there",
    ),
    "a column that changes what is trained": (
        "rows.jsonl",
        at_row(3, b'{"question": "x", "answer": "y", "input": "z"}'),
        "rows.jsonl:3: TS307 the column 'input' holds 'z'",
    ),
    "UTF-16": ("rows.csv", csv_text(ROWS).decode().encode("utf-16"), "rows.csv: TS303 is UTF-16, not UTF-8"),
    "gzip": ("rows.jsonl", gzip.compress(jsonl(ROWS)), "rows.jsonl: TS304 is compressed with gzip"),
    "a date after the year 9999 as a question": (
        "rows.parquet",
        parquet([{"question": "x", "answer": "y"}], question=pa.array([2**62], pa.timestamp("us"))),
        "rows.parquet:1: TS304 the column 'question' (timestamp[us]) holds what cannot be read",
    ),
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


def test_dropped_rows_are_counted_by_reason_over_all_files(tmp_path: Path) -> None:
    """And so they are where rows are read: the data stage of the repository says the same."""
    columns = {"prompt": "question", "completion": "answer"}
    sources = [{"path": name, "columns": columns} for name in ("one.jsonl", "two.jsonl")]
    write_spec(tmp_path, spec_with(data__sources=sources))
    (tmp_path / "one.jsonl").write_bytes(jsonl(ROWS[:100]))
    (tmp_path / "two.jsonl").write_bytes(
        jsonl(
            [
                {"question": "Q", "answer": None},
                {"question": "Q", "answer": float("nan")},
                ROWS[0],
                {**ROWS[200], "question": ""},
            ]
        )
    )
    done = tunesmith("validate", tmp_path)
    assert done.returncode == 0, done.stderr
    place = tmp_path / "two.jsonl"
    assert f"dropped 2 rows: empty completion (first: {place}:1)\n" in done.stdout
    assert f"dropped 1 rows: duplicate (first: {place}:3)\n" in done.stdout
    assert f"dropped 1 rows: empty prompt (first: {place}:4)\n" in done.stdout
    document = json.loads(tunesmith("validate", tmp_path, "--json").stdout)
    assert document["dropped"]["empty completion"] == {"rows": 2, "first": f"{place}:1"}
    assert sum(document["splits"].values()) == 100

    assert tunesmith("apply", tmp_path).returncode == 0
    stage = [sys.executable, "-m", "support_assistant", "data", "--config", "configs/smoke.yaml"]
    paths = os.pathsep.join(str(tmp_path / name) for name in ("src", "vendor"))
    ran = subprocess.run(
        stage, cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "data: dropped 2 rows: empty completion (first: two.jsonl:1)\n" in ran.stdout
    assert "data: dropped 1 rows: duplicate (first: two.jsonl:3)\n" in ran.stdout


def test_a_file_of_which_every_row_is_dropped_says_why(tmp_path: Path) -> None:
    root = with_data(tmp_path, "rows.jsonl", jsonl([{"question": f"Question {n}?", "answer": ""} for n in range(60)]))
    done = tunesmith("validate", root)
    assert done.returncode == 1
    assert "TS306 data.sources: the train split would be empty, with 0 usable rows of 60; " in done.stderr
    assert f"dropped 60 rows: empty completion (first: {root / 'rows.jsonl'}:1)" in done.stderr
    assert "add rows" not in done.stderr


def test_rows_that_share_one_prompt_are_said_to(tmp_path: Path) -> None:
    root = with_data(tmp_path, "rows.jsonl", jsonl([{"question": "Hi", "answer": f"Answer {n}."} for n in range(60)]))
    assert "the usable rows share one prompt, and a prompt is never in two splits" in tunesmith("validate", root).stderr


# --- A clone in which the raw data is not there


def without_data(root: Path) -> Path:
    """A repository that was applied, and whose spec changes once its data is gone."""
    write_spec(root, spec_with())
    assert tunesmith("apply", root).returncode == 0
    shutil.rmtree(root / "data")
    write_text(root, spec_with(train__learning_rate=0.0003))
    return root


def write_text(root: Path, spec: dict[str, Any]) -> None:
    (root / "pipeline.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")


def test_a_clone_without_its_data_regenerates_and_says_that_it_was_not_checked(tmp_path: Path) -> None:
    """Raw data that is large or private stays out of git; what is rendered does not depend on it."""
    root = without_data(tmp_path)
    line = "data     not checked: data/raw/support.jsonl (no such file)\n"
    planned = tunesmith("plan", root)
    assert planned.returncode == 2, planned.stderr
    assert line in planned.stdout
    document = json.loads(tunesmith("plan", root, "--json").stdout)
    assert document["data_not_checked"] == {"data/raw/support.jsonl": "no such file"}
    applied = tunesmith("apply", root)
    assert applied.returncode == 0, applied.stderr
    assert line in applied.stdout
    assert "0.0003" in (root / "configs" / "default.yaml").read_text()
    refused = tunesmith("validate", root)
    assert refused.returncode == 1
    assert "TS301 data.sources[0].path: " in refused.stderr


def test_a_repository_is_made_before_its_data_is_there(tmp_path: Path) -> None:
    write_spec(tmp_path, spec_with())
    shutil.rmtree(tmp_path / "data")
    applied = tunesmith("apply", tmp_path)
    assert applied.returncode == 0, applied.stderr
    assert "data     not checked: data/raw/support.jsonl (no such file)\n" in applied.stdout
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "support.jsonl").write_text("not JSON\n")
    assert tunesmith("validate", tmp_path).returncode == 1


def test_a_pointer_in_the_place_of_data_is_data_that_is_not_there(tmp_path: Path) -> None:
    root = without_data(tmp_path)
    (root / "data" / "raw").mkdir(parents=True)
    (root / "data" / "raw" / "support.jsonl").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    planned = tunesmith("plan", root)
    assert planned.returncode == 2, planned.stderr
    assert "data     not checked: data/raw/support.jsonl (is a Git LFS pointer, not the data; run " in planned.stdout
    assert "TS301" in tunesmith("validate", root).stderr


def test_data_that_cannot_be_opened_is_data_that_is_not_there(tmp_path: Path) -> None:
    name = "x" * 300 + ".jsonl"
    write_spec(tmp_path, spec_with(data__sources=[{"path": name}]))
    applied = tunesmith("apply", tmp_path)
    assert applied.returncode == 0, applied.stderr
    assert f"data     not checked: {name} (cannot be read: File name too long)\n" in applied.stdout


def test_data_that_is_there_and_wrong_stops_a_plan_though_other_data_is_not_there(tmp_path: Path) -> None:
    root = without_data(tmp_path)
    spec = spec_with()
    spec["data"]["sources"].append({**spec["data"]["sources"][0], "path": "here.jsonl"})
    write_text(root, spec)
    (root / "here.jsonl").write_text('{"question": "x"\n')
    before = snapshot(root)
    for command in ("plan", "apply"):
        done = tunesmith(command, root)
        assert done.returncode == 1
        assert "here.jsonl:1: TS304 not valid JSON" in done.stderr
    assert snapshot(root) == before


def test_rows_that_all_fall_on_one_side_are_refused(tmp_path: Path) -> None:
    """The data stage would stop there, minutes later."""
    root = with_data(tmp_path, "few.jsonl", jsonl([{"question": "Hi", "answer": "Hello"}] * 3))
    done = tunesmith("validate", root)
    assert done.returncode == 1
    assert "pipeline.yaml:" in done.stderr
    assert "TS306 data.sources: the validation split would be empty, with 3 usable rows of 3" in done.stderr
