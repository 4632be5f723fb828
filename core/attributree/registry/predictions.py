"""The current prediction of each image and attribute, read back under today's values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from sqlalchemy import Connection, bindparam, delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from ..database.engine import chunks
from ..database.mapping import columns_of
from ..database.tables import Image, Prediction, PredictionValue, Product
from ..errors import CatalogError
from ..labels.annotations import active_types
from ..labels.records import PredictionRecord
from ..labels.resolve import Reader
from ..labels.values import attribute_id, stored_schema, todays_keys, value_ids

_REPLACED = ("version_id", "branch_id", "confidence", "decision")


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
        [columns_of(Prediction, record, attribute_id=attribute, version_id=record.version) for record in records],
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


def load(connection: Connection, name: str, image_ids: Iterable[int] | None = None) -> list[PredictionRecord]:
    """Return the predictions for one attribute, by image id, of all images or of some.

    Under today's schema: of a value that was split nobody knows which heir it is, so it goes to review, as does what
    is said of an unmapped article type; where the attribute does not apply any more nothing is answered.
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
    found: dict[int, PredictionRecord] = {}
    for part in queries:
        for image_id, group in groupby(connection.execute(part), key=lambda row: row.image_id):
            rows = list(group)
            said = [keys[row.value_id] for row in rows if row.value_id is not None]
            values = tuple(dict.fromkeys(key for heirs in said for key in heirs))  # merged ones are one now
            decision = rows[0].decision
            if not reader.applies(rows[0].article_type):
                values, decision = (), "not_applicable"
            elif decision == "accept" and (
                any(len(heirs) > 1 for heirs in said) or reader.unmapped(rows[0].article_type)
            ):
                decision = "review"
            confidence, version, branch = rows[0].confidence, rows[0].version_id, rows[0].branch_id
            found[image_id] = PredictionRecord(image_id, name, values, confidence, decision, version, branch)
    return list(found.values())
