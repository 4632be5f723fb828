"""Label files to rows: CSV, JSON lines and Parquet, all checked the same way and never read whole."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import chain, islice, zip_longest
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from ..errors import IngestError
from ..schema import NONE_OF_THEM, RESERVED_COLUMNS, SEPARATOR, SPLITS, reserved_column, sku_of, whole
from .export_columns import ANNOTATOR, SOURCE, is_export, restore, unescape_column
from .lines import MAX_FIELD, MAX_ROW, read_lines, refuse, storable
from .records import LabelRows

#: Longest text, in bytes, of cells and column names that the database indexes.
_MAX_KEY = {"image": 1024, "sku": 1024, "article_type": 255}
_MAX_COLUMN = 255
#: Rows handled together; memory and statement parameters grow with it.
CHUNK = 2000

#: Cells of a chunk, if its rows need not have the same columns.
_MOST_CELLS = 100_000

#: A quoted cell of a CSV file, and any cell with the comma behind it.
_QUOTED = re.compile(r'"(?:[^"]++|"")*+"')
_SOUND_CELL = re.compile(rf'(?:{_QUOTED.pattern}|[^",][^,]*+)?+,')

#: The line by which Excel is told what separates fields.
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)

#: Reads files of other formats: the rows, columns to cells, or None for a file that is none of them.
Formats = Callable[[Path], Iterable[Mapping[str, object]] | None]
#: A row, unchecked: its line, and its cells by column.
_Row = tuple[int, Mapping[str, str]]
Item = TypeVar("Item")


class _Cells(NamedTuple):
    """Rows, unchecked: the line of each, who says it if an export names that, and the cells by column."""

    lines: Sequence[int]
    source: Sequence[str]
    annotator: Sequence[str]
    columns: Mapping[str, Sequence[str]]


def read_labels(file: Path, formats: Formats | None = None) -> Iterator[LabelRows]:
    """Yield the rows of a label file, by its suffix, some at a time; `formats` is asked for one that is not known.

    Raises IngestError naming file, row and column.
    """
    readers = {".jsonl": _json_rows, ".ndjson": _json_rows, ".parquet": _parquet_rows}
    suffix = file.suffix.lower()
    unknown = f"{file.suffix or 'no suffix'} is not known; label files are .csv, .jsonl or .parquet"
    known = suffix == ".csv" or suffix in readers
    if not known and formats is None:
        raise refuse(file, unknown)
    if not file.is_file():
        raise refuse(file, "is not a file" if file.exists() else "there is no such file")
    others = formats(file) if formats and not known else None
    if not known and others is None:
        raise refuse(file, f"{unknown}, or what a plugin reads, and none reads this one")
    if suffix == ".csv":
        chunks = _csv(file)
    else:
        chunks = _gathered(readers[suffix](file) if others is None else _other_rows(others, file))
    for cells in chunks:
        yield _checked(file, cells)


def _checked(file: Path, cells: _Cells) -> LabelRows:
    """Return checked rows: texts stripped, skus in their one spelling, otherwise verbatim."""
    lines, source, annotator = [*cells.lines], [*map(str.strip, cells.source)], [*map(str.strip, cells.annotator)]
    columns = {column: [*map(str.strip, texts)] for column, texts in cells.columns.items()}
    nothing = [""] * len(lines)
    wrong = list(_wrong(columns))
    if wrong:
        position, column, problem = min(wrong, key=itemgetter(0))  # of the first row, what is looked at first
        raise refuse(file, problem, row=lines[position], column=column)
    reserved = {column: columns.pop(column, nothing) for column in RESERVED_COLUMNS}  # image is "" of a whole product
    reserved["split"] = [*map(str.lower, reserved["split"])]
    reserved["sku"] = [*map(sku_of, reserved["sku"])]
    labels = {column: texts for column, texts in columns.items() if any(texts)}
    return LabelRows(lines, **reserved, source=source, annotator=annotator, labels=labels)


def _wrong(columns: Mapping[str, Sequence[str]]) -> Iterator[tuple[int, str, str]]:
    """Yield what is wrong with rows, each problem once for a column: (position of the first, column, problem)."""
    for column, texts in columns.items():
        longest, limit = max(map(len, texts)), _MAX_KEY.get(column, math.inf)
        if longest > MAX_FIELD:
            position = next(i for i, text in enumerate(texts) if len(text) > MAX_FIELD)
            yield position, column, f"the field is longer than {MAX_FIELD:,} characters"
        if longest > limit / 4:  # UTF-8 makes four bytes of a character at most
            too_long = (i for i, text in enumerate(texts) if len(text.encode()) > limit)
            for position in islice(too_long, 1):
                yield position, column, f"the text is longer than {limit} bytes"
    pictures, skus = columns.get("image"), columns.get("sku")
    for position in range(len(pictures or skus or ())):
        if not (pictures and pictures[position]) and not (skus and skus[position]):
            problem = "the cell is empty; every row needs the path of an image, or the sku of a product"
            yield position, "image", problem
            break
    for position, split in enumerate(columns.get("split", ())):
        if split and split.lower() not in SPLITS:
            yield position, "split", f"{split!r} is not a split; write train, val or test, or leave it empty"
            break


def _chunks(rows: Iterable[Item]) -> Iterator[list[Item]]:
    """Yield `rows` in chunks. Those before an error go first, since of a file's errors the first one counts."""
    part: list[Item] = []
    try:
        for row in rows:
            part.append(row)
            if len(part) == CHUNK:
                yield part
                part = []
    except IngestError:
        if part:
            yield part
        raise
    if part:
        yield part


def _gathered(rows: Iterable[_Row]) -> Iterator[_Cells]:
    """Yield rows in chunks, without wholly empty ones; some of them may be an export's and others not."""
    for part in _chunks(row for row in rows if any(row[1].values())):
        yield from _dense([(line, *_without_export_columns(cells, "")) for line, cells in part])


def _dense(rows: Sequence[tuple[int, str, str, Mapping[str, str]]]) -> Iterator[_Cells]:
    """Yield rows of many columns in smaller chunks: a cell is kept for each of them, whether the row has it or not."""
    lines, source, annotator, cells = zip(*rows, strict=True)
    columns = dict.fromkeys(chain.from_iterable(cells))
    if len(columns) * len(rows) > _MOST_CELLS and len(rows) > 1:
        half = len(rows) // 2
        yield from _dense(rows[:half])
        yield from _dense(rows[half:])
    else:
        yield _Cells(lines, source, annotator, {name: [row.get(name, "") for row in cells] for name in columns})


def _without_export_columns(cells: Mapping[str, Item], nothing: Item) -> tuple[Item, Item, Mapping[str, Item]]:
    """Return who says it, source and annotator, `nothing` if it is no export, and the cells without its marks."""
    if not is_export(cells):
        return nothing, nothing, cells
    kept = {column: cell for name, cell in cells.items() if (column := unescape_column(name)) is not None}
    return cells[SOURCE], cells.get(ANNOTATOR, nothing), kept


def _other_rows(rows: Iterable[Mapping[str, object]], file: Path) -> Iterator[_Row]:
    """Yield the rows of a format that is not known here, numbered from 1."""
    before: list[str] = []
    columns: list[str] = []
    for number, row in enumerate(rows, 1):
        if list(row) != before:
            before = list(row)
            columns = _columns(file, before, number)
        pairs = zip(columns, row.values(), strict=True)
        yield number, {column: _text(file, number, column, value) for column, value in pairs}
    if not before:
        raise refuse(file, "is empty; every row maps columns to cells, image among them")


def _columns(file: Path, headings: Iterable[str], row: int | None) -> list[str]:
    """Return the columns that `headings` name: themselves, or a reserved one in whatever case, with blanks or hyphens.

    Raises IngestError if they are not those of a label file.
    """
    names = [name.strip() for name in headings]
    columns = [reserved_column(name) or name for name in names]
    exported = is_export(columns)
    for position, column in enumerate(columns, 1):
        if not column:
            raise refuse(file, f"column {position} has no name; name it or drop it", row=row)
        if (first := columns.index(column)) != position - 1:
            one, other = names[first], names[position - 1]
            problem = "the column is there twice" if one == other else f"{one!r} and {other!r} are both this column"
            raise refuse(file, f"{problem}; rename or drop one", row=row, column=column)
        kept = unescape_column(column) if exported else column
        if len((kept or "").encode()) > _MAX_COLUMN:
            raise refuse(file, f"the name of column {position} is longer than {_MAX_COLUMN} bytes", row=row)
    if "image" not in columns and "sku" not in columns:
        hint = ""
        if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
            hint = "; fields must be separated by commas"
        found = ", ".join(names) or "none"
        raise refuse(file, f"there is no column 'image' (found: {found}){hint}", row=row)
    return columns


# -- CSV -------------------------------------------------------------------------------------------


def _csv(file: Path) -> Iterator[_Cells]:
    table = _csv_rows(file)
    first = next(table, None)
    if first is None:
        raise refuse(file, "is empty; the first row names the columns, image among them")
    row, names = first
    exported = is_export([name.strip() for name in names])
    header = _columns(file, map(restore, map(str.strip, names)) if exported else names, row)
    for part in _chunks(table):
        lines, rows = zip(*part, strict=True)
        nothing: tuple[str, ...] = ("",) * len(rows)
        columns = dict.fromkeys(header, nothing)
        columns.update(zip(header, zip_longest(*rows, fillvalue=""), strict=False))  # no row may have a cell at the end
        if exported:
            columns = {name: (*map(restore, texts),) for name, texts in columns.items()}
        yield _Cells(lines, *_without_export_columns(columns, nothing))


def _kept(lines: Iterable[str], row: list[str]) -> Iterator[str]:
    """Yield `lines` to the CSV parser and append them to `row`, which whoever gets the row from the parser clears.

    Raises csv.Error if a row is too long.
    """
    length = 0
    for line in lines:
        length = length + len(line) if row else len(line)  # the first line of a row, if the former one was cleared
        row.append(line)
        if length > MAX_ROW:
            raise csv.Error("row too long")
        yield line


def _csv_rows(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield line and cells of each row of a CSV file that is not wholly empty, the header first.

    A line `sep=,` before it, which Excel writes, is no row.
    """
    texts: list[str] = []  # of the row that the parser is in, to say where it went wrong
    header: list[str] = []
    reader = csv.reader(_kept(read_lines(file), texts), strict=True)
    line = 1
    while True:
        # The limit is one for the whole process, so it is set for as long as we parse.
        before = csv.field_size_limit(MAX_FIELD)
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise _csv_error(file, line, header, "".join(texts), str(error)) from None
        finally:
            csv.field_size_limit(before)
        if cells is None:
            return
        while cells and (not cells[-1] or cells[-1].isspace()):  # trailing commas are no cells, and no columns
            cells.pop()
        if header and len(cells) > len(header):
            problem = f"{len(cells)} cells, but the header has {len(header)}; quote cells that hold a comma"
            raise refuse(file, problem, row=line)
        if not header and (mark := _SEP.fullmatch("".join(texts).strip())):
            if mark[1] != ",":
                problem = f"fields are separated by {mark[1]!r}; save the file with commas between them"
                raise refuse(file, problem, row=line)
        elif cells:
            yield line, cells
            header = header or [name.strip() for name in cells]
        texts.clear()
        line = reader.line_num + 1


def _csv_error(file: Path, row: int, header: Sequence[str], text: str, error: str) -> IngestError:
    """Return the error for a row that the parser gave up on, with the column of the first cell that is not sound."""
    column = at = 0
    while (cell := _SOUND_CELL.match(text, at)) and cell.end() - at <= MAX_FIELD:
        column, at = column + 1, cell.end()
    name = header[column] if column < len(header) else f"number {column + 1}"
    if text.startswith('"', at) and not _QUOTED.match(text, at):
        problem = f"the quote is never closed, or the field is longer than {MAX_FIELD:,} characters"
    elif error.startswith("field larger"):
        problem = f"the field is longer than {MAX_FIELD:,} characters"
    elif error == "row too long":
        problem = f"the row is longer than {MAX_ROW:,} characters"
    else:
        problem = f"wrong quoting ({error}); a quote inside a quoted cell is written twice"
    return refuse(file, problem, row=row, column=name)


# -- JSON lines ------------------------------------------------------------------------------------


def _json_rows(file: Path) -> Iterator[_Row]:
    empty = True
    for number, line in enumerate(read_lines(file), 1):
        if not line.strip():
            continue
        empty = False
        try:
            data = json.loads(line, object_pairs_hook=_Pairs, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise refuse(file, f"not JSON ({error})", row=number) from None
        if data == []:
            continue
        if not isinstance(data, _Pairs):
            raise refuse(file, "not a JSON object; every line is one, with the columns as its keys", row=number)
        columns = _columns(file, (column for column, _ in data), number)
        pairs = zip(columns, (value for _, value in data), strict=True)
        yield number, {column: _text(file, number, column, value) for column, value in pairs}
    if empty:
        raise refuse(file, "is empty; every line is a JSON object with the columns as its keys")


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its keys in order, doubled ones too."""


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a value")


def _text(file: Path, row: int, column: str, value: object, *, inner: bool = False) -> str:
    """Return the cell that `value` stands for: null is empty, true is "true", lists join with "|" or are "[]".

    A number is the same in every format: 1009 and 1009.0 are "1009", 2.50 is "2.5", NaN is null.
    """
    match value:
        case None if not inner:
            return ""
        case float() if math.isnan(value) and not inner:
            return ""
        case str():
            if not storable(value):
                problem = "holds a NUL character or half a surrogate pair, which no text may"
                raise refuse(file, problem, row=row, column=column)
            return value
        case bool():
            return "true" if value else "false"
        case Decimal() if value.is_finite():
            return f"{value.normalize():f}"
        case int() | float() | Decimal() if value == value:
            return whole(str(value))
        case date() | datetime():
            return value.isoformat()
        case [] if not inner and not isinstance(value, _Pairs):
            return "" if column in RESERVED_COLUMNS else NONE_OF_THEM
        case list() if not inner and not isinstance(value, _Pairs):
            return SEPARATOR.join(_text(file, row, column, item, inner=True) for item in value)
        case _:
            kind = "an object" if isinstance(value, _Pairs | dict) else type(value).__name__
            problem = f"{kind} is not a cell; write text, a number, true or false, or a list of them"
            raise refuse(file, problem, row=row, column=column)


# -- Parquet ---------------------------------------------------------------------------------------


def _parquet_rows(file: Path) -> Iterator[_Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise refuse(file, "Parquet files need pyarrow: pip install 'attributree[parquet]'") from None
    row = 0
    try:
        with pyarrow.parquet.ParquetFile(file) as table:
            columns = _columns(file, table.schema_arrow.names, None)
            for batch in table.iter_batches(batch_size=1000):
                for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    row += 1
                    pairs = zip(columns, values, strict=True)
                    yield row, {column: _text(file, row, column, value) for column, value in pairs}
    except (pyarrow.ArrowException, OSError) as error:
        raise refuse(file, f"not a Parquet file that can be read ({' '.join(str(error).split())})") from None
