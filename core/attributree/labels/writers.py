"""Rows to label files: CSV, JSON lines and Parquet, row by row, under a temporary name until the last is written."""

from __future__ import annotations

import csv
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from ..errors import CatalogError
from .export_columns import neutralise

Cell = str | int | float
#: A row by column; an absent cell is empty.
Row = Mapping[str, Cell]
Write = Callable[[Iterable[Row]], None]

_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
#: Type of a Parquet column by the last word of its name; all others hold text.
_NUMBERS = {"revision": "int64", "version": "int64", "confidence": "float64"}


def format_of(file: Path) -> str:
    """Return the format that a file's suffix names. Raises CatalogError."""
    found = _SUFFIXES.get(file.suffix.lower())
    if found is None:
        named = file.suffix or "no suffix"
        raise CatalogError(f"{file}: {named} is not known; name it .csv, .jsonl or .parquet, or give --format")
    return found


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary name beside `file`, which takes its place when all is written, or is deleted.

    Raises CatalogError if the file cannot be written.
    """
    partial = file.with_name(f".{file.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(file)
    except OSError as error:
        raise CatalogError(f"{file} cannot be written: {error.strerror or error}; nothing was changed") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def open_table(file: Path, form: str, columns: Sequence[str]) -> AbstractContextManager[Write]:
    """Return a context that writes rows of `columns` to `file`. Raises CatalogError if Parquet is not installed."""
    return {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}[form](file, columns)


@contextmanager
def _csv(file: Path, columns: Sequence[str]) -> Iterator[Write]:
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow([neutralise(column) for column in columns])
        yield lambda rows: writer.writerows(
            [neutralise(str(row[column])) if column in row else "" for column in columns] for row in rows
        )


@contextmanager
def _jsonl(file: Path, columns: Sequence[str]) -> Iterator[Write]:
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        encode = json.JSONEncoder(ensure_ascii=False).encode
        yield lambda rows: opened.writelines(
            encode({column: row[column] for column in columns if column in row}) + "\n" for row in rows
        )


@contextmanager
def _parquet(file: Path, columns: Sequence[str]) -> Iterator[Write]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise CatalogError("Parquet files need pyarrow: pip install 'attributree[parquet]'") from None
    types = [getattr(pyarrow, _NUMBERS.get(_word(column), "string"))() for column in columns]
    schema = pyarrow.schema(list(zip(columns, types, strict=True)))
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:

        def write(rows: Iterable[Row]) -> None:
            part = list(rows)
            arrays = [
                pyarrow.array([row.get(column) for row in part], kind)
                for column, kind in zip(columns, types, strict=True)
            ]
            writer.write_table(pyarrow.table(arrays, schema))

        yield write


def _word(column: str) -> str:
    """Return the word behind the colons of a column that says something about another."""
    return column.rpartition("::")[2] if "::" in column else ""
