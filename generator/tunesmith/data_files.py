"""The data files that a spec names: are they there, and does every row have what the pipeline will read?

The rows are read by the runtime's own reader, so what passes here is what the generated data stage accepts.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.problem import Problem, TunesmithError
from tunesmith.spec.data import DataFile
from tunesmith.spec.document import read_document
from tunesmith.spec.pipeline import Spec
from tunesmith_runtime import records
from tunesmith_runtime.split import SPLITS, assign_split, split_key

_CODES = {"missing": "TS301", "empty": "TS302", "encoding": "TS303", "malformed": "TS304", "column": "TS305"}


@dataclass
class DataSummary:
    """What the data stage will find.

    Attributes:
        read: Rows by path, as the spec gives it.
        used: Rows by split; exact duplicates, which the data stage drops, still count.
    """

    read: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)


def check_data_files(spec: Spec, spec_path: Path) -> DataSummary:
    """Read every data file that `spec` names.

    Raises:
        TunesmithError: TS301–TS305, the first problem of each file; TS306 where a split would be empty.
    """
    summary = DataSummary()
    problems: list[Problem] = []
    for index, source in enumerate(spec.data.sources):
        try:
            for record in records.read_records(_as_the_runtime_reads(source, spec_path), spec.data.system_prompt):
                summary.read[source.path] += 1
                if record.dropped is None:
                    key = split_key(record.messages)
                    summary.used[assign_split(key, spec.data.validation_fraction, spec.data.test_fraction)] += 1
        except records.DataError as error:
            if error.kind == "missing":
                line, column = read_document(spec_path).place(("data", "sources", index, "path"))
                message = f"data.sources[{index}].path: {error}"
                problems.append(Problem(str(spec_path), line, column, _CODES[error.kind], message))
            else:
                problems.append(Problem(error.path, error.row, 0, _CODES[error.kind], error.message))
    empty = [split for split in SPLITS if not summary.used[split]]
    if empty and not problems:
        usable, total = summary.used.total(), summary.read.total()
        message = f"data.sources: the {empty[0]} split would be empty, with {usable} usable rows of {total}; add rows"
        problems.append(read_document(spec_path).problem(("data", "sources"), "TS306", message))
    if problems:
        raise TunesmithError(*problems)
    return summary


def _as_the_runtime_reads(source: DataFile, spec_path: Path) -> records.Source:
    columns = {name: getattr(source.columns, name) for name in records.COLUMNS[source.format]}
    return records.Source(path=str(spec_path.parent / source.path), format=source.format, columns=columns)
