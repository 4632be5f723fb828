"""Put doubt into a catalogue's training labels, in three ways that hit the same cells.

    rows = read_rows(made.ingest_file)
    disputed = choose_cells(rows, attributes, share=0.2, seed=0)
    with_candidates(rows, disputed)     # the cell says truth|other: the file admits its doubt
    with_guesses(rows, disputed)        # the cell says one of the two, picked at random: half of them are wrong
    contradictions(rows, disputed)      # rows of a second file, to be ingested beside `rows` as another source

and `rows` themselves are the clean arm. Only the train split is hit, so validation and test, and with them early
stopping, calibration and scores, are the same in every arm. Hit are single-label and ordinal attributes, in cells
that hold one value. Left alone are multi-label cells, where "a|b" says that both hold and cannot say which of the
two; and cells that are ambiguous already, not applicable or empty.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attributree import Attribute, MultiLabel

Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True)
class DisputedCell:
    """A cell that is put in doubt: `row` counts the file's rows from 0, `guess` is `truth` or `other`."""

    row: int
    attribute: str
    truth: str
    other: str
    guess: str


def read_rows(file: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV ingest file; `fashion_mnist.write_rows` writes them."""
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def choose_cells(
    rows: Rows, attributes: Iterable[Attribute], *, share: float = 0.2, seed: int = 0
) -> tuple[DisputedCell, ...]:
    """Return the cells to put in doubt: `share` of each attribute's labelled cells in the train split.

    The other value is any of the attribute's, with equal chance. Each attribute draws for itself, so its cells are
    the same whatever others are asked for. Raises ValueError if `share` is not from 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is from 0 to 1, not {share}")
    disputed = []
    for attribute in attributes:
        if isinstance(attribute.labels, MultiLabel):
            continue
        name, keys = attribute.name, attribute.labels.keys
        labelled = [i for i, row in enumerate(rows) if row["split"] == "train" and row.get(name) in keys]
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        for i in sorted(rng.permutation(labelled)[: round(share * len(labelled))].tolist()):
            truth = rows[i][name]
            others = [key for key in keys if key != truth]
            other = others[rng.integers(len(others))]
            disputed.append(DisputedCell(i, name, truth, other, (truth, other)[rng.integers(2)]))
    return tuple(disputed)


def with_candidates(rows: Rows, disputed: Iterable[DisputedCell]) -> list[dict[str, str]]:
    """Return the rows with both candidates in each disputed cell: truth|other."""
    return _replaced(rows, {(cell.row, cell.attribute): f"{cell.truth}|{cell.other}" for cell in disputed})


def with_guesses(rows: Rows, disputed: Iterable[DisputedCell]) -> list[dict[str, str]]:
    """Return the rows with one of the two candidates in each disputed cell."""
    return _replaced(rows, {(cell.row, cell.attribute): cell.guess for cell in disputed})


def contradictions(rows: Rows, disputed: Iterable[DisputedCell]) -> list[dict[str, str]]:
    """Return what a second source says: a row for each image with disputed cells, holding `other` in those alone.

    Ingested beside the untouched `rows` under another source's name, the two disagree on exactly the disputed cells.
    """
    said: dict[int, dict[str, str]] = {}
    for cell in disputed:
        said.setdefault(cell.row, {"image": rows[cell.row]["image"]})[cell.attribute] = cell.other
    return [said[i] for i in sorted(said)]


def _replaced(rows: Rows, cells: Mapping[tuple[int, str], str]) -> list[dict[str, str]]:
    copies = [dict(row) for row in rows]
    for (i, name), text in cells.items():
        copies[i][name] = text
    return copies
