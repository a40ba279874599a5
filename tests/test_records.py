"""Rows of data files: nothing that they ask for is left out in silence, and what is wrong says what, where and the way out."""

import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tunesmith.codes import CODES
from tunesmith_runtime.errors import DataError
from tunesmith_runtime.records import Format, Record, Source, read_records
from tunesmith_runtime.split import Splits
from tunesmith_runtime.unread import OF_NO_TEMPLATE, SWITCHES, UNREAD_COLUMNS

PAIR = {"prompt": "Hi", "completion": "Hello"}
USER, ANSWER = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}


def records(path: Path, format_: Format = "prompt-completion", **columns: str) -> list[Record]:
    return list(read_records(Source(str(path), format_, columns), None))


def jsonl(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def parquet(folder: Path, table: pa.Table, **options: Any) -> Path:
    path = folder / "rows.parquet"
    pq.write_table(table, path, **options)
    return path


def refused(path: Path, format_: Format = "prompt-completion", **columns: str) -> DataError:
    """The one line with which a file is refused."""
    with pytest.raises(DataError) as caught:
        records(path, format_, **columns)
    assert "\n" not in str(caught.value)
    return caught.value


# --- What a message or a row asks for, and training would leave out

ASKING = [
    {"weight": 0},
    {"weight": 0.5},
    {"train": False},
    {"name": "bob"},
    {"tool_calls": [{"type": "function", "function": {"name": "track", "arguments": "{}"}}]},
    {"reasoning_content": "The user wants to know."},
    {"thinking": "Hm."},
    {"function_call": {"name": "track"}},
    {"images": ["a.png"]},
    {"text": "Hello"},
]
NOTHING_ASKED: list[dict[str, Any]] = [
    {"weight": 1},
    {"weight": 1.0},
    {"train": True},
    {"tool_calls": []},
    {"tool_calls": None, "name": None, "refusal": None, "audio": None, "annotations": []},
    {"reasoning_content": ""},
    dict.fromkeys(sorted(OF_NO_TEMPLATE), "x-1"),
]


@pytest.mark.parametrize("keys", ASKING, ids=json.dumps)
@pytest.mark.parametrize("format_", ["messages", "prompt-completion", "preference"])
def test_what_a_message_asks_for_beside_its_text_is_refused_by_name(
    format_: Format, keys: dict[str, Any], tmp_path: Path
) -> None:
    """Trained without it, a model announces a call and stops, or learns an answer that was to be left out."""
    answer = [{**ANSWER, **keys}]
    row = {
        "messages": {"messages": [USER, *answer]},
        "prompt-completion": {"prompt": [USER], "completion": answer},
        "preference": {"prompt": "Hi", "chosen": answer, "rejected": "No"},
    }[format_]
    error = refused(jsonl(tmp_path, row), format_)
    assert (error.kind, error.row) == ("unread", 1)
    assert f"message 2 has {next(iter(keys))!r}" in error.message
    # Without the key, an answer that was to be left out would be trained.
    way = "remove the row" if keys.keys() <= SWITCHES else "remove the key, or the row"
    assert error.message.endswith(way)


def test_a_message_without_content_says_what_it_has(tmp_path: Path) -> None:
    error = refused(jsonl(tmp_path, {"messages": [{"role": "user", "text": "Hi"}, ANSWER]}), "messages")
    assert "message 1 has no content, but 'text'" in error.message


def test_a_call_without_content_is_refused_and_not_dropped_as_empty(tmp_path: Path) -> None:
    row = {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}]}
    assert "'tool_calls'" in refused(jsonl(tmp_path, row), "messages").message


@pytest.mark.parametrize("keys", NOTHING_ASKED, ids=json.dumps)
def test_keys_that_ask_for_nothing_pass(keys: dict[str, Any], tmp_path: Path) -> None:
    (record,) = records(jsonl(tmp_path, {"messages": [USER, {**ANSWER, **keys}]}), "messages")
    assert record.messages == [USER, ANSWER]


ASKING_COLUMNS = [
    ("tools", [{"type": "function", "function": {"name": "track"}}]),
    ("functions", [{"name": "track"}]),
    ("input", "Paris is the capital."),
    ("Input", "Paris is the capital."),
    ("context", "Paris is the capital."),
    ("system", "Be brief."),
    ("system_prompt", "Be brief."),
    ("reasoning", "The user says hi."),
    ("images", ["a.png"]),
    ("label", False),
    ("weight", 0),
    ("history", [["Hi", "Hello"]]),
    ("chat_template_kwargs", {"enable_thinking": True}),
]


@pytest.mark.parametrize(("column", "value"), ASKING_COLUMNS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_column_that_changes_what_is_trained_is_refused_where_nobody_mapped_it(
    kind: str, column: str, value: Any, tmp_path: Path
) -> None:
    rows = [PAIR, {**PAIR, column: value}]
    path = jsonl(tmp_path, *rows)
    if kind == "parquet":
        columns = {name: [row.get(name) for row in rows] for name in (*PAIR, column)}
        path = parquet(tmp_path, pa.table(columns))
    error = refused(path)
    assert (error.kind, error.row) == ("unread", 2)
    assert f"the column {column!r} holds" in error.message
    assert error.message.endswith("write it into the texts, or rename or remove the column")


def test_a_column_that_is_mapped_is_what_the_mapping_says(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {"input": "Hi", "label": "Hello"})
    (record,) = records(path, prompt="input", completion="label")
    assert record.messages == [USER, ANSWER]


def test_other_columns_may_hold_what_they_like(tmp_path: Path) -> None:
    others = {"id": 7, "source": "web", "category": "x", "score": 0.5, "meta": {"tools": 1}, "messages": [USER]}
    empty = dict.fromkeys(UNREAD_COLUMNS) | {"tools": [], "input": "", "system": " ", "history": "[]", "weight": 1}
    assert len(records(jsonl(tmp_path, {**PAIR, **others, **empty}))) == 1
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion,category,input,weight,tools\nHi,Hello,x,,1,[]\n")
    assert len(records(path)) == 1


def test_the_guide_and_the_code_name_every_column_and_key_with_a_meaning(repository: Callable[..., Path]) -> None:
    guide = (repository() / "docs" / "data.md").read_text(encoding="utf-8")
    for text in (guide, CODES["TS307"].text):
        assert {name for name in UNREAD_COLUMNS | OF_NO_TEMPLATE if f"`{name}`" not in text} == set()


def test_scores_beside_a_preference_pass(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "No"}]}
    others = {"messages": [USER, ANSWER], "score_chosen": 9.5, "score_rejected": 1.0, "prompt_id": "p"}
    assert len(records(jsonl(tmp_path, {**row, **others}), "preference")) == 1


def test_what_parquet_fills_in_for_absent_keys_passes(tmp_path: Path) -> None:
    """All messages of a column have the same fields there, null where one does not give them."""
    rows = [
        {"messages": [{**USER, "name": None}, {**ANSWER, "tool_calls": None}]},
        {"messages": [USER, ANSWER]},
    ]
    assert [record.messages for record in records(parquet(tmp_path, pa.Table.from_pylist(rows)), "messages")] == [
        [USER, ANSWER]
    ] * 2


def test_keys_of_a_prompt_that_both_answers_repeat_are_looked_at_too(tmp_path: Path) -> None:
    row = {"prompt": [{**USER, "images": ["a.png"]}], "chosen": [USER, ANSWER], "rejected": [USER, USER, ANSWER]}
    assert "message 1 has 'images'" in refused(jsonl(tmp_path, row), "preference").message


def test_answers_to_two_conversations_are_told_with_what_differs(tmp_path: Path) -> None:
    row = {"prompt": "Hi", "chosen": [USER, ANSWER], "rejected": [{**USER, "content": "Bye"}, ANSWER]}
    assert "conversations: 'Hi' and 'Bye'; pair" in refused(jsonl(tmp_path, row), "preference").message
    row["rejected"] = [USER, ANSWER, USER, ANSWER]
    assert "conversations: nothing and 'Hello'; pair" in refused(jsonl(tmp_path, row), "preference").message


@pytest.mark.parametrize(
    "prompt", ["Bye", [USER, {**USER, "content": "Bye"}], [{"role": "system", "content": "Bye"}], 7]
)
def test_a_prompt_that_the_repeated_conversation_does_not_say_is_refused(prompt: Any, tmp_path: Path) -> None:
    row = {"prompt": prompt, "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "No"}]}
    assert "which the answers' conversation does not say" in refused(jsonl(tmp_path, row), "preference").message


@pytest.mark.parametrize("prompt", [USER["content"], f" {USER['content']}\n", [USER], [], "", None])
def test_a_prompt_that_the_repeated_conversation_says_is_not_needed(prompt: Any, tmp_path: Path) -> None:
    row = {"prompt": prompt, "chosen": [USER, ANSWER], "rejected": [USER, {**ANSWER, "content": "No"}]}
    (record,) = records(jsonl(tmp_path, row), "preference")
    assert record.messages == [USER, ANSWER]


@pytest.mark.parametrize("column", ["tools", "completion", "other"])
def test_json_as_deep_as_it_can_be_read_is_rows_or_one_line(column: str, tmp_path: Path) -> None:
    """What looks at a value, or quotes it, may not give up sooner than what reads it."""
    path = tmp_path / "rows.jsonl"
    for depth in range(800, 1_100, 5):
        values = {**PAIR, column: "deep"}
        path.write_text(json.dumps(values).replace('"deep"', "[" * depth + "1" + "]" * depth))
        try:
            assert records(path)
            assert column == "other"
        except DataError as error:
            assert error.kind in ("unread", "malformed")


# --- Keys and columns that are there twice

names = st.text(max_size=6)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


def with_repeated_key(key: str, first: Any, second: Any, others: dict[str, Any]) -> str:
    pairs = [(key, first), *((name, value) for name, value in others.items() if name != key), (key, second)]
    return "{" + ", ".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in pairs) + "}"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    key=names, first=values, second=values, others=st.dictionaries(names, values, max_size=3), depth=st.integers(0, 2)
)
@example(key="weight", first=0, second=1, others={}, depth=1)
def test_any_object_with_a_repeated_key_is_refused(
    key: str, first: Any, second: Any, others: dict[str, Any], depth: int, tmp_path: Path
) -> None:
    """JSON's readers take the last one; at any depth, in lines and in arrays alike."""
    text = with_repeated_key(key, first, second, others)
    for _ in range(depth):
        text = f'{{"a": [{text}], "b": 1}}'
    good = json.dumps(PAIR)
    lines, array = tmp_path / "rows.jsonl", tmp_path / "rows.json"
    lines.write_text(f"{good}\n{text}\n", encoding="utf-8")
    array.write_text(f"[\n  {good},\n  {text}\n]", encoding="utf-8")
    for path in (lines, array):
        error = refused(path)
        assert (error.kind, error.row) == ("malformed", 2)
        assert error.message.startswith(f"the key {key!r} is given twice")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.dictionaries(st.sampled_from(["id", "a", "b"]), values, max_size=3), min_size=1, max_size=4))
def test_an_array_of_rows_reads_as_the_same_rows_in_lines(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    """However it is laid out."""
    full = [{**row, **PAIR} for row in rows]
    wanted = [record.messages for record in records(jsonl(tmp_path, *full))]
    path = tmp_path / "rows.json"
    for indent in (None, 2):
        path.write_text(json.dumps(full, indent=indent), encoding="utf-8")
        assert [record.messages for record in records(path)] == wanted


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion,prompt\nHi,Hello,Bye\n")
    assert "rows.csv:1: the column 'prompt' is there twice" in str(refused(path))
    table = pa.table([pa.array(["Hi"]), pa.array(["Hello"]), pa.array(["Bye"])], ["prompt", "completion", "prompt"])
    assert "the column 'prompt' is there twice" in refused(parquet(tmp_path, table)).message
    twice = pa.StructArray.from_arrays([pa.array(["user"]), pa.array(["Hi"])], ["role", "role"])
    talks = pa.ListArray.from_arrays(pa.array([0, 1]), twice)
    error = refused(parquet(tmp_path, pa.table({"messages": talks})), "messages")
    assert error.row == 1
    assert "'messages' (list<element: struct<role: string, role: string>>) holds what cannot be read" in error.message


def test_the_columns_without_a_name_that_spreadsheets_leave_are_no_repetition(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("prompt,completion,,\nHi,Hello,,\n")
    assert [record.messages for record in records(path)] == [[USER, ANSWER]]


# --- Parquet


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_date_that_python_cannot_hold_does_no_harm_in_a_column_that_nobody_reads(unit: str, tmp_path: Path) -> None:
    """What a nanosecond, or the year 200000, looks like in Python is nobody's question."""
    far = pa.array([2**53 + 1], pa.timestamp(unit))
    table = pa.table({"prompt": ["Hi"], "completion": ["Hello"], "created": far})
    assert [record.messages for record in records(parquet(tmp_path, table))] == [[USER, ANSWER]]


def test_a_date_that_python_cannot_hold_is_one_line_where_it_is_read(tmp_path: Path) -> None:
    far = pa.array([0] * 1_500 + [2**62], pa.timestamp("us"))
    table = pa.table({"prompt": far, "completion": ["Hello"] * 1_501})
    error = refused(parquet(tmp_path, table.slice(1_500)))
    assert (error.kind, error.row) == ("malformed", 1)
    assert "the column 'prompt' (timestamp[us]) holds what cannot be read" in error.message
    nulls = pa.array([None] * 1_500 + [2**62], pa.timestamp("us"))
    assert refused(parquet(tmp_path, table.set_column(0, "prompt", nulls))).row == 1_501


TYPES = [
    pa.large_string(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
    pa.string_view(),
]


@pytest.mark.parametrize("type_", TYPES, ids=str)
def test_text_is_text_however_parquet_holds_it(type_: pa.DataType, tmp_path: Path) -> None:
    table = pa.table({"prompt": pa.array(["Hi", None]).cast(type_), "completion": pa.array(["Hello"] * 2).cast(type_)})
    found = records(parquet(tmp_path, table))
    assert [record.dropped for record in found] == [None, "empty prompt"]
    assert found[0].messages == [USER, ANSWER]


def test_a_column_whose_name_has_a_dot_is_not_one_inside_another(tmp_path: Path) -> None:
    table = pa.table({"a.b": ["Hi"], "a": pa.array([{"b": 1}]), "completion": ["Hello"]})
    assert records(parquet(tmp_path, table), prompt="a.b")[0].messages == [USER, ANSWER]


def test_a_missing_column_of_a_parquet_lists_those_that_are_not_read_too(tmp_path: Path) -> None:
    table = pa.table({"Prompt": ["Hi"], "completion": ["Hello"], "id": [1]})
    message = refused(parquet(tmp_path, table)).message
    assert message.startswith("no column 'prompt' (the prompt); columns here: Prompt, completion, id")


def test_encrypted_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PARE" + b"x" * 40 + b"PARE")
    assert "encrypted Parquet" in refused(path).message


# --- What stands in the place of data


STANDS_IN: dict[str, tuple[str, bytes, tuple[str, ...]]] = {
    "a Git LFS pointer": (
        "rows.jsonl",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        ("git lfs pull",),
    ),
    "a Git LFS pointer for a Parquet": (
        "rows.parquet",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        ("git lfs pull",),
    ),
    "gzip": ("rows.jsonl", gzip.compress(b"{}"), ("gzip",)),
    "a name of gzip": ("rows.jsonl.gz", gzip.compress(b"{}"), ("'.gz'", "unpack")),
    "Excel": ("rows.csv", b"PK\x03\x04xl", ("Excel",)),
    "a Parquet by another name": ("rows.jsonl", b"PAR1\0\0", ("Parquet", ".parquet")),
    "UTF-16 of Windows": ("rows.jsonl", (json.dumps(PAIR) + "\n").encode("utf-16"), ("UTF-16", "iconv -f UTF-16")),
    "UTF-16 without a mark": ("rows.json", json.dumps([PAIR]).encode("utf-16-le"), ("UTF-16LE", "iconv -f UTF-16LE")),
    "UTF-16 of a CSV in Korean": (
        "rows.csv",
        "prompt,completion\n가나,다라\n".encode("utf-16-be"),
        ("UTF-16BE", "iconv -f UTF-16BE"),
    ),
    "UTF-16 of Korean names": ("rows.csv", "가,나\n가가,나가\n".encode("utf-16-le"), ("UTF-16LE",)),
    "UTF-32": ("rows.csv", "prompt,completion\nHi,Hello\n".encode("utf-32"), ("UTF-32",)),
    "nothing": ("rows.parquet", b"", ("no rows", "empty")),
    "lines in an array's file": (
        "rows.json",
        f"{json.dumps(PAIR)}\n{json.dumps(PAIR)}\n".encode(),
        ("expected an array", "JSON Lines", ".jsonl"),
    ),
    "an object around the array": ("rows.json", json.dumps({"data": [PAIR]}).encode(), ('\'{"data"', "array")),
    "an array in a file of lines": ("rows.jsonl", json.dumps([PAIR]).encode(), ("a list", ".json file")),
    "an array over many lines": ("rows.jsonl", json.dumps([PAIR], indent=2).encode(), (".json file",)),
    "an object over many lines": ("rows.jsonl", json.dumps(PAIR, indent=2).encode(), ("each line", "one object")),
    "lines in a CSV": ("rows.csv", json.dumps(PAIR).encode(), ('\'{"prompt"', ".jsonl")),
    "a CSV in a file of lines": ("rows.jsonl", b"prompt,completion\nHi,Hello\n", ("'prompt,completion'",)),
    "semicolons": ("rows.csv", b"prompt;completion\nHi;Hello\n", ("'prompt;completion'", "';'", "','")),
    "semicolons, and commas in a text": (
        "rows.csv",
        b"prompt;completion\nHi, you;Hello\n",
        ("'prompt;completion'", "';'", "','"),
    ),
    "tabs": ("rows.csv", b"prompt\tcompletion\nHi\tHello\n", (r"'prompt\tcompletion'", r"'\t'", "','")),
    "semicolons, and names in quotes": (
        "rows.csv",
        b'"prompt";"completion"\n"Hi";"Hello"\n',
        (":1: not valid CSV", "';'", "','"),
    ),
    "a quote mark in a cell": ("rows.csv", b'prompt,completion\n"Hi" you,Hello\n', (":2: not valid CSV", '\'"Hi" you')),
    "a space in the header": (
        "rows.csv",
        b"prompt, completion\nHi, Hello\n",
        ("columns: {completion: ' completion'}",),
    ),
    "another case": ("rows.csv", b"Prompt,Completion\nHi,Hello\n", ("columns: {prompt: 'Prompt'}",)),
    "another encoding": ("rows.csv", "prompt,completion\nCafé,x\n".encode("latin-1"), (":2:", r"Caf\xe9")),
}


@pytest.mark.parametrize("case", STANDS_IN)
def test_what_stands_in_the_place_of_data_is_named_with_the_way_out(case: str, tmp_path: Path) -> None:
    name, content, expected = STANDS_IN[case]
    (tmp_path / name).write_bytes(content)
    error = str(refused(tmp_path / name))
    for part in expected:
        assert part in error


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").mkdir()
    assert "is a folder" in refused(tmp_path / "rows.jsonl").message


def test_sharegpt_is_named(tmp_path: Path) -> None:
    row = {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}
    error = refused(jsonl(tmp_path, row), "messages", messages="conversations")
    assert "'from', 'value', as in ShareGPT: write role for from, content for value" in error.message
    assert "user for 'human', and assistant for 'gpt'" in error.message


@pytest.mark.parametrize("entry", ["Hi", None, 3, {"role": "robot"}, {"role": ["user"]}, {"speaker": "a", "text": "b"}])
def test_what_is_no_message_is_quoted(entry: Any, tmp_path: Path) -> None:
    quoted = repr(entry.get("role", "speaker") if isinstance(entry, dict) else entry)
    message = refused(jsonl(tmp_path, {"messages": [entry]}), "messages").message
    assert message.startswith("message 1 ")
    assert quoted in message


def test_nan_is_a_missing_value_as_null_is(tmp_path: Path) -> None:
    """pandas writes one or the other for the same empty cell."""
    rows = [{"prompt": "Hi", "completion": value} for value in (None, float("nan"), "", " ")]
    assert [record.dropped for record in records(jsonl(tmp_path, *rows))] == ["empty completion"] * 4
    talks = [{"messages": None}, {"messages": float("nan")}, {"messages": [USER, {**ANSWER, "content": float("nan")}]}]
    reasons = [record.dropped for record in records(jsonl(tmp_path, *talks), "messages")]
    assert reasons == ["empty messages", "empty messages", "empty completion"]
    assert "a number, not text: inf" in refused(jsonl(tmp_path, {**PAIR, "prompt": float("inf")})).message


def test_a_row_of_a_csv_has_the_number_of_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('prompt,completion\n\n"Hi\nyou",Hello\n\nHi,Hello\n')
    assert [record.where.rsplit(":", 1)[1] for record in records(path)] == ["3", "6"]


# --- Whatever the bytes are

STARTS = [
    json.dumps(PAIR).encode() + b"\n",
    json.dumps([{"messages": [USER, {**ANSWER, "weight": 0}]}]).encode(),
    b'prompt,completion\n"Hi",Hello\n',
    "가,나\n".encode("utf-16"),
    gzip.compress(b"{}"),
]


def parquets() -> Iterator[bytes]:
    table = pa.table(
        {"prompt": ["Hi"] * 3, "completion": ["Hello"] * 3, "at": pa.array([2**62] * 3, pa.timestamp("us"))}
    )
    for options in ({}, {"compression": "NONE", "use_dictionary": False}):
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **options)
        yield sink.getvalue().to_pybytes()


STARTS += parquets()


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Any bytes, or a good file in which some are changed or cut off."""
    content = bytearray(draw(st.sampled_from(STARTS)))
    if draw(st.booleans()):
        return draw(st.binary(max_size=200))
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=files(), suffix=st.sampled_from(["jsonl", "json", "csv", "parquet"]))
@pytest.mark.parametrize("format_", ["messages", "prompt-completion", "preference"])
def test_no_bytes_end_in_anything_but_rows_or_one_line(
    format_: Format, content: bytes, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"rows.{suffix}"
    path.write_bytes(content)
    try:
        found = records(path, format_)
    except DataError as error:
        assert error.message
        assert not re.search(r"[\n\r]", error.message)
    else:
        assert found


# --- What is dropped, and why a split is empty


def test_an_exact_duplicate_is_dropped_and_one_with_another_answer_is_not(tmp_path: Path) -> None:
    splits = Splits(0.1, 0.1)
    rows = [PAIR, {**PAIR, "completion": "Good day"}, PAIR, {**PAIR, "completion": None}]
    path = jsonl(tmp_path, *rows)
    places = [splits.assign(record) for record in records(path)]
    assert places[0] == places[1]
    assert places[2:] == [None, None]
    assert splits.drops() == [
        f"dropped 1 rows: duplicate (first: {path}:3)",
        f"dropped 1 rows: empty completion (first: {path}:4)",
    ]


def why_empty(path: Path) -> str:
    splits = Splits(0.1, 0.1)
    for record in records(path):
        splits.assign(record)
    empty = splits.empty()
    assert empty is not None
    return empty[1]


def test_an_empty_split_says_that_every_row_was_dropped_and_why(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *[{**PAIR, "completion": None}] * 40, *[{**PAIR, "prompt": " "}] * 20)
    why = why_empty(path)
    assert why.startswith("with 0 usable rows of 60; ")
    assert f"dropped 40 rows: empty completion (first: {path}:1)" in why
    assert f"dropped 20 rows: empty prompt (first: {path}:41)" in why
    assert "add rows" not in why


def test_an_empty_split_says_that_all_rows_share_one_prompt(tmp_path: Path) -> None:
    path = jsonl(tmp_path, *[{**PAIR, "completion": f"Answer {n}"} for n in range(60)])
    assert "with 60 usable rows of 60; the usable rows share one prompt" in why_empty(path)
    assert "other prompts" in why_empty(path)


def test_an_empty_split_of_few_rows_asks_for_more(tmp_path: Path) -> None:
    path = jsonl(tmp_path, {**PAIR, "prompt": "a"}, {**PAIR, "prompt": "b"})
    assert "with 2 usable rows of 2; add rows, or raise data." in why_empty(path)
