"""The current prediction of each image and attribute, read back under today's values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from ..errors import CatalogError
from .engine import chunks
from .records import PredictionRecord
from .registry import attribute_id
from .tables import AttributeValue, Prediction, PredictionValue

_REPLACED = ("version_id", "branch_id", "confidence", "decision")


def value_ids(connection: Connection, attribute: int) -> dict[str, int]:
    """Return the id of every value the attribute ever had, by key."""
    query = select(AttributeValue.key, AttributeValue.id).where(AttributeValue.attribute_id == attribute)
    return {row.key: row.id for row in connection.execute(query)}


def todays_keys(connection: Connection, attribute: int) -> dict[int, str]:
    """Return, for the id of every value, the key that stands for it today: replacements are followed."""
    query = select(AttributeValue.id, AttributeValue.key, AttributeValue.replaced_by_id)
    rows = {row.id: row for row in connection.execute(query.where(AttributeValue.attribute_id == attribute))}
    keys = {}
    for start, row in rows.items():
        seen = {start}
        while row.replaced_by_id is not None and row.replaced_by_id not in seen:
            row = rows[row.replaced_by_id]
            seen.add(row.id)
        keys[start] = row.key
    return keys


def save(connection: Connection, records: Sequence[PredictionRecord]) -> None:
    """Store the predictions, replacing those of the same image and attribute.

    Raises CatalogError if a value is none of its attribute's.
    """
    by_attribute: dict[str, dict[int, PredictionRecord]] = {}
    for record in records:
        by_attribute.setdefault(record.attribute, {})[record.image_id] = record
    for name, by_image in by_attribute.items():
        attribute = attribute_id(connection, name)
        values = value_ids(connection, attribute)
        for image_ids in chunks(list(by_image)):
            _save_chunk(connection, attribute, values, [by_image[i] for i in image_ids])


def _save_chunk(
    connection: Connection, attribute: int, values: dict[str, int], records: list[PredictionRecord]
) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(Prediction)
    statement = statement.on_conflict_do_update(
        index_elements=["image_id", "attribute_id"], set_={name: statement.excluded[name] for name in _REPLACED}
    )
    connection.execute(
        statement,
        [
            {
                "image_id": record.image_id,
                "attribute_id": attribute,
                "version_id": record.version,
                "branch_id": record.branch_id,
                "confidence": record.confidence,
                "decision": record.decision,
            }
            for record in records
        ],
    )
    stored = select(Prediction.image_id, Prediction.id).where(
        Prediction.attribute_id == attribute, Prediction.image_id.in_([record.image_id for record in records])
    )
    ids: dict[int, int] = {row.image_id: row.id for row in connection.execute(stored)}
    old = delete(PredictionValue).where(PredictionValue.prediction_id == bindparam("old"))
    connection.execute(old, [{"old": i} for i in ids.values()])
    rows = []
    for record in records:
        for position, key in enumerate(record.values):
            if key not in values:
                raise CatalogError(f"prediction: {key!r} is not a value of {record.attribute!r}")
            rows.append({"prediction_id": ids[record.image_id], "value_id": values[key], "position": position})
    if rows:
        connection.execute(insert(PredictionValue), rows)


def load(connection: Connection, name: str, image_ids: Iterable[int] | None) -> list[PredictionRecord]:
    """Return the predictions for one attribute, by image id, of all images or of some."""
    attribute = attribute_id(connection, name)
    keys = todays_keys(connection, attribute)
    query = (
        select(Prediction, PredictionValue.value_id)
        .outerjoin(PredictionValue, PredictionValue.prediction_id == Prediction.id)
        .where(Prediction.attribute_id == attribute)
        .order_by(Prediction.image_id, PredictionValue.position)
    )
    queries = [query]
    if image_ids is not None:
        queries = [query.where(Prediction.image_id.in_(ids)) for ids in chunks(sorted(set(image_ids)))]
    found: dict[int, tuple[dict[str, None], tuple[float, str, int, int]]] = {}
    for part in queries:
        for row in connection.execute(part):
            rest = (row.confidence, row.decision, row.version_id, row.branch_id)
            values, _ = found.setdefault(row.image_id, ({}, rest))
            if row.value_id is not None:
                values[keys[row.value_id]] = None  # two values that were merged are one now
    return [PredictionRecord(image, name, tuple(values), *rest) for image, (values, rest) in found.items()]
