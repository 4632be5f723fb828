"""Products as they are written about, for those who read labels or phrases off their texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from sqlalchemy import Connection, select

from ..database.tables import Image, Product
from .records import ProductText


def product_texts(connection: Connection, size: int = 1000) -> Iterator[list[ProductText]]:
    """Yield all products in the order in which the catalogue met them, `size` at a time."""
    query = select(Product.id, Product.sku, Product.article_type, Product.title, Product.description)
    query = query.order_by(Product.id).limit(size)
    last = 0
    while rows := connection.execute(query.where(Product.id > last)).all():
        # A page has every product between its ends.
        pictures = select(Image.product_id, Image.id).where(Image.product_id.between(rows[0].id, rows[-1].id))
        ids = defaultdict[int, list[int]](list)
        for product_id, image_id in connection.execute(pictures.order_by(Image.id)):
            ids[product_id].append(image_id)
        yield [ProductText(row.sku, row.article_type, row.title, row.description, tuple(ids[row.id])) for row in rows]
        last = rows[-1].id
