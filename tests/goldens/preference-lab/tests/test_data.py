"""Reading, cleaning and splitting."""

import json
from pathlib import Path
from typing import Any

import pytest
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.records import Source, read_records
from tunesmith_runtime.split import assign_split, split_key

from preference_lab.data import Config, main

COLUMNS = {"prompt": "q", "completion": "a"}


def source(path: Path) -> Source:
    return Source(str(path), "prompt-completion", COLUMNS)


def pair(prompt: str, answer: str = "yes") -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv", "parquet"])
def test_every_format_reads_the_same(tmp_path: Path, suffix: str) -> None:
    rows = [{"q": "배송은 언제?", "a": "내일,\n아침"}, {"q": "Why?", "a": 'so "be" it'}]
    path = tmp_path / f"rows.{suffix}"
    if suffix == "jsonl":
        path.write_text("\ufeff" + "\n".join(map(json.dumps, rows)), encoding="utf-8")
    elif suffix == "json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif suffix == "csv":
        import csv

        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, ["q", "a"])
            writer.writeheader()
            writer.writerows(rows)
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    records = list(read_records(source(path), "Be brief."))
    contents = [[message["content"] for message in record.messages] for record in records]
    assert contents == [["Be brief.", row["q"], row["a"]] for row in rows]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"q": "x", "a": "y"}\n{"q": \n', "a.jsonl:2: not valid JSON"),
        ("a.jsonl", b'{"q": "\xff", "a": "y"}\n', "a.jsonl:1: not UTF-8"),
        ("a.jsonl", b'{"question": "x", "a": "y"}\n', "columns here: a, question"),
        ("a.jsonl", b'{"q": 3, "a": "y"}\n', "a.jsonl:1: the prompt is a number, not text"),
        ("a.jsonl", b"\n", "no rows"),
        ("a.json", b'{"q": "x"}', "expected an array"),
        ("a.jsonl", b'{"q": "x", "a": "y", "q": "z"}\n', "a.jsonl:1: the key 'q' is given twice"),
        ("a.jsonl", b'{"q": "x", "a": "y", "input": "z"}\n', "the column 'input' holds 'z'"),
        ("a.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "run `git lfs pull`"),
        ("a.csv", b"q,a\nx,y,z\n", "a.csv:2: more than the 2 cells of the header"),
        ("a.parquet", b"PAR", "not readable as Parquet"),
        ("a.txt", b"x", "unknown file type"),
    ],
)
def test_unreadable_rows_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        list(read_records(source(path), None))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(read_records(source(tmp_path / "none.jsonl"), None))


def test_a_row_keeps_its_split_and_a_prompt_stays_in_one() -> None:
    composed, decomposed = "caf\u00e9 hours?", "cafe\u0301  hours?"
    assert split_key(pair(composed, "9")) == split_key(pair(decomposed, "10"))
    shares = [assign_split(split_key(pair(f"question {n}")), 0.1, 0.2) for n in range(2000)]
    assert 0.07 < shares.count("validation") / 2000 < 0.13
    assert 0.16 < shares.count("test") / 2000 < 0.24


def config(tmp_path: Path, rows: list[dict[str, Any]]) -> Config:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Config(str(tmp_path / "run"), 0, [source(path)], 0.2, 0.2)


def test_dropped_rows_are_counted_with_their_reason(tmp_path: Path) -> None:
    rows = [{"q": f"question {n}", "a": "yes"} for n in range(60)]
    rows += [{"q": "question 1", "a": "yes"}, {"q": " ", "a": "yes"}, {"q": "x", "a": float("nan")}]
    metrics = main(config(tmp_path, rows))
    report = json.loads((tmp_path / "run/data/report.json").read_text(encoding="utf-8"))
    reasons = {reason: entry["rows"] for reason, entry in report["dropped"].items()}
    assert reasons == {"duplicate": 1, "empty prompt": 1, "empty completion": 1}
    assert metrics["dropped_rows"] == 3
    assert sum(report["rows"].values()) == 60


def test_an_empty_split_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"split is empty, with 1 usable rows of 2; dropped 1 rows"):
        main(config(tmp_path, [{"q": "only one", "a": "yes"}, {"q": "only one", "a": ""}]))


def test_messages_must_end_in_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    messages = [*pair("Hi", "Hello"), {"role": "user", "content": "Bye"}]
    path.write_text(json.dumps({"messages": messages}) + "\n", encoding="utf-8")
    (record,) = read_records(Source(str(path), "messages"), None)
    assert record.messages == pair("Hi", "Hello")


def test_what_a_message_asks_for_beside_its_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    user, answer = pair("Hi", "Hello")
    path.write_text(json.dumps({"messages": [user, {**answer, "weight": 0}]}), encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl:1: message 2 has 'weight', 0"):
        list(read_records(Source(str(path), "messages"), None))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"prompt": "Hi", "chosen": "Hello", "rejected": "No"}, ("Hello", "No", None)),
        (
            {"prompt": pair("Hi")[:1], "chosen": pair("", "Yes")[1:], "rejected": "No"},
            ("Yes", "No", None),
        ),
        (
            {"prompt": "Hi", "chosen": pair("Hi", "A"), "rejected": pair("Hi", "B")},
            ("A", "B", None),
        ),
        (
            {"prompt": "Hi", "chosen": "Same", "rejected": "Same"},
            (None, None, "chosen equals rejected"),
        ),
        ({"prompt": "Hi", "chosen": "Hello", "rejected": " "}, (None, None, "empty rejected")),
    ],
)
def test_preferences_are_text_or_messages(
    tmp_path: Path, row: dict[str, Any], expected: tuple[str | None, ...]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (record,) = read_records(Source(str(path), "preference"), None)
    chosen = record.messages[-1]["content"] if record.messages else None
    assert (chosen, record.rejected, record.dropped) == expected


def test_answers_to_two_conversations_are_no_pair(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    row = {"prompt": "Hi", "chosen": pair("Hi", "A"), "rejected": pair("Bye", "B")}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.jsonl:1: chosen and rejected answer two different"):
        list(read_records(Source(str(path), "preference"), None))
