"""Products with their pictures, and what the annotations of the pictures say of the product."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import groupby

from sqlalchemy import Connection, select

from ..database.engine import chunks
from ..database.mapping import record_of
from ..database.tables import AnnotationRow, Image, Product
from ..errors import UnknownNameError
from ..schema import Attribute, sku_of
from .annotations import active_types, annotation_rows
from .queries import image_record, image_rows, root_places
from .records import ImageRecord, ProductPictures
from .resolve import Annotation, Reader, Reading, combine
from .values import attribute_id, stored_schema


def product_page(connection: Connection, after: int, size: int, *, split: str | None = None) -> list[ProductPictures]:
    """Return the first `size` products, by id, whose id is above `after`; of one split, or of all."""
    query = select(Product.id).where(Product.id > after).order_by(Product.id).limit(size)
    if split is not None:
        query = query.where(Product.split == split)
    return by_ids(connection, connection.execute(query).scalars().all())


def products(connection: Connection, skus: Sequence[str]) -> list[ProductPictures]:
    """Return products in the order of their `skus`. Raises UnknownNameError, naming the first that is not there."""
    skus = [sku_of(sku) for sku in skus]
    ids: dict[str, int] = {}
    for part in chunks(list(dict.fromkeys(skus))):
        query = select(Product.sku, Product.id).where(Product.sku.in_(part))
        ids |= {row.sku: row.id for row in connection.execute(query)}
    for sku in skus:
        if sku not in ids:
            raise UnknownNameError(
                f"product {sku!r} is not in the catalogue; the sku is the image's path if none was given"
            )
    found = {product.sku: product for product in by_ids(connection, sorted(ids.values()))}
    return [found[sku] for sku in dict.fromkeys(skus)]


def by_ids(connection: Connection, ids: Sequence[int]) -> list[ProductPictures]:
    """Return the products with these ids, ascending."""
    pictures, places = defaultdict[int, list[ImageRecord]](list), root_places(connection)
    found: list[ProductPictures] = []
    for part in chunks(ids):
        rows = connection.execute(image_rows().where(Image.product_id.in_(part)).order_by(Image.id))
        for row in rows:
            pictures[row.product_id].append(image_record(row, places))
        about = connection.execute(select(Product).where(Product.id.in_(part)).order_by(Product.id))
        found += [record_of(ProductPictures, row, images=tuple(pictures[row.id])) for row in about]
    return found


# -- what is known of products ---------------------------------------------------------------------


def known_of_products(
    connection: Connection, name: str, products: Collection[ProductPictures]
) -> tuple[dict[int, Annotation], frozenset[int]]:
    """Return what is known of each product, by its id, and the ids of pictures to which the attribute does not apply.

    A product that is not in the result is unknown. Pictures in quarantine are heard only if there are no others.
    """
    row_id = attribute_id(connection, name)
    reader = Reader(stored_schema(connection, row_id), types=active_types(connection))
    heard = {product.id: [image.id for image in product.in_use or product.images] for product in products}
    stated = _annotations(connection, row_id, [image for images in heard.values() for image in images])
    known = {}
    for product in products:
        if not reader.applies(product.article_type):
            known[product.id] = Annotation("not_applicable")
        elif said := [stated[image] for image in heard[product.id] if image in stated]:
            known[product.id] = of_pictures(reader.attribute, said)
    apart = frozenset(image for image, annotation in stated.items() if annotation.state == "not_applicable")
    return known, apart


def of_pictures(attribute: Attribute, said: Sequence[Annotation]) -> Annotation:
    """Return what the annotations of a product's pictures, one at least, say of the product.

    A picture to which the attribute does not apply, such as a detail or the back, says nothing of a product that
    another picture says something of; and neither does one whose sources contradict each other without a candidate.
    """
    shown = [annotation for annotation in said if annotation.state != "not_applicable"]
    if not shown:
        return Annotation("not_applicable")
    readings = [
        Reading(a.values, unsure=frozenset() if attribute.labels.exclusive else a.values - a.certain)
        for a in shown
        if a.values or a.state == "labelled"
    ]
    return combine(attribute, readings) or Annotation("ambiguous")


def _annotations(connection: Connection, row_id: int, ids: Sequence[int]) -> dict[int, Annotation]:
    found = {}
    for part in chunks(sorted(ids)):
        rows = connection.execute(annotation_rows(row_id).where(AnnotationRow.image_id.in_(part)))
        for image_id, group in groupby(rows, key=lambda row: row.image_id):
            values = list(group)
            keys = frozenset(row.key for row in values if row.key is not None)
            certain = frozenset(row.key for row in values if row.certain)
            found[image_id] = Annotation(values[0].state, keys, certain)
    return found
