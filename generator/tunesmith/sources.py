"""The data files that a spec names: are they there, and does every row have what the pipeline will read?

The rows are read by the runtime's own reader, so what passes here is what the generated data stage accepts.
"""

from pathlib import Path

from tunesmith.problem import Problem, TunesmithError
from tunesmith.spec.data import Source
from tunesmith.spec.document import read_document
from tunesmith.spec.pipeline import Spec
from tunesmith_runtime import records

_CODES = {"missing": "TS301", "empty": "TS302", "encoding": "TS303", "malformed": "TS304", "column": "TS305"}


def check_sources(spec: Spec, spec_path: Path) -> dict[str, int]:
    """Read every data file that `spec` names.

    Returns:
        Rows by path, as the spec gives it.

    Raises:
        TunesmithError: TS301–TS305, the first problem of each file.
    """
    rows: dict[str, int] = {}
    problems: list[Problem] = []
    for index, source in enumerate(spec.data.sources):
        try:
            rows[source.path] = sum(1 for _ in records.read_records(_as_the_runtime_reads(source, spec_path), None))
        except records.DataError as error:
            if error.kind == "missing":
                line, column = read_document(spec_path).place(("data", "sources", index, "path"))
                message = f"data.sources[{index}].path: {error}"
                problems.append(Problem(str(spec_path), line, column, _CODES[error.kind], message))
            else:
                problems.append(Problem(error.path, error.row, 0, _CODES[error.kind], error.message))
    if problems:
        raise TunesmithError(*problems)
    return rows


def _as_the_runtime_reads(source: Source, spec_path: Path) -> records.Source:
    wanted = ("messages",) if source.format == "messages" else ("prompt", "completion")
    columns = {name: getattr(source.columns, name) for name in wanted}
    return records.Source(path=str(spec_path.parent / source.path), format=source.format, columns=columns)
