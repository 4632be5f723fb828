"""What an export adds to a label file, and how ingest takes it off again. Pure text, no tables.

A file with the column `::source` is an export of ours; in any other file none of this means anything, and all cells are
taken as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from ..schema import reserved_column

#: Columns of a row: who says its cells. Empty in a row that is nobody's in particular.
SOURCE, ANNOTATOR = "::source", "::annotator"
#: Columns that stand beside an attribute's, as in `finish::source`; no attribute's name holds a colon.
KNOWN = ("state", "source", "annotator", "revision")
PREDICTED = ("predicted", "confidence", "decision", "version")

#: The same of a product: with the picture that shows it, and one that contradicts that.
PRODUCT_PREDICTED = (*PREDICTED, "image", "against")
#: The column of a product's pictures.
IMAGES = "::images"

_BESIDE = re.compile(rf"::(?:images|{'|'.join(KNOWN + PRODUCT_PREDICTED)})(?P<kept>(?:::)*)\Z")
#: What a spreadsheet would take for a formula, wide forms too, behind any number of quotes.
_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")


def is_export(columns: Collection[str]) -> bool:
    """Return whether these are the columns of an export."""
    return SOURCE in columns


def beside(column: str, word: str) -> str:
    """Return the name of the column that says `word` of an attribute's cell."""
    return f"{column}::{word}"


def escape_column(column: str) -> str:
    """Return the name under which an export has a column that no attribute reads: `x::source` is `x::source::`.

    So is a column that ingest would take for a reserved one: `SKU` is `SKU::`.
    """
    return column + "::" if _BESIDE.search(column) or reserved_column(_plain(column)) else column


def unescape_column(column: str) -> str | None:
    """Return the column that an export's column holds, None if it only says something about cells."""
    found = _BESIDE.search(column)
    if found is None:
        return column[:-2] if column.endswith("::") and reserved_column(_plain(column)) else column
    return column[:-2] if found["kept"] else None


def _plain(column: str) -> str:
    """Return a column's name without the pairs of colons at its end."""
    while column.endswith("::"):
        column = column[:-2]
    return column


def neutralise(cell: str) -> str:
    """Return a CSV cell that no spreadsheet runs: ' goes before = + - @, and before a ' that stands there already.

    >>> neutralise("=1+1"), neutralise("semi-matt"), neutralise("'=1+1")
    ("'=1+1", 'semi-matt', "''=1+1")
    """
    return "'" + cell if _FORMULA.match(cell) else cell


def restore(cell: str) -> str:
    """Return the cell that `neutralise` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
