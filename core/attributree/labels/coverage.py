"""How far an attribute is annotated, registered or not."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version

from sqlalchemy import Connection, delete, func, insert, select

from ..article_types import ArticleTypes
from ..database.tables import (
    AnnotationRow,
    AnnotationValue,
    AttributeRow,
    CoverageRow,
    Image,
    LabelColumn,
    Product,
)
from ..schema import SPLITS, Attribute
from .annotations import (
    TABLES,
    active_sources,
    active_types,
    image_texts,
    in_columns,
    newest_last,
    reader_of,
    speaks_of_image,
)
from .queries import IN_USE, article_types, revision
from .records import Coverage, UnknownValue
from .resolve import Reader, Sources, UnknownTexts
from .schemas import as_read
from .values import value_ids


class _Tally:
    """Counts that become a Coverage: states and splits of images, values of labelled images by split."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.splits: Counter[str] = Counter()
        self.values: Counter[tuple[str, str]] = Counter()  # (key, split)
        self.unknown = UnknownTexts()
        self.unmapped = 0  # annotated images of unmapped article types


def coverage(
    connection: Connection, attribute: Attribute, sources: Sources | None = None, types: ArticleTypes | None = None
) -> Coverage:
    """Return how far `attribute` is annotated under a precedence of sources and article types.

    None are those that annotations follow. Counted from the annotations where they follow all of that and this very
    schema, and read from the observations where they don't: for an attribute that is not registered, has changed, or
    is an orphan.
    """
    current, followed = active_sources(connection), active_types(connection)
    sources, types = sources or current, types or followed
    reader = reader_of(connection, as_read(connection, attribute), sources, types)
    stored = connection.execute(
        select(AttributeRow.id).where(
            AttributeRow.name == attribute.name,
            AttributeRow.schema_digest == attribute.digest,
            AttributeRow.state == "declared",
        )
    ).scalar()
    retyped = types is not followed and followed.changes(types, reader.attribute, article_types(connection))
    if stored is None or current.changes(sources) or retyped:
        tally = _read_observations(connection, reader)
    else:
        tally = _count_rows(connection, reader, stored)
    # Images of other article types are not applicable, stored or not.
    total = outside = unmapped = 0
    by_type = (
        select(Product.article_type, func.count().label("n"))
        .join(Image, Image.product_id == Product.id)
        .where(IN_USE)
        .group_by(Product.article_type)
    )
    for row in connection.execute(by_type):
        total += row.n
        outside += 0 if reader.applies(row.article_type) else row.n
        unmapped += row.n if reader.unmapped(row.article_type) else 0
    labelled, ambiguous = tally.states["labelled"], tally.states["ambiguous"]
    not_applicable = outside + tally.states["not_applicable"]
    keys = attribute.labels.keys
    return Coverage(
        labelled=labelled,
        ambiguous=ambiguous,
        not_applicable=not_applicable,
        unknown=total - labelled - ambiguous - not_applicable,
        per_value={key: sum(tally.values[key, split] for split in SPLITS) for key in keys},
        per_split={split: tally.splits[split] for split in SPLITS},
        train_values={key: tally.values[key, "train"] for key in keys},
        unreadable=tally.unknown.report(attribute),
        unmapped=unmapped - tally.unmapped,
    )


def counted(
    connection: Connection, attribute: Attribute, sources: Sources | None = None, types: ArticleTypes | None = None
) -> Coverage | None:
    """Return the coverage that was stored at the newest revision, None if something has changed since."""
    row = connection.execute(
        select(CoverageRow.counts).where(
            CoverageRow.attribute == attribute.name,
            CoverageRow.identity == _identity(connection, attribute, sources, types),
            CoverageRow.revision == revision(connection),
        )
    ).scalar()
    if row is None:
        return None
    in_order = {name: {key: row[name][key] for key in attribute.labels.keys} for name in ("per_value", "train_values")}
    per_split = {split: row["per_split"][split] for split in SPLITS}
    unreadable = tuple(UnknownValue(**text) for text in row["unreadable"])
    return Coverage(**{**row, **in_order, "per_split": per_split, "unreadable": unreadable})


def store(
    connection: Connection,
    attribute: Attribute,
    counts: Coverage,
    at: int,
    sources: Sources | None = None,
    types: ArticleTypes | None = None,
) -> None:
    """Store what was counted at revision `at`, unless something has changed since: then it is worth nothing."""
    if revision(connection) != at:
        return
    connection.execute(delete(CoverageRow).where(CoverageRow.attribute == attribute.name))
    identity = _identity(connection, attribute, sources, types)
    values = {"identity": identity, "revision": at, "counts": asdict(counts)}
    connection.execute(insert(CoverageRow).values(attribute=attribute.name, **values))


def _identity(connection: Connection, attribute: Attribute, sources: Sources | None, types: ArticleTypes | None) -> str:
    """Return the SHA-256 of what a count depends on besides the catalogue.

    That is schema, precedence, article types, and the code that reads.
    """
    sources, types = sources or active_sources(connection), types or active_types(connection)
    reading = f"{attribute.digest} {json.dumps(sources.to_json())} {types.text} {version('attributree')}"
    return hashlib.sha256(reading.encode()).hexdigest()


def _read_observations(connection: Connection, reader: Reader) -> _Tally:
    tally = _Tally()
    for part in image_texts(connection, reader.attribute.columns):
        for said in part:
            if said.state != "ok":
                continue
            for _, raw in said.texts:
                tally.unknown.add(reader.read(raw))
            annotation = reader.annotate(said.article_type, said.texts)
            if annotation is None or not reader.applies(said.article_type):
                continue
            tally.states[annotation.state] += 1
            tally.unmapped += reader.unmapped(said.article_type)
            if annotation.state == "labelled":
                tally.splits[said.split] += 1
                tally.values.update((key, said.split) for key in annotation.values)
    return tally


def _count_rows(connection: Connection, reader: Reader, row_id: int) -> _Tally:
    tally = _Tally()
    here = (
        select(AnnotationRow.state, Product.split, func.count().label("n"))
        .select_from(AnnotationRow)
        .join(Image, Image.id == AnnotationRow.image_id)
        .join(Product, Product.id == Image.product_id)
        .where(AnnotationRow.attribute_id == row_id, IN_USE)
    )
    words = article_types(connection)
    others = [word for word in words if not reader.applies(word)]
    states = here.where(Product.article_type.not_in(others)) if others else here
    for row in connection.execute(states.group_by(AnnotationRow.state, Product.split)):
        tally.states[row.state] += row.n
        if row.state == "labelled":
            tally.splits[row.split] += row.n
    if unmapped := [word for word in words if reader.unmapped(word)]:
        there = here.where(Product.article_type.in_(unmapped)).group_by(AnnotationRow.state, Product.split)
        tally.unmapped = sum(row.n for row in connection.execute(there))
    keys = {value_id: key for key, value_id in value_ids(connection, row_id).items()}
    values = (
        here.add_columns(AnnotationValue.value_id)
        .join(AnnotationValue, AnnotationValue.annotation_id == AnnotationRow.id)
        .where(AnnotationRow.state == "labelled")
        .group_by(AnnotationRow.state, Product.split, AnnotationValue.value_id)
    )
    for row in connection.execute(values):
        tally.values[keys[row.value_id], row.split] += row.n
    for raw, number in _newest_texts(connection, reader.attribute.columns):
        tally.unknown.add(reader.read(raw), number)
    return tally


def _newest_texts(connection: Connection, columns: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the different texts that stand in `columns` now, with the number of images that they are said of."""
    for table in TABLES:
        newest_first = [place.desc() for place in newest_last([columns], table)]
        age = func.row_number().over(partition_by=(Image.id, table.voice_id), order_by=newest_first)
        said = (
            select(table.raw, age.label("age"))
            .join(LabelColumn, LabelColumn.id == table.column_id)
            .join(Image, speaks_of_image(table))
            .where(IN_USE, in_columns(columns, table))
            .subquery()
        )
        query = select(said.c.raw, func.count().label("n")).where(said.c.age == 1).group_by(said.c.raw)
        for row in connection.execute(query):
            yield row.raw, row.n
