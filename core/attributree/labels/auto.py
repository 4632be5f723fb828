"""Attributes that no plugin declares, read off the columns of label files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Select, func, select

from ..database.tables import Image, LabelColumn, Observation, Product, ProductObservation, VoiceRow
from ..errors import SchemaError
from ..schema import NOT_APPLICABLE, SEPARATOR, Attribute, Labels, MultiLabel, SingleLabel, Value, fold
from .annotations import Table, in_columns
from .names import column_counts
from .resolve import TEXT_SOURCE
from .schemas import attributes

#: Who declares them.
DECLARED_BY = "catalogue"
#: A spelling becomes a value once so many images have it; a column with more values than `MOST_VALUES` is free text.
LEAST_IMAGES, MOST_VALUES = 10, 60
#: A longer spelling, in bytes, is text and no value; PostgreSQL has no index for much longer keys.
LONGEST_VALUE = 1024
#: A column is multi-label if at least this share of its cells holds several values.
MULTI_SHARE = 0.05
#: Observations, at most, of columns that are read together: their texts are in memory then.
_TOGETHER = 500_000


def auto_attributes(connection: Connection, taken: Iterable[str]) -> dict[str, Attribute]:
    """Return an attribute for each column but the `taken` ones whose cells look like values.

    Values are appended when enough images have them and never go away by themselves. A column is left alone if its
    name is no attribute's, if fewer than two values are frequent, or if there are too many.
    """
    registered = attributes(connection)
    former = {name for attribute in registered.values() for name in attribute.former_names}
    left_out = former | set(taken)
    found = {}
    for names in read_together({name: n for name, n in column_counts(connection).items() if name not in left_out}):
        counts = cells(connection, names)
        before = {
            name: known.schema
            for name in names
            if (known := registered.get(name)) is not None and known.declared_by == DECLARED_BY
        }
        labels = {name: _labels(counts[name], before.get(name)) for name in names}
        types = article_types(connection, [name for name in names if labels[name] is not None])
        for name in names:
            attribute = _attribute(name, labels[name], types.get(name, ())) or before.get(name)
            if attribute is not None:
                found[name] = attribute
    return found


def _labels(counts: Mapping[str, int], former: Attribute | None) -> Labels | None:
    """Return what a column with these cells asks of an image, None if its cells do not look like values."""
    multi = not former.labels.exclusive if former else several_a_cell(counts)
    values = _values(counts, former.labels.values if former else ())
    if not (1 if multi else 2) <= len(values) <= MOST_VALUES:
        return None
    return MultiLabel(values) if multi else SingleLabel(values)


def _attribute(name: str, labels: Labels | None, types: tuple[str, ...]) -> Attribute | None:
    try:
        return None if labels is None else Attribute(name, labels, applies_to=types)
    except SchemaError:  # a column whose name or cells cannot be an attribute's is nobody's mistake
        return None


def read_together(counts: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield label columns in order of name, so many together that reading all observations for them is no waste.

    They lie by image: who asks for one column reads the others too. `counts` are how many stand in each.
    """
    part: list[str] = []
    gathered = 0
    for name, observations in sorted(counts.items()):
        if part and gathered + observations > _TOGETHER:
            yield part
            part, gathered = [], 0
        part.append(name)
        gathered += observations
    if part:
        yield part


def cells(connection: Connection, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return, by column, on how many images each text stands, leaving out what was mined."""
    found: dict[str, Counter[str]] = {name: Counter() for name in names}
    of_images = select(LabelColumn.name, Observation.raw, func.count(Observation.image_id.distinct()).label("n"))
    of_products = (
        select(LabelColumn.name, ProductObservation.raw, func.count(Image.id.distinct()).label("n"))
        .select_from(ProductObservation)
        .join(Image, Image.product_id == ProductObservation.product_id)
    )
    queries: tuple[tuple[Select[str, str, int], Table], ...] = (
        (of_images, Observation),
        (of_products, ProductObservation),
    )
    for query, table in queries:
        query = query.join(LabelColumn, LabelColumn.id == table.column_id).where(*_said_in(names, table))
        for name, raw, images in connection.execute(query.group_by(LabelColumn.name, table.raw)):
            found[name][raw] += images
    return {name: dict(counts) for name, counts in found.items()}


def _said_in(names: Sequence[str], table: Table = Observation) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions that an observation stands in one of these columns and was not mined."""
    mined = table.voice_id.in_(select(VoiceRow.id).where(VoiceRow.source == TEXT_SOURCE))
    return in_columns(names, table), ~mined


def several_a_cell(counts: Mapping[str, int]) -> bool:
    """Return whether a column with these cells is multi-label."""
    several = sum(count for raw, count in counts.items() if SEPARATOR in raw)
    return several >= MULTI_SHARE * max(1, sum(counts.values()))


def _values(cells: Mapping[str, int], former: Iterable[Value]) -> tuple[Value, ...]:
    """Return the former values with the spellings they have now, then the new frequent ones by frequency."""
    found = spellings(cells)
    kept = tuple(former)
    read = {fold(text) for value in kept for text in value.spellings}
    fresh = [folded for folded in found if folded not in read and len(folded.encode()) <= LONGEST_VALUE]
    ranked = sorted((-found[folded].total(), folded) for folded in fresh)
    frequent = [folded for count, folded in ranked if -count >= LEAST_IMAGES]
    return (*kept, *(Value(folded.replace(" ", "_"), commonest(found[folded])) for folded in frequent))


def spellings(cells: Mapping[str, int]) -> dict[str, Counter[str]]:
    """Return the values of `cells` (text -> count), folded, each with its spellings and how often it has them."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for raw, count in cells.items():
        for text in raw.split(SEPARATOR):
            if fold(text) and fold(text) != fold(NOT_APPLICABLE):
                found[fold(text)][text.strip()] += count
    return found


def commonest(texts: Counter[str]) -> str:
    """Return the most frequent spelling, the first in the alphabet among equals."""
    return min(texts, key=lambda text: (-texts[text], text))


def article_types(connection: Connection, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return, by column, the article types that anything but "not applicable" was said of; none if that is all."""
    if not names:
        return {}
    said = (
        select(LabelColumn.name, Product.article_type)
        .select_from(Observation)
        .join(LabelColumn, LabelColumn.id == Observation.column_id)
        .join(Image, Image.id == Observation.image_id)
        .join(Product, Product.id == Image.product_id)
        .where(*_said_in(names), func.lower(Observation.raw) != NOT_APPLICABLE)
        .distinct()
    )
    of_products = (
        select(LabelColumn.name, Product.article_type)
        .select_from(ProductObservation)
        .join(LabelColumn, LabelColumn.id == ProductObservation.column_id)
        .join(Product, Product.id == ProductObservation.product_id)
        .where(*_said_in(names, ProductObservation), func.lower(ProductObservation.raw) != NOT_APPLICABLE)
        .distinct()
    )
    types: dict[str, set[str]] = {name: set() for name in names}
    for query in (said, of_products):
        for name, article_type in connection.execute(query):
            types[name].add(article_type)
    every = set(connection.execute(select(Product.article_type).distinct()).scalars())
    return {name: () if its == every or "" in its else tuple(sorted(its)) for name, its in types.items()}
