"""What the catalogue knows, asked without changing anything."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select

from ..database.engine import chunks
from ..database.mapping import record_of
from ..database.tables import AnnotationRow, AnnotationValue, Image, ImagesRoot, Product, Revision
from ..errors import UnknownNameError
from ..images.addresses import is_remote, normal_url
from ..label_set import LabelSet
from ..schema import SPLITS
from .annotations import annotation_rows
from .names import REMOTE, column_counts, root_id
from .records import AnnotationRecord, CatalogCounts, ImageRecord
from .resolve import Reader
from .schemas import declared
from .values import attribute_id, stored_schema

#: Images that are not in quarantine.
IN_USE: ColumnElement[bool] = Image.state == "ok"


def revision(connection: Connection) -> int:
    """Return the newest revision, 0 for an empty catalogue."""
    return connection.execute(select(func.max(Revision.id))).scalar() or 0


def counts(connection: Connection) -> CatalogCounts:
    """Return how much there is."""

    def number(query: Select[int]) -> int:
        return connection.execute(query).scalar_one()

    remote = select(func.count(Image.id)).where(Image.root_id == root_id(connection, REMOTE))

    return CatalogCounts(
        products=number(select(func.count(Product.id))),
        images=number(select(func.count(Image.id))),
        quarantined=number(select(func.count(Image.id)).where(Image.state == "quarantined")),
        observations=sum(column_counts(connection).values()),
        revision=revision(connection),
        remote=number(remote),
        fetched=number(remote.where(Image.digest.is_not(None))),
    )


# -- images ----------------------------------------------------------------------------------------


def image_rows() -> Select[*tuple[Any, ...]]:
    """Return the query for all images with their roots' folders and what is known of their products."""
    return (
        select(Image, ImagesRoot.folder, Product.sku, Product.article_type)
        .add_columns(Product.title, Product.description, Product.split)
        .join(ImagesRoot, ImagesRoot.id == Image.root_id)
        .join(Product, Product.id == Image.product_id)
    )


def images(
    connection: Connection,
    ids: Sequence[int] | None = None,
    paths: Sequence[Path | str] | None = None,
    *,
    state: str | None = None,
    remote: bool = False,
) -> list[ImageRecord]:
    """Return the images by id: all, or those with one of `ids` or at one of `paths`, which may be URLs.

    With `remote`, only those behind URLs.
    """
    query = image_rows()
    if state is not None:
        query = query.where(Image.state == state)
    if remote:
        query = query.where(Image.root_id == root_id(connection, REMOTE))
    queries = [query]
    if ids is not None or paths is not None:
        queries = [query.where(Image.id.in_(part)) for part in chunks(sorted(set(ids or ())))]
        queries += [query.where(here) for here in _at(connection, [str(path) for path in paths or ()])]
    rows = (row for part in queries for row in connection.execute(part))
    found = {row.id: record_of(ImageRecord, row, file=_place(row)) for row in rows}
    return [found[image_id] for image_id in sorted(found)]


def _place(row: Row[Any]) -> Path | str:
    """Return where an image's file is, or its URL."""
    return row.path if row.folder == REMOTE else Path(row.file or f"{row.folder}/{row.path}")


def _at(connection: Connection, files: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions, to be asked one by one, that an image lies at one of `files`."""
    roots = {row.folder: row.id for row in connection.execute(select(ImagesRoot.folder, ImagesRoot.id))}
    below = defaultdict[int, list[str]](list)
    for file in files:
        if is_remote(file):
            if REMOTE in roots:
                below[roots[REMOTE]].append(normal_url(file))
            continue
        for slash in re.finditer("/", file):
            folder, path = file[: slash.start()], file[slash.end() :]
            if folder in roots:
                below[roots[folder]].append(path)
    for root, paths in below.items():
        for part in chunks(paths):
            yield (Image.root_id == root) & Image.file.is_(None) & Image.path.in_(part)
    for part in chunks(files):
        yield Image.file.in_(part)


def other_types(connection: Connection, reader: Reader) -> list[str]:
    """Return the article types, as spelt in the catalogue, that the attribute is not asked of."""
    types = connection.execute(select(Product.article_type).distinct()).scalars()
    return sorted(article_type for article_type in types if not reader.applies(article_type))


def missing(connection: Connection, name: str) -> list[int]:
    """Return the images in state ok that the attribute applies to and that are unknown or ambiguous."""
    row_id = attribute_id(connection, name)
    others = other_types(connection, Reader(stored_schema(connection, row_id)))
    here = (AnnotationRow.image_id == Image.id) & (AnnotationRow.attribute_id == row_id)
    query = (
        select(Image.id)
        .join(Product, Product.id == Image.product_id)
        .outerjoin(AnnotationRow, here)
        .where(IN_USE, or_(AnnotationRow.id.is_(None), AnnotationRow.state == "ambiguous"))
        .order_by(Image.id)
    )
    if others:
        query = query.where(Product.article_type.not_in(others))
    return list(connection.execute(query).scalars())


# -- annotations -----------------------------------------------------------------------------------


def annotated(connection: Connection, name: str, image_ids: Iterable[int]) -> dict[int, AnnotationRecord]:
    """Return what is known of `image_ids`; an image that is not in the result is unknown."""
    row_id = attribute_id(connection, name)
    reader = Reader(stored_schema(connection, row_id))
    found: dict[int, AnnotationRecord] = {}
    for ids in chunks(sorted(set(image_ids))):
        rows = connection.execute(annotation_rows(row_id).where(AnnotationRow.image_id.in_(ids)))
        for image_id, group in groupby(rows, key=lambda row: row.image_id):
            part = list(group)
            values = tuple(row.key for row in part if row.key is not None)
            certain = tuple(row.key for row in part if row.certain)
            found[image_id] = AnnotationRecord(part[0].state, values, certain)
        # Not applicable is stored only where something was said; elsewhere the article type says it.
        types = select(Image.id, Product.article_type).join(Product, Product.id == Image.product_id)
        for row in connection.execute(types.where(Image.id.in_(ids))):
            if row.id not in found and not reader.applies(row.article_type):
                found[row.id] = AnnotationRecord("not_applicable", ())
    return found


def new_labels(connection: Connection, name: str, since_revision: int) -> int:
    """Return how many labelled or ambiguous annotations changed after `since_revision`."""
    return connection.execute(new_labels_query(attribute_id(connection, name), since_revision)).scalar_one()


def new_labels_query(row_id: int, since_revision: int) -> Select[int]:
    """Return the query of `new_labels`, which one index must answer alone."""
    return select(func.count()).where(
        AnnotationRow.attribute_id == row_id,
        AnnotationRow.state.in_(("labelled", "ambiguous")),
        AnnotationRow.revision > since_revision,
    )


def label_set(connection: Connection, name: str) -> LabelSet:
    """Return the supervision of one attribute over the images in state ok, columns in the schema's order."""
    row_id = attribute_id(connection, name)
    attribute = stored_schema(connection, row_id)
    labels = attribute.labels
    column = {key: i for i, key in enumerate(labels.keys)}
    multi = not labels.exclusive
    absent = 0.0 if not multi or getattr(labels, "closed_world", True) else np.nan
    query = (
        annotation_rows(row_id)
        .add_columns(Product.split)
        .join(Image, Image.id == AnnotationRow.image_id)
        .join(Product, Product.id == Image.product_id)
        .where(IN_USE, AnnotationRow.state != "not_applicable", AnnotationValue.value_id.is_not(None))
    )
    image_ids: list[int] = []
    split: list[int] = []
    ambiguous: list[bool] = []
    weight: list[float] = []
    cells: list[tuple[int, int, float]] = []  # row, column, target
    for _, image_id, state, said_weight, key, certain, share, in_split in connection.execute(query):
        if not image_ids or image_ids[-1] != image_id:
            image_ids.append(image_id)
            split.append(SPLITS.index(in_split))
            ambiguous.append(state == "ambiguous")
            weight.append(said_weight)
        cells.append((len(image_ids) - 1, column[key], np.nan if multi and not certain and share == 1 else share))
    target = np.full((len(image_ids), labels.size), absent, dtype=np.float32)  # (N, C)
    if cells:
        rows, columns, values = zip(*cells, strict=True)
        target[list(rows), list(columns)] = values
    whole = LabelSet(
        attribute=attribute,
        revision=revision(connection),
        image_ids=np.asarray(image_ids, dtype=np.int64),
        split=np.asarray(split, dtype=np.int8),
        target=target,
        ambiguous=np.asarray(ambiguous, dtype=np.bool_),
        weight=np.asarray(weight, dtype=np.float32),
    )
    # An open world with uncertain candidates only says nothing about any value.
    return whole.take(np.flatnonzero(~np.isnan(target).all(axis=1)))


def undeclared(connection: Connection) -> dict[str, int]:
    """Return the columns that no declared attribute reads, in order, with the number of their observations."""
    read = {column for _, attribute in declared(connection).values() for column in attribute.columns}
    counts = column_counts(connection)
    return {column: counts[column] for column in sorted(counts.keys() - read)}


def require_image(connection: Connection, image_id: int) -> None:
    """Raise UnknownNameError if there is no such image."""
    if connection.execute(select(Image.id).where(Image.id == image_id)).scalar() is None:
        raise UnknownNameError(f"image {image_id} is not in the catalogue")
