"""All that is kept of one product, and its deletion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, select

from ..database.engine import chunks
from ..database.tables import (
    AnnotationRow,
    AnnotationValue,
    Image,
    LabelColumn,
    Observation,
    Prediction,
    PredictionValue,
    Product,
    ProductObservation,
    ProductPrediction,
    Revision,
    VoiceRow,
)
from ..errors import UnknownNameError
from ..schema import sku_of
from .annotations import Table, new_revision, newest_last
from .names import count_observations, forget_silent
from .queries import annotated, images
from .records import Forgotten, ImageHistory, ObservationRecord, PredictionsOf, ProductHistory
from .schemas import declared


def history(connection: Connection, sku: str, predictions: PredictionsOf) -> ProductHistory:
    """Return what was said of each image of a product, what it means today, and what was predicted.

    `predictions` are the registry's.
    Raises UnknownNameError for an unknown sku.
    """
    product = _product(connection, sku)
    names = list(declared(connection))
    ids = _image_ids(connection, [product.id])
    known = {name: annotated(connection, name, ids) for name in names}
    predicted = {name: {p.image_id: p for p in predictions(connection, name, ids)} for name in names}
    return ProductHistory(
        sku=sku,
        article_type=product.article_type,
        title=product.title,
        split=product.split,
        observations=_observations(connection, ProductObservation, ProductObservation.product_id == product.id),
        images=tuple(
            ImageHistory(
                image=image,
                observations=_observations(connection, Observation, Observation.image_id == image.id),
                annotations={name: known[name][image.id] for name in names if image.id in known[name]},
                predictions={name: predicted[name][image.id] for name in names if image.id in predicted[name]},
            )
            for image in images(connection, ids)
        ),
    )


def _product(connection: Connection, sku: str) -> Any:
    found = connection.execute(select(Product).where(Product.sku == sku_of(sku))).first()
    if found is None:
        raise UnknownNameError(
            f"product {sku!r} is not in the catalogue; the sku is the image's path if none was given"
        )
    return found


def _image_ids(connection: Connection, products: Sequence[int]) -> list[int]:
    return list(connection.execute(select(Image.id).where(Image.product_id.in_(products)).order_by(Image.id)).scalars())


def _observations(connection: Connection, table: Table, theirs: ColumnElement[bool]) -> tuple[ObservationRecord, ...]:
    query = (
        select(LabelColumn.name, table.raw, VoiceRow.source, VoiceRow.annotator)
        .add_columns(table.revision, Revision.cause, Revision.created_at)
        .join(LabelColumn, LabelColumn.id == table.column_id)
        .join(VoiceRow, VoiceRow.id == table.voice_id)
        .join(Revision, Revision.id == table.revision)
        .where(theirs)
        .order_by(*newest_last([], table))
    )
    return tuple(ObservationRecord(*row) for row in connection.execute(query))


def _forget_said(connection: Connection, table: Table, theirs: ColumnElement[bool], voices: set[int]) -> int:
    """Delete observations and return how many they were; those who said them are added to `voices`, by id."""
    said = select(table.column_id, func.count().label("n")).where(theirs).group_by(table.column_id)
    counts = {row.column_id: row.n for row in connection.execute(said)}
    voices.update(connection.execute(select(table.voice_id).where(theirs).distinct()).scalars())
    connection.execute(delete(table).where(theirs))
    count_observations(connection, {column: -count for column, count in counts.items()})
    return sum(counts.values())


def forget(connection: Connection, skus: Sequence[str], actor: str) -> Forgotten:
    """Delete products with their images and all that was said or predicted of them; return how much that was.

    The revision that remains says who deleted how many, and nothing of whom. Raises UnknownNameError, before anything
    is deleted, if a sku is unknown.
    """
    products = [_product(connection, sku).id for sku in dict.fromkeys(skus)]
    ids = _image_ids(connection, products)
    urls = tuple(image.path for image in images(connection, ids) if isinstance(image.file, str))
    gone = dict.fromkeys(("observations", "annotations", "predictions"), 0)
    digests: set[str] = set()
    voices: set[int] = set()
    for part in chunks(ids):
        digests.update(filter(None, connection.execute(select(Image.digest).where(Image.id.in_(part))).scalars()))
        for name, table, values, key in (
            ("predictions", Prediction, PredictionValue, PredictionValue.prediction_id),
            ("annotations", AnnotationRow, AnnotationValue, AnnotationValue.annotation_id),
        ):
            rows = select(table.id).where(table.image_id.in_(part))
            connection.execute(delete(values).where(key.in_(rows)))
            gone[name] += connection.execute(delete(table).where(table.image_id.in_(part))).rowcount
        gone["observations"] += _forget_said(connection, Observation, Observation.image_id.in_(part), voices)
    for part in chunks(products):
        theirs = ProductObservation.product_id.in_(part)
        gone["observations"] += _forget_said(connection, ProductObservation, theirs, voices)
        pooled = delete(ProductPrediction).where(ProductPrediction.product_id.in_(part))
        gone["predictions"] += connection.execute(pooled).rowcount
    for part in chunks(ids):
        connection.execute(delete(Image).where(Image.id.in_(part)))
    for part in chunks(products):
        connection.execute(delete(Product).where(Product.id.in_(part)))
    forget_silent(connection, voices)
    shared = connection.execute(select(Image.digest).where(Image.digest.in_(digests)).distinct()).scalars()
    new_revision(connection, "forget", f"{len(products)} products with {len(ids)} images, by {actor}")
    return Forgotten(len(products), len(ids), **gone, digests=tuple(sorted(digests.difference(shared))), urls=urls)
