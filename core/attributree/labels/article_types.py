"""Article types that a catalogue follows, and what is stated of products by type."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product
from typing import Any

from sqlalchemy import Connection, Select, delete, func, select, union, update

from ..article_types import OUTSIDE, ArticleTypes
from ..database.engine import chunks
from ..database.tables import AnnotationRow, AnnotationValue, Image, Product, VoiceRow
from ..schema import Attribute
from .annotations import ARTICLE_TYPES, TABLES, Table, active_types, derive, in_columns, new_revision, speaks_of_image
from .queries import article_types
from .resolve import TEXT_SOURCE
from .schemas import declared


def follow_types(connection: Connection, types: ArticleTypes) -> None:
    """Derive annotations anew where `types` say something else than those that are followed, and follow `types`.

    That is a revision like any other change: annotations that mean something else now count as new labels. Only images
    that an attribute is asked of now are read again; of those that it is asked of no more nothing needs reading.
    """
    followed = active_types(connection)
    if types.exact or (followed.text == types.text and not followed.exact):
        return
    revision = new_revision(connection, ARTICLE_TYPES, types.text)
    words = article_types(connection)
    for row_id, attribute in declared(connection).values():
        before = {word for word in words if followed.asks(attribute, word) == OUTSIDE}
        after = {word for word in words if types.asks(attribute, word) == OUTSIDE}
        _leave_out(connection, row_id, after - before, revision)
        if images := _stated_images(connection, attribute, before - after):
            derive(connection, row_id, attribute, revision, images)


def _leave_out(connection: Connection, attribute_id: int, words: Collection[str], revision: int) -> None:
    """Make what is annotated of products of these article types not applicable."""
    for part in chunks(sorted(words)):
        theirs = (
            select(AnnotationRow.id)
            .join(Image, Image.id == AnnotationRow.image_id)
            .join(Product, Product.id == Image.product_id)
            .where(
                AnnotationRow.attribute_id == attribute_id,
                AnnotationRow.state != "not_applicable",
                Product.article_type.in_(part),
            )
        )
        connection.execute(delete(AnnotationValue).where(AnnotationValue.annotation_id.in_(theirs)))
        left_out = {"state": "not_applicable", "weight": 1.0, "revision": revision}
        connection.execute(update(AnnotationRow).where(AnnotationRow.id.in_(theirs)).values(left_out))


def _stated_images(connection: Connection, attribute: Attribute, words: Collection[str]) -> list[int]:
    """Return the images, ascending, of products of these article types that anything was said of about `attribute`."""
    found: set[int] = set()
    for part, table in product(chunks(sorted(words)), TABLES):
        query = (
            select(Image.id)
            .select_from(table)
            .join(Image, speaks_of_image(table))
            .join(Product, Product.id == Image.product_id)
            .where(in_columns(attribute.columns, table), Product.article_type.in_(part))
            .distinct()
        )
        found.update(connection.execute(query).scalars())
    return sorted(found)


def stated_labels(connection: Connection, words: Collection[str] | None = None) -> dict[str, int]:
    """Return in how many cells something is stated, by article type: of all products, or of those of `words`.

    A cell is one label column of one image; what was mined from texts is not stated.
    """
    parts = [None] if words is None else list(chunks(sorted(words)))
    found: dict[str, int] = {}
    for part in parts:
        cells = union(*(_cells(table, part) for table in TABLES)).subquery()
        counts = select(cells.c.article_type, func.count().label("n")).group_by(cells.c.article_type)
        found |= {row.article_type: row.n for row in connection.execute(counts)}
    return found


def _cells(table: Table, words: Sequence[str] | None) -> Select[*tuple[Any, ...]]:
    """Return the query for the cells (article type, image, column) in which something is stated."""
    mined = select(VoiceRow.id).where(VoiceRow.source == TEXT_SOURCE)
    query = (
        select(Product.article_type, Image.id, table.column_id)
        .select_from(table)
        .join(Image, speaks_of_image(table))
        .join(Product, Product.id == Image.product_id)
        .where(table.voice_id.not_in(mined))
    )
    return query if words is None else query.where(Product.article_type.in_(words))
