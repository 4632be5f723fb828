"""Attributes that no plugin declares, read off the columns of label files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from sqlalchemy import ColumnElement, Connection, func, select

from ..errors import SchemaError
from ..schema import NOT_APPLICABLE, SEPARATOR, Attribute, MultiLabel, SingleLabel, Value, fold
from .declare import attributes
from .derive import in_columns
from .names import columns
from .tables import Image, Observation, Product, VoiceRow
from .text import TEXT_SOURCE

#: Who declares them.
DECLARED_BY = "catalogue"
#: A spelling becomes a value once so many images have it; a column with more values than `MOST_VALUES` is free text.
LEAST_IMAGES, MOST_VALUES = 10, 60
#: A longer spelling, in bytes, is text and no value; PostgreSQL has no index for much longer keys.
LONGEST_VALUE = 1024
#: A column is multi-label if at least this share of its cells holds several values.
MULTI_SHARE = 0.05


def auto_attributes(connection: Connection, taken: Iterable[str]) -> dict[str, Attribute]:
    """Return an attribute for each column but the `taken` ones whose cells look like values.

    Values are appended when enough images have them and never go away by themselves. A column is left alone if its
    name is no attribute's, if fewer than two values are frequent, or if there are too many.
    """
    registered = attributes(connection)
    found = {}
    former = {name for attribute in registered.values() for name in attribute.former_names}
    for column in sorted({*columns(connection)} - set(taken) - former):
        known = registered.get(column)
        before = known.schema if known and known.declared_by == DECLARED_BY else None
        attribute = _attribute(connection, column, before)
        if attribute is not None:
            found[column] = attribute
    return found


def _attribute(connection: Connection, column: str, former: Attribute | None) -> Attribute | None:
    counts = cells(connection, column)
    multi = former.labels.kind == "multi" if former else several_a_cell(counts)
    values = _values(counts, former.labels.values if former else ())
    if not (1 if multi else 2) <= len(values) <= MOST_VALUES:
        return former
    labels = MultiLabel(values) if multi else SingleLabel(values)
    try:
        return Attribute(column, labels, applies_to=article_types(connection, column))
    except SchemaError:  # a column whose name or cells cannot be an attribute's is nobody's mistake
        return former


def cells(connection: Connection, column: str) -> dict[str, int]:
    """Return on how many images each text of the column stands, leaving out what was mined."""
    query = (
        select(Observation.raw, func.count(Observation.image_id.distinct()).label("n"))
        .where(*_said_in(column))
        .group_by(Observation.raw)
    )
    return {row.raw: row.n for row in connection.execute(query)}


def _said_in(column: str) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that an observation stands in a column and was not mined."""
    mined = Observation.voice_id.in_(select(VoiceRow.id).where(VoiceRow.source == TEXT_SOURCE))
    return in_columns([column]), ~mined


def several_a_cell(counts: Mapping[str, int]) -> bool:
    """Return whether a column with these cells is multi-label."""
    several = sum(count for raw, count in counts.items() if SEPARATOR in raw)
    return several >= MULTI_SHARE * max(1, sum(counts.values()))


def _values(cells: Mapping[str, int], former: Iterable[Value]) -> tuple[Value, ...]:
    """Return the former values with the spellings they have now, then the new frequent ones by frequency."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for raw, count in cells.items():
        for text in raw.split(SEPARATOR):
            if fold(text) and fold(text) != fold(NOT_APPLICABLE) and len(fold(text).encode()) <= LONGEST_VALUE:
                spellings[fold(text)][text.strip()] += count
    kept = tuple(former)
    read = {fold(text) for value in kept for text in value.spellings}
    fresh = [(sum(texts.values()), folded) for folded, texts in spellings.items() if folded not in read]
    ranked = sorted((-count, folded) for count, folded in fresh if count >= LEAST_IMAGES)
    return (*kept, *(Value(folded.replace(" ", "_"), _title(spellings[folded])) for _, folded in ranked))


def _title(texts: Counter[str]) -> str:
    """Return the most frequent spelling, the first in the alphabet among equals."""
    return min(texts, key=lambda text: (-texts[text], text))


def article_types(connection: Connection, column: str) -> tuple[str, ...]:
    """Return the article types that anything but "not applicable" was said of; none if that is all of them."""
    said = (
        select(Product.article_type)
        .join(Image, Image.product_id == Product.id)
        .join(Observation, Observation.image_id == Image.id)
        .where(
            *_said_in(column),
            func.lower(Observation.raw) != NOT_APPLICABLE,
        )
        .distinct()
    )
    types = set(connection.execute(said).scalars())
    every = set(connection.execute(select(Product.article_type).distinct()).scalars())
    return () if types == every or "" in types else tuple(sorted(types))
