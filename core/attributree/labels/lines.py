"""Text files line by line, in bounded memory and with every error at its line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from ..errors import IngestError

#: Longest field, in characters. A longer one is an unclosed quote far more often than a description.
MAX_FIELD = 1_000_000
#: Longest row, in characters.
MAX_ROW = 4_000_000

#: Stands for bytes that cannot be decoded; valid text of any encoding cannot hold it.
_DAMAGED = "\udcff"
codecs.register_error("attributree-damaged", lambda error: (_DAMAGED, getattr(error, "end", 0)))


def refuse(file: Path, problem: str, *, row: int | None = None, column: str | None = None) -> IngestError:
    """Return the error for a file that is refused: "labels.csv, row 7, column 'split': ..."."""
    where = str(file)
    if row is not None:
        where += f", row {row}"
    if column is not None:
        where += f", column {column!r}"
    return IngestError(f"{where}: {problem}")


def storable(text: str) -> bool:
    """Return whether a database takes `text`: it has no NUL and no half surrogate pair."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def read_lines(file: Path) -> Iterator[str]:
    """Yield the lines of `file` with their ends: UTF-8 with or without BOM, or UTF-16 with one.

    Raises IngestError, naming the line, at bytes of another encoding, NUL bytes and lines over `MAX_ROW`.
    """
    try:
        with file.open("rb") as raw:
            start = raw.peek(4)[:4]
            utf16 = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            encoding = "utf-16" if utf16 else "utf-8-sig"
            with io.TextIOWrapper(raw, encoding, errors="attributree-damaged", newline="") as text:
                yield from _checked(file, text, encoding)
    except OSError as error:
        raise refuse(file, f"cannot be read: {error.strerror or error}") from None


def _checked(file: Path, text: io.TextIOWrapper, encoding: str) -> Iterator[str]:
    for number, line in enumerate(iter(partial(text.readline, MAX_ROW + 1), ""), 1):
        if len(line) > MAX_ROW:
            raise refuse(file, f"the line is longer than {MAX_ROW:,} characters; is a line break missing?", row=number)
        if "\0" in line:
            raise refuse(
                file,
                "holds a NUL byte; save the file as UTF-8 (UTF-16 is read only with a byte order mark)",
                row=number,
            )
        if _DAMAGED in line:
            at = line.index(_DAMAGED) + 1
            name = "UTF-16" if encoding == "utf-16" else "UTF-8"
            hint = (
                "" if name == "UTF-16" else f", for instance: iconv -f latin1 -t utf-8 {file.name} > utf8-{file.name}"
            )
            raise refuse(file, f"character {at} is not {name}; convert it to UTF-8{hint}", row=number)
        yield line
