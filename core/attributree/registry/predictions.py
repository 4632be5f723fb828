"""The current prediction of each image or product and attribute, read back under today's values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from ..database.engine import chunks
from ..database.mapping import columns_of, record_of
from ..database.tables import (
    Image,
    Prediction,
    PredictionValue,
    Product,
    ProductPrediction,
    ProductPredictionValue,
)
from ..errors import CatalogError
from ..labels.annotations import active_types
from ..labels.records import PredictionRecord, ProductPredictionRecord
from ..labels.resolve import Reader
from ..labels.values import attribute_id, stored_schema, todays_keys, value_ids

_REPLACED = ("version_id", "branch_id", "confidence", "decision")
#: What a product's prediction has besides.
_SHOWN_BY = ("image_id", "against_id", "pictures")


def save(connection: Connection, records: Sequence[PredictionRecord]) -> None:
    """Store the predictions, replacing those of the same image and attribute.

    Raises CatalogError if a value is none of its attribute's.
    """
    _save(connection, Prediction, PredictionValue, {(r.attribute, r.image_id): r for r in records})


def save_products(connection: Connection, records: Sequence[ProductPredictionRecord]) -> None:
    """Store the predictions, replacing those of the same product and attribute.

    Raises CatalogError if a value is none of its attribute's.
    """
    _save(connection, ProductPrediction, ProductPredictionValue, {(r.attribute, r.product_id): r for r in records})


def _save(
    connection: Connection,
    table: type[Prediction] | type[ProductPrediction],
    values: type[PredictionValue] | type[ProductPredictionValue],
    records: Mapping[tuple[str, int], PredictionRecord | ProductPredictionRecord],
) -> None:
    """Store records by attribute and the id of what they are about."""
    by_attribute: dict[str, dict[int, PredictionRecord | ProductPredictionRecord]] = {}
    for (name, about), record in records.items():
        by_attribute.setdefault(name, {})[about] = record
    for name, by_id in by_attribute.items():
        attribute = attribute_id(connection, name)
        keys = value_ids(connection, attribute)
        for ids in chunks(list(by_id)):
            rows = _replace(connection, table, values, attribute, [by_id[i] for i in ids], ids)
            _save_values(connection, values, keys, {rows[i]: by_id[i] for i in ids})


def _replace(
    connection: Connection,
    table: type[Prediction] | type[ProductPrediction],
    values: type[PredictionValue] | type[ProductPredictionValue],
    attribute: int,
    records: Sequence[PredictionRecord | ProductPredictionRecord],
    about: Sequence[int],
) -> dict[int, int]:
    """Store rows without their values; return their ids by what they are `about`."""
    key = Prediction.image_id if table is Prediction else ProductPrediction.product_id
    replaced = _REPLACED if table is Prediction else _REPLACED + _SHOWN_BY
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=[key.key, "attribute_id"], set_={name: statement.excluded[name] for name in replaced}
    )
    connection.execute(
        statement, [columns_of(table, record, attribute_id=attribute, version_id=record.version) for record in records]
    )
    stored = select(key, table.id).where(table.attribute_id == attribute, key.in_(about))
    ids = {row[0]: row[1] for row in connection.execute(stored)}
    old = delete(values).where(values.prediction_id == bindparam("old"))
    connection.execute(old, [{"old": row_id} for row_id in ids.values()])
    return ids


def _save_values(
    connection: Connection,
    table: type[PredictionValue] | type[ProductPredictionValue],
    keys: Mapping[str, int],
    records: Mapping[int, PredictionRecord | ProductPredictionRecord],
) -> None:
    rows = []
    for row_id, record in records.items():
        for position, key in enumerate(record.values):
            if key not in keys:
                raise CatalogError(f"prediction: {key!r} is not a value of {record.attribute!r}")
            rows.append({"prediction_id": row_id, "value_id": keys[key], "position": position})
    if rows:
        connection.execute(insert(table), rows)


def load(connection: Connection, name: str, image_ids: Iterable[int] | None = None) -> list[PredictionRecord]:
    """Return the predictions for one attribute, by image id, of all images or of some.

    They are read under today's schema. A value that was split may be any of its heirs, so it goes to review; so does an
    answer about a product of an unmapped article type. Where the attribute applies no more, nothing is answered.
    """
    attribute = attribute_id(connection, name)
    keys = todays_keys(connection, attribute)
    reader = Reader(stored_schema(connection, attribute), types=active_types(connection))
    query = (
        select(Prediction, PredictionValue.value_id, Product.article_type)
        .join(Image, Image.id == Prediction.image_id)
        .join(Product, Product.id == Image.product_id)
        .outerjoin(PredictionValue, PredictionValue.prediction_id == Prediction.id)
        .where(Prediction.attribute_id == attribute)
        .order_by(Prediction.image_id, PredictionValue.position)
    )
    queries = [query]
    if image_ids is not None:
        queries = [query.where(Prediction.image_id.in_(ids)) for ids in chunks(sorted(set(image_ids)))]
    found: list[PredictionRecord] = []
    for part in queries:
        for image_id, group in groupby(connection.execute(part), key=lambda row: row.image_id):
            row, *others = group
            values, decision = _today(reader, keys, [row, *others])
            confidence, version, branch = row.confidence, row.version_id, row.branch_id
            found.append(PredictionRecord(image_id, name, values, confidence, decision, version, branch))
    return found


def load_products(
    connection: Connection, name: str, product_ids: Iterable[int] | None = None
) -> list[ProductPredictionRecord]:
    """Return the predictions for one attribute, by product id, of all products or of some; as `load` does."""
    attribute = attribute_id(connection, name)
    keys = todays_keys(connection, attribute)
    reader = Reader(stored_schema(connection, attribute), types=active_types(connection))
    query = (
        select(ProductPrediction, ProductPredictionValue.value_id, Product.article_type)
        .join(Product, Product.id == ProductPrediction.product_id)
        .outerjoin(ProductPredictionValue, ProductPredictionValue.prediction_id == ProductPrediction.id)
        .where(ProductPrediction.attribute_id == attribute)
        .order_by(ProductPrediction.product_id, ProductPredictionValue.position)
    )
    queries = [query]
    if product_ids is not None:
        queries = [query.where(ProductPrediction.product_id.in_(ids)) for ids in chunks(sorted(set(product_ids)))]
    found = []
    for part in queries:
        for _, group in groupby(connection.execute(part), key=lambda row: row.product_id):
            row, *others = group
            values, decision = _today(reader, keys, [row, *others])
            now = {"attribute": name, "values": values, "decision": decision, "version": row.version_id}
            found.append(record_of(ProductPredictionRecord, row, **now))
    return found


def _today(reader: Reader, keys: Mapping[int, tuple[str, ...]], rows: Sequence[Any]) -> tuple[tuple[str, ...], str]:
    """Return values and decision of a prediction under today's schema; `rows` has one for each of its values."""
    said = [keys[row.value_id] for row in rows if row.value_id is not None]
    values = tuple(dict.fromkeys(key for heirs in said for key in heirs))  # merged ones are one now
    decision: str = rows[0].decision
    if not reader.applies(rows[0].article_type):
        return (), "not_applicable"
    if decision == "accept" and (any(len(heirs) > 1 for heirs in said) or reader.unmapped(rows[0].article_type)):
        decision = "review"
    return values, decision
