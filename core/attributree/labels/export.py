"""The catalogue as a label file: what is known, or what was said, so that ingest reads back the very same.

An image has one row. Only what cannot stand in one cell without changing its meaning gets rows of its own, one for each
voice, with its source: sources that disagree, and mined text, which would come back as somebody's label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, or_, select

from ..database.tables import Image, Product, ProductObservation
from ..errors import CatalogError, UnknownNameError
from .export_products import ProductRows
from .export_rows import ExportOptions, ExportRows
from .products import by_ids, product_page
from .queries import image_rows, revision
from .records import ExportSummary, ProductPictures
from .roots import REMOTE, remote_id, root_id, roots
from .writers import Cell, open_table, replacing

__all__ = ["ExportOptions", "export"]

#: Images read and written together; memory grows with it.
_PAGE = 2000


def export(
    connection: Connection,
    file: Path,
    form: str,
    options: ExportOptions | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> ExportSummary:
    """Write the catalogue to `file`, which is there whole or not at all, in bounded memory.

    Raises UnknownNameError for an attribute that is neither declared nor a column, or an images root without images;
    CatalogError if the file cannot be written or two images would have the same name in it.
    """
    options = options or ExportOptions()
    number = None if options.by_product else _check_roots(connection, options.images)
    work = ProductRows(connection, options) if options.by_product else ExportRows(connection, options)
    with replacing(file) as partial, open_table(partial, form, work.header()) as write:
        for rows in _rows(work, number):
            write(rows)
            if progress is not None:
                progress(work.products if options.by_product else work.images)
    return ExportSummary(
        file=str(file),
        format=form,
        images=work.images,
        products=work.products,
        rows=work.lines,
        disputed=work.disputed,
        predicted=work.predicted,
        columns=tuple(work.columns),
        roots=tuple(sorted(str(work.places[number]) for number in work.roots)),
        revision=revision(connection),
    )


def _rows(work: ExportRows, root: int | None) -> Iterator[Iterator[dict[str, Cell]]]:
    """Yield the rows of the file, a page of products, or of images, at a time.

    Behind the images stand the products that no image can speak for.
    """
    connection = work.connection
    if isinstance(work, ProductRows):
        last = 0
        while page := product_page(connection, last, _PAGE // 4):
            yield work.product_rows(page)
            last = page[-1].id
        return
    for images in _pages(connection, root):
        yield work.rows(images)
    for products in _without_images(connection):
        yield work.of_products(products)


def _pages(connection: Connection, root: int | None) -> Iterator[Sequence[Any]]:
    """Yield all images with their products, by id, a page at a time: of one root, with those behind URLs, or of all."""
    query = image_rows().order_by(Image.id).limit(_PAGE)
    if root is not None:
        query = query.where(Image.root_id.in_((root, remote_id(connection))))
    last = 0
    while page := connection.execute(query.where(Image.id > last)).all():
        yield page
        last = page[-1].id


def _check_roots(connection: Connection, root: Path | None) -> int | None:
    """Return the id of a root, None for all.

    Raises UnknownNameError for a root without images, CatalogError if two roots have an image of the same path.
    """
    places = roots(connection)
    if root is not None:
        number = root_id(connection, root)
        used = places.keys() & set(connection.execute(select(Image.root_id).distinct()).scalars())
        if number not in used:
            there = ", ".join(sorted(str(places[number]) for number in used)) or "none"
            raise UnknownNameError(f"no image lies under the images root {root} (there: {there})")
        return number
    query = select(Image.path, func.min(Image.root_id), func.max(Image.root_id))
    twins = connection.execute(query.group_by(Image.path).having(func.count() > 1).limit(1)).first()
    if twins is not None:
        path, (first, second) = twins[0], (places.get(number, REMOTE) for number in twins[1:])
        raise CatalogError(f"image {path!r} lies under {first} and {second}; export one of them with --images ROOT")
    return None


def _without_images(connection: Connection) -> Iterator[list[ProductPictures]]:
    """Yield the products of which anything was said or that no picture shows, a page at a time."""
    said = select(ProductObservation.raw).where(ProductObservation.product_id == Product.id).exists()
    shown = select(Image.id).where(Image.product_id == Product.id).exists()
    query = select(Product.id).where(or_(said, ~shown)).order_by(Product.id).limit(_PAGE // 4)
    last = 0
    while ids := connection.execute(query.where(Product.id > last)).scalars().all():
        yield by_ids(connection, ids)
        last = ids[-1]
