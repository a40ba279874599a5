"""The `data` section: where rows come from and how they are split."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from tunesmith.spec.rule import Broken, Rule, no_effect
from tunesmith.spec.section import Section
from tunesmith_runtime.records import COLUMNS, Format

if TYPE_CHECKING:
    from tunesmith.spec.resolve import Resolved

FILE_TYPES = (".jsonl", ".json", ".csv", ".parquet")

_Column = Annotated[str, Field(min_length=1, max_length=200)]


class Columns(Section):
    """Which column of the file holds what."""

    messages: Annotated[_Column, Field(description="Column of the list of {role, content}, for format `messages`.")] = (
        "messages"
    )
    prompt: Annotated[
        _Column,
        Field(description="Column of the user's text, for formats `prompt-completion` and `preference`."),
    ] = "prompt"
    completion: Annotated[_Column, Field(description="Column of the answer, for format `prompt-completion`.")] = (
        "completion"
    )
    chosen: Annotated[_Column, Field(description="Column of the better answer, for format `preference`.")] = "chosen"
    rejected: Annotated[_Column, Field(description="Column of the worse answer, for format `preference`.")] = "rejected"


class DataFile(Section):
    """One file of rows."""

    path: Annotated[
        str,
        Field(
            min_length=1,
            max_length=1_000,
            pattern=r"^[^\x00-\x1f\x7f]+$",
            description="JSONL, JSON, CSV or Parquet file, relative to this spec.",
            examples=["data/raw/support.jsonl"],
        ),
    ]
    format: Annotated[
        Format,
        Field(
            description="`prompt-completion`: a question and its answer; `messages`: whole conversations; "
            "`preference`: a prompt with a chosen and a rejected answer, each text or messages."
        ),
    ] = "prompt-completion"
    columns: Annotated[Columns, Field(description="Which column of the file holds what.")] = Columns()


class Data(Section):
    """Where rows come from and how they are split.

    Beside the columns that are read, rows may have any others. Those that would change what is trained, such as `tools`,
    `input` or `weight`, are refused where they hold something: map, rename or remove them (`tunesmith explain TS307`).
    """

    sources: Annotated[
        list[DataFile], Field(min_length=1, max_length=100, description="Files of rows, read in this order.")
    ]
    language: Annotated[
        str,
        Field(
            max_length=20,
            pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
            description="BCP 47 tag of the data's language; decides how BLEU splits text.",
            examples=["ko"],
        ),
    ] = "en"
    system_prompt: Annotated[
        str | None,
        Field(max_length=10_000, description="System message put before each conversation that has none."),
    ] = None
    validation_fraction: Annotated[
        float,
        Field(
            gt=0, le=0.5, description="Share of rows held out for early decisions and search, chosen by content hash."
        ),
    ] = 0.1
    test_fraction: Annotated[
        float,
        Field(gt=0, le=0.5, description="Share of rows held out for evaluation, chosen by content hash."),
    ] = 0.1


def _rows_to_train_on(resolved: "Resolved") -> Broken:
    data = resolved.asked.data
    held_out = data.validation_fraction + data.test_fraction
    if held_out > 0.8:
        yield (
            ("data", "test_fraction"),
            f"data.validation_fraction and data.test_fraction hold out {held_out:.0%} of the rows; at most 80 % leaves "
            "enough to train on",
        )


def _rows_of_the_method(resolved: "Resolved") -> Broken:
    for index, source in enumerate(resolved.asked.data.sources):
        if (source.format == "preference") == resolved.pairs:
            continue
        wanted = (
            "reads a chosen and a rejected answer; give the data format 'preference' and its columns"
            if resolved.pairs
            else "reads one answer; give the data format 'prompt-completion' and columns {completion: chosen}"
        )
        yield (
            ("data", "sources", index, "format"),
            f"format {source.format!r} cannot be used with train.method {resolved.train.method!r}, which {wanted}, or change "
            "the method",
        )


def _columns_that_differ(resolved: "Resolved") -> Broken:
    for index, source in enumerate(resolved.asked.data.sources):
        read: dict[str, str] = {}
        for name in COLUMNS[source.format]:
            column = getattr(source.columns, name)
            if column in read:
                yield (
                    ("data", "sources", index, "columns"),
                    f"{read[column]} and {name} are both read from column {column!r}; name two columns",
                )
            read[column] = name


def _columns_of_the_format(resolved: "Resolved") -> Broken:
    for index, source in enumerate(resolved.asked.data.sources):
        wanted = COLUMNS[source.format]
        for column in sorted(source.columns.model_fields_set.difference(wanted)):
            yield (
                ("data", "sources", index, "columns", column),
                f"columns.{column} has no effect with format {source.format!r}, which reads "
                f"{' and '.join(wanted)}; remove it or change the format",
            )


RULES = (
    Rule(
        "TS203",
        "Too little to train on",
        "Validation and test together may hold out at most 80 % of the rows.",
        _rows_to_train_on,
    ),
    Rule(
        "TS205",
        "Prompt and completion are the same column",
        "A model trained to repeat its prompt learns nothing.",
        _columns_that_differ,
    ),
    no_effect(_columns_of_the_format),
    Rule(
        "TS217",
        "Rows of another method",
        "`dpo`, `orpo` and `kto` learn from pairs of answers, `data.sources[].format: preference`. `sft` learns from one "
        "answer; to train it on the better of each pair, read the column `chosen` as the completion.",
        _rows_of_the_method,
    ),
)
