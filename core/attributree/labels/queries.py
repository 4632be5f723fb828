"""What the catalogue knows, asked without changing anything."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, Select, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from ..database.engine import chunks
from ..database.mapping import record_of
from ..database.tables import AnnotationRow, AnnotationValue, Image, Product, Revision
from ..errors import UnknownNameError
from ..images.addresses import is_remote, normal_url
from ..label_set import LabelSet
from ..schema import SPLITS
from .annotations import active_types, annotation_rows
from .names import column_counts
from .records import AnnotationRecord, CatalogCounts, ImageRecord, SharedPicture
from .resolve import Reader
from .roots import remote_id, roots
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

    remote = select(func.count(Image.id)).where(Image.root_id == remote_id(connection))
    return CatalogCounts(
        products=number(select(func.count(Product.id))),
        images=number(select(func.count(Image.id))),
        quarantined=number(select(func.count(Image.id)).where(Image.state == "quarantined")),
        observations=sum(column_counts(connection).values()),
        revision=revision(connection),
        remote=number(remote),
        fetched=number(remote.where(Image.digest.is_not(None))),
    )


def products_per_split(connection: Connection) -> dict[str, int]:
    """Return how many products are in each split; all splits are named."""
    query = select(Product.split, func.count()).group_by(Product.split)
    return dict.fromkeys(SPLITS, 0) | {row.split: row[1] for row in connection.execute(query)}


def alike_in_size(connection: Connection, most: int) -> list[int]:
    """Return images whose file was never read and is as large as one of another split, `most` of them at most."""
    shared = _between_splits(Image.bytes)
    query = select(Image.id).where(IN_USE, Image.digest.is_(None), Image.bytes.in_(shared))
    return list(connection.execute(query.order_by(Image.id).limit(most)).scalars())


def shared_between_splits(connection: Connection) -> tuple[SharedPicture, ...]:
    """Return the pictures whose files are known to be of the same bytes and that are in several splits."""
    query = (
        select(Image.digest, Image.path, Product.sku, Product.split)
        .join(Product, Product.id == Image.product_id)
        .where(IN_USE, Image.digest.in_(_between_splits(Image.digest)))
        .order_by(Image.digest, Image.id)
    )
    places: dict[str, dict[str, tuple[str, str, str]]] = {}
    for digest, *place in connection.execute(query):
        places.setdefault(str(digest), {}).setdefault(place[2], (place[0], place[1], place[2]))
    return tuple(SharedPicture(tuple(by_split.values())) for by_split in places.values())


def _between_splits(column: InstrumentedAttribute[Any]) -> Select[Any]:
    """Return the query for what images of several splits have in a column."""
    query = select(column).join(Product, Product.id == Image.product_id).where(IN_USE, column.is_not(None))
    return query.group_by(column).having(func.min(Product.split) != func.max(Product.split))


# -- images ----------------------------------------------------------------------------------------


def image_rows() -> Select[*tuple[Any, ...]]:
    """Return the query for all images with what is known of their products."""
    return (
        select(Image, Product.sku, Product.article_type)
        .add_columns(Product.title, Product.description, Product.split)
        .join(Product, Product.id == Image.product_id)
    )


def root_places(connection: Connection) -> dict[int, str]:
    """Return where each images root lies, by its id; that of images behind URLs lies nowhere."""
    return {number: str(place) for number, place in roots(connection).items()}


def image_record(row: Any, places: Mapping[int, str]) -> ImageRecord:
    """Return a row of `image_rows` as a record; `places` are those of `root_places`."""
    root = places.get(row.root_id)
    return record_of(ImageRecord, row, file=row.path if root is None else _file(root, row))


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
        query = query.where(Image.root_id == remote_id(connection))
    queries = [query]
    if ids is not None or paths is not None:
        queries = [query.where(Image.id.in_(part)) for part in chunks(sorted(set(ids or ())))]
        queries += [query.where(here) for here in _at(connection, [str(path) for path in paths or ()])]
    rows = (row for part in queries for row in connection.execute(part))
    places = root_places(connection)
    found = {row.id: image_record(row, places) for row in rows}
    return [found[image_id] for image_id in sorted(found)]


def _file(root: str, row: Row[Any]) -> Path:
    """Return where an image lies. Its `file` is absolute only if an older attributree stored it, outside the home."""
    return Path(f"{root}/{row.path}" if row.file is None else os.path.join(root, row.file))  # noqa: PTH118


def _at(connection: Connection, files: Sequence[str]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions, to be asked one by one, that an image lies at one of `files`."""
    numbers = defaultdict[str, list[int]](list)
    for number, place in roots(connection).items():
        numbers[str(place.resolve())].append(number)
    below = defaultdict[int, list[str]](list)
    remote = remote_id(connection)
    for file in files:
        if is_remote(file):
            if remote is not None:
                below[remote].append(normal_url(file))
            continue
        for slash in re.finditer("/", file):
            for number in numbers.get(file[: slash.start()] or "/", ()):
                below[number].append(file[slash.end() :])
    for number, paths in below.items():
        for part in chunks(paths):
            yield (Image.root_id == number) & Image.file.is_(None) & Image.path.in_(part)
            yield (Image.root_id == number) & Image.file.in_(part)
    for part in chunks([file for file in files if Path(file).is_absolute()]):
        yield Image.file.in_(part)  # as an older attributree stored it


def article_types(connection: Connection) -> list[str]:
    """Return the article types as spelt in the catalogue, the empty one too if a product has none."""
    return sorted(connection.execute(select(Product.article_type).distinct()).scalars())


def product_counts(connection: Connection) -> dict[str, int]:
    """Return the number of products of each article type, as spelt in the catalogue; "" is those that have none."""
    query = select(Product.article_type, func.count().label("n")).group_by(Product.article_type)
    return {row.article_type: row.n for row in connection.execute(query)}


def missing(connection: Connection, name: str) -> list[int]:
    """Return the images in state ok that the attribute is asked of and that are unknown or ambiguous.

    Of an unmapped article type it is not known whether the attribute is asked, so only those that something is stated
    of are among them.
    """
    row_id = attribute_id(connection, name)
    reader = Reader(stored_schema(connection, row_id), types=active_types(connection))
    here_too = article_types(connection)
    outside = [word for word in here_too if not reader.applies(word)]
    unmapped = [word for word in here_too if reader.unmapped(word)]
    unknown: ColumnElement[bool] = AnnotationRow.id.is_(None)
    if unmapped:
        unknown &= Product.article_type.not_in(unmapped)
    here = (AnnotationRow.image_id == Image.id) & (AnnotationRow.attribute_id == row_id)
    query = (
        select(Image.id)
        .join(Product, Product.id == Image.product_id)
        .outerjoin(AnnotationRow, here)
        .where(IN_USE, or_(unknown, AnnotationRow.state == "ambiguous"))
        .order_by(Image.id)
    )
    if outside:
        query = query.where(Product.article_type.not_in(outside))
    return list(connection.execute(query).scalars())


# -- annotations -----------------------------------------------------------------------------------


def annotated(connection: Connection, name: str, image_ids: Iterable[int]) -> dict[int, AnnotationRecord]:
    """Return what is known of `image_ids`; an image that is not in the result is unknown."""
    row_id = attribute_id(connection, name)
    reader = Reader(stored_schema(connection, row_id), types=active_types(connection))
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
        .add_columns(Product.split, Product.id)
        .join(Image, Image.id == AnnotationRow.image_id)
        .join(Product, Product.id == Image.product_id)
        .where(IN_USE, or_(AnnotationValue.value_id.is_not(None), AnnotationRow.state == "labelled"))
    )
    image_ids: list[int] = []
    product_ids: list[int] = []
    split: list[int] = []
    ambiguous: list[bool] = []
    weight: list[float] = []
    cells: list[tuple[int, int, float]] = []  # row, column, target
    none_of_them: list[int] = []  # rows
    for _, image_id, state, said_weight, key, certain, share, in_split, product_id in connection.execute(query):
        if not image_ids or image_ids[-1] != image_id:
            image_ids.append(image_id)
            product_ids.append(product_id)
            split.append(SPLITS.index(in_split))
            ambiguous.append(state == "ambiguous")
            weight.append(said_weight)
        if key is None:
            none_of_them.append(len(image_ids) - 1)
        else:
            cells.append((len(image_ids) - 1, column[key], np.nan if multi and not certain and share == 1 else share))
    target = np.full((len(image_ids), labels.size), absent, dtype=np.float32)  # (N, C)
    target[none_of_them] = 0.0
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
        product_ids=np.asarray(product_ids, dtype=np.int64),
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
