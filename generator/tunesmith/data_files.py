"""The data files that a spec names: are they there, and does every row have what the pipeline will read?

The rows are read by the runtime's own reader, so what passes here is what the generated data stage accepts.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from tunesmith.problem import Problem, TunesmithError
from tunesmith.spec.data import DataFile
from tunesmith.spec.document import read_document
from tunesmith.spec.pipeline import Spec
from tunesmith_runtime import records
from tunesmith_runtime.errors import DataError
from tunesmith_runtime.split import Splits

_CODES = {
    "missing": "TS301",
    "empty": "TS302",
    "encoding": "TS303",
    "malformed": "TS304",
    "column": "TS305",
    "unread": "TS307",
}


class DataSummary(NamedTuple):
    """What the data stage will find.

    Attributes:
        read: Rows by path, as the spec gives it.
        splits: What becomes of them.
        missing: Why a file was not read, by its place in `data.sources`.
    """

    read: Counter[str]
    splits: Splits
    missing: dict[int, DataError]


def check_data_files(spec: Spec, spec_path: Path) -> DataSummary:
    """Read every data file that `spec` names.

    Raises:
        TunesmithError: TS301–TS305 and TS307, the first problem of each file; TS306 where a split would be empty.
    """
    summary = check_data_files_there(spec, spec_path)
    if summary.missing:
        raise TunesmithError(*_missing(summary, spec_path))
    return summary


def check_data_files_there(spec: Spec, spec_path: Path) -> DataSummary:
    """As `check_data_files`, where a file that is not there is no error: to render a repository takes none."""
    summary = DataSummary(Counter(), Splits(spec.data.validation_fraction, spec.data.test_fraction), {})
    problems: list[Problem] = []
    for index, source in enumerate(spec.data.sources):
        try:
            for record in records.read_records(_as_the_runtime_reads(source, spec_path), spec.data.system_prompt):
                summary.read[source.path] += 1
                summary.splits.assign(record)
        except DataError as error:
            if error.kind == "missing":
                summary.missing[index] = error
            else:
                problems.append(Problem(error.path, error.row, 0, _CODES[error.kind], error.message))
    if not problems and not summary.missing and (empty := summary.splits.empty()):
        message = f"data.sources: the {empty[0]} split would be empty, {empty[1]}"
        problems.append(read_document(spec_path).problem(("data", "sources"), "TS306", message))
    if problems:
        raise TunesmithError(*problems, *_missing(summary, spec_path))
    return summary


def _missing(summary: DataSummary, spec_path: Path) -> list[Problem]:
    document = read_document(spec_path)
    return [
        document.problem(("data", "sources", index, "path"), "TS301", f"data.sources[{index}].path: {error}")
        for index, error in summary.missing.items()
    ]


def _as_the_runtime_reads(source: DataFile, spec_path: Path) -> records.Source:
    columns = {name: getattr(source.columns, name) for name in records.COLUMNS[source.format]}
    return records.Source(path=str(spec_path.parent / source.path), format=source.format, columns=columns)
