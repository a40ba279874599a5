"""Files that hold no rows, whatever their names say: pointers, archives, other encodings."""

from __future__ import annotations

import re
import shlex
import stat
from pathlib import Path

from tunesmith_runtime.errors import DataError, Kind

# How files begin that stand in the place of data, and what they are.
_OTHERS: tuple[tuple[bytes, Kind, str], ...] = (
    (b"version https://git-lfs", "missing", "a Git LFS pointer, not the data; run `git lfs pull`"),
    (b"/annex/objects/", "missing", "a git-annex pointer, not the data; run `git annex get`"),
    (b"\x1f\x8b", "malformed", "compressed with gzip; unpack it with `gzip -dc`"),
    (b"\x28\xb5\x2f\xfd", "malformed", "compressed with Zstandard; unpack it with `zstd -dc`"),
    (b"\xfd7zXZ\0", "malformed", "compressed with xz; unpack it with `xz -dc`"),
    (b"BZh91AY&SY", "malformed", "compressed with bzip2; unpack it with `bzip2 -dc`"),
    (b"PK\x03\x04", "malformed", "a ZIP archive or an Excel file; unpack it, or save it as CSV"),
    (b"PARE", "malformed", "encrypted Parquet; write it without encryption"),
)


def refuse_others(path: Path) -> None:
    """Raises DataError for what is no file of rows, whatever its name says."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        what = "a folder; name the files in it" if stat.S_ISDIR(mode) else "no regular file"
        raise DataError("malformed", path, 0, f"is {what}")
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise DataError("empty", path, 0, "no rows: the file is empty")
    for start, kind, what in _OTHERS:
        if head.startswith(start):
            raise DataError(kind, path, 0, f"is {what}")
    if path.suffix.lower() == ".parquet":
        return
    if head.startswith(b"PAR1"):
        raise DataError("malformed", path, 0, "is a Parquet file; name it .parquet")
    if encoding := _wide_encoding(head):
        old, new = shlex.quote(path.name), shlex.quote(f"utf8-{path.name}")
        way = f"iconv -f {encoding} -t UTF-8 {old} > {new}"
        message = f"is {encoding}, not UTF-8; convert it: {way}"
        raise DataError("encoding", path, 0, message)


def _wide_encoding(head: bytes) -> str | None:
    """The encoding of a text whose characters take two bytes or four, going by its beginning."""
    if head.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    if b"\0" not in head:
        return None
    # Without a mark: brackets, commas and ends of lines are ASCII, whatever the language is.
    for encoding in ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE"):
        text = head.decode(encoding, "ignore")
        if "\0" not in text and re.match(r'\s*[\[{]|[^\n]*[,;\t"\r\n]', text):
            return encoding
    return None


def not_utf8(path: Path) -> DataError:
    """What is wrong with the first line that is not UTF-8."""
    number, found, at = 0, b"", 0
    with path.open("rb") as lines:
        for number, found in enumerate(lines, 1):  # noqa: B007
            try:
                found.decode()
            except UnicodeDecodeError as error:
                at = error.start
                break
    message = f"not UTF-8 at byte {at + 1} of line {number}, {found[max(at - 10, 0) : at + 10]!r}"
    # Rows of a JSON array are not its lines.
    row = 0 if path.suffix.lower() == ".json" else number
    return DataError("encoding", path, row, f"{message}; convert the file to UTF-8")
