"""The `data` section: where rows come from and how they are split."""

from typing import Annotated

from pydantic import Field

from tunesmith.spec.section import Section
from tunesmith_runtime.records import Format

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


class Source(Section):
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
    """Where rows come from and how they are split."""

    sources: Annotated[
        list[Source], Field(min_length=1, max_length=100, description="Files of rows, read in this order.")
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
