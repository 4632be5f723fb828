"""Keeps annotations what the observations mean: the bulk side of `resolve`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    Select,
    SQLColumnExpression,
    bindparam,
    case,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute

from ..article_types import EXACT, ArticleTypes
from ..database.bulk import insert_numbered, insert_rows
from ..database.engine import chunks, notify
from ..database.tables import (
    AnnotationRow,
    AnnotationValue,
    AttributeValue,
    Image,
    LabelColumn,
    Observation,
    Product,
    ProductObservation,
    Revision,
    VoiceRow,
)
from ..schema import Attribute
from .resolve import Annotation, Reader, Sources
from .values import todays_keys, value_ids

#: The cause of a revision that changes the precedence of sources; its detail is that in JSON.
SOURCES = "sources"
#: The cause of a revision that changes the article types; its detail is their tables in JSON.
ARTICLE_TYPES = "article types"
#: Where observations of images stand, and those of products.
Table = type[Observation] | type[ProductObservation]
TABLES: Final[tuple[Table, ...]] = (Observation, ProductObservation)
#: Images whose observations are looked at together.
_CHUNK = 2000


class ImageTexts(NamedTuple):
    """The newest word of every source on one image: (source, raw) pairs, those who spoke first before the others."""

    image_id: int
    article_type: str
    split: str
    state: str
    texts: tuple[tuple[str, str], ...]


def new_revision(connection: Connection, cause: str, detail: str) -> int:
    """Store a revision and return its number."""
    statement = insert(Revision).values(cause=cause, detail=detail).returning(Revision.id)
    revision: int = connection.execute(statement).scalar_one()
    notify(connection)  # heard when, and only if, the transaction commits
    return revision


def active_sources(connection: Connection) -> Sources:
    """Return the precedence of sources that the annotations follow."""
    stored = _last_detail(connection, SOURCES)
    return Sources() if stored is None else Sources.configured(json.loads(stored))


def active_types(connection: Connection) -> ArticleTypes:
    """Return the article types that the annotations follow; those of a catalogue that never had any are `EXACT`."""
    stored = _last_detail(connection, ARTICLE_TYPES)
    return EXACT if stored is None else _read_types(stored)


#: Nearly every transaction asks for the same ones.
_read_types = lru_cache(4)(ArticleTypes.read)


def _last_detail(connection: Connection, cause: str) -> str | None:
    query = select(Revision.detail).where(Revision.cause == cause).order_by(Revision.id.desc()).limit(1)
    return connection.execute(query).scalar()


def observed_images(connection: Connection, columns: Sequence[str]) -> Sequence[int]:
    """Return the ids, ascending, of all images that anything was said about in one of `columns`."""
    query = select(Observation.image_id).where(in_columns(columns)).distinct()
    found = connection.execute(query.order_by(Observation.image_id)).scalars().all()
    of_products = select(Image.id).where(
        Image.product_id.in_(select(ProductObservation.product_id).where(in_columns(columns, ProductObservation)))
    )
    more = connection.execute(of_products).scalars().all()
    return sorted({*found, *more}) if more else found


def in_columns(columns: Sequence[str], table: Table = Observation) -> ColumnElement[bool]:
    """Return the condition that an observation, of an image or a product, stands in one of `columns`."""
    return table.column_id.in_(select(LabelColumn.id).where(LabelColumn.name.in_(columns)))


def speaks_of_image(table: Table) -> ColumnElement[bool]:
    """Return the condition that an observation in `table` is one of an image, or of the product that it shows."""
    if table is ProductObservation:
        return Image.product_id == ProductObservation.product_id
    return Image.id == Observation.image_id


def image_texts(
    connection: Connection, columns: Sequence[str], image_ids: Sequence[int] | None = None
) -> Iterator[list[ImageTexts]]:
    """Yield what was said in `columns`, image by image in chunks: of `image_ids`, ascending, or of all images.

    Where one source speaks in several columns its newest word counts, at one revision the one in the first column. What
    a voice says of a product it says of all its pictures, but for those of which it says something by themselves.
    """
    everything = image_ids is None
    own, shared = (_spoken(columns, table) for table in TABLES)
    of_products = connection.execute(select(ProductObservation.raw).limit(1)).first() is not None
    for ids in chunks(observed_images(connection, columns) if image_ids is None else image_ids, _CHUNK):
        rows = connection.execute(own.where(_among(Observation.image_id, ids, everything))).all()
        said = {image_id: list(group) for image_id, group in groupby(rows, key=itemgetter(0))}
        if not of_products:
            yield [_said(group) for group in said.values()]
            continue
        rows = connection.execute(shared.where(_among(Image.id, ids, everything))).all()
        heard = {image_id: list(group) for image_id, group in groupby(rows, key=itemgetter(0))}
        yield [_said(said.get(i, []), heard.get(i, ())) for i in sorted(said.keys() | heard.keys())]


def _spoken(columns: Sequence[str], table: Table) -> Select[*tuple[Any, ...]]:
    """Return the query for what was said of images or products in `columns`, by image and the newest last."""
    return (
        select(Image.id, table.raw, VoiceRow.source, VoiceRow.annotator)
        .add_columns(Product.article_type, Product.split, Image.state)
        .select_from(table)
        .join(LabelColumn, LabelColumn.id == table.column_id)
        .join(VoiceRow, VoiceRow.id == table.voice_id)
        .join(Image, speaks_of_image(table))
        .join(Product, Product.id == Image.product_id)
        .where(in_columns(columns, table))
        .order_by(Image.id, *newest_last([columns], table))
    )


def newest_last(attributes: Iterable[Sequence[str]], table: Table = Observation) -> list[SQLColumnExpression[Any]]:
    """Return the order of observations in which the newest word comes last; `attributes` are the columns of each.

    At one revision that is the word in an attribute's first column, today's name, or else in the next one. Apart from
    that it is columns and voices in the order in which the catalogue met them.
    """
    former = {column: -place for columns in attributes for place, column in enumerate(columns) if place}
    places = [case(former, value=LabelColumn.name, else_=0)] if former else []
    return [table.revision, *places, table.column_id, table.voice_id]


def _said(rows: Sequence[Any], of_product: Sequence[Any] = ()) -> ImageTexts:
    """Return what was said of an image; `of_product` are the rows of what was said of its product."""
    image_id, raw, source, _, article_type, split, state = (rows or of_product)[0]
    if len(rows) + len(of_product) == 1:
        return ImageTexts(image_id, article_type, split, state, ((source, raw),))
    newest = {(source, annotator): raw for _, raw, source, annotator, *_ in rows}
    if of_product:
        shared = {(source, annotator): raw for _, raw, source, annotator, *_ in of_product}
        newest = shared | {voice: raw for voice, raw in newest.items() if raw or voice not in shared}
    return ImageTexts(image_id, article_type, split, state, tuple((source, raw) for (source, _), raw in newest.items()))


def _among(column: InstrumentedAttribute[int], ids: Sequence[int], everything: bool) -> ColumnElement[bool]:
    # A range is one seek; it is right only if no id between the ends is left out on purpose.
    return column.between(ids[0], ids[-1]) if everything else column.in_(ids)


def reader_of(
    connection: Connection, attribute: Attribute, sources: Sources | None = None, types: ArticleTypes | None = None
) -> Reader:
    """Return a reader of `attribute` that asks the normalizer which the catalogue was opened with.

    It goes by the precedence `sources` and the article `types`, by default those that the annotations follow.
    """
    normalizer = connection.get_execution_options().get("attributree_normalizer")
    return Reader(attribute, sources or active_sources(connection), normalizer, types or active_types(connection))


def reads_as_declared(connection: Connection, attribute: Attribute) -> bool:
    """Return whether those are asked about unknown texts who were asked when `attribute` was declared."""
    normalizer = connection.get_execution_options().get("attributree_normalizer")
    return attribute.normalized_by == (normalizer.who(attribute.name) if normalizer else "")


def derive(
    connection: Connection,
    attribute_id: int,
    attribute: Attribute,
    revision: int,
    image_ids: Sequence[int] | None = None,
    former: Mapping[str, tuple[str, ...]] | None = None,
) -> int:
    """Bring the annotations of one attribute up to date; return how many changed.

    `attribute` is its schema as it is read: with what the catalogue remembers of former keys and names. `image_ids`,
    ascending, limits the work to images that something may have changed for; None is all of them. Annotations that
    mean the same as before keep their revision; `former` are the heirs of keys before the schema changed, by which a
    rename, merge or split that is taken back is known.
    """
    reader = reader_of(connection, attribute)
    values = value_ids(connection, attribute_id)
    today = todays_keys(connection, attribute_id)
    heirs = {key: today[value_id] for key, value_id in values.items()}
    before = {key: (key,) for key in values} | dict(former or {})
    changed = 0
    silent = set(image_ids or ())
    for part in image_texts(connection, attribute.columns, image_ids):
        if not part:
            continue
        wanted = {said.image_id: reader.annotate(said.article_type, said.texts) for said in part}
        changed += _store(connection, attribute_id, values, revision, wanted, (heirs, before), image_ids is None)
        silent.difference_update(wanted)
    for ids in chunks(sorted(silent)):  # what was said of a product that they do not show any more
        changed += _store(connection, attribute_id, values, revision, dict.fromkeys(ids), (heirs, before), False)
    return changed


def _store(
    connection: Connection,
    attribute_id: int,
    values: dict[str, int],
    revision: int,
    wanted: dict[int, Annotation | None],
    heirs: tuple[Mapping[str, tuple[str, ...]], Mapping[str, tuple[str, ...]]],
    everything: bool,
) -> int:
    """Store what changed of `wanted`, by image; `heirs` of all keys today and before the schema changed."""
    here = _among(AnnotationRow.image_id, list(wanted), everything)
    stored = _stored(connection, annotation_rows(attribute_id).where(here))
    today, before = heirs
    now = {image: annotation for image, annotation in wanted.items() if annotation is not None}
    fresh = [image for image in now if image not in stored]
    gone = [row_id for image, (row_id, _) in stored.items() if image not in now]
    moved, renamed = dict[int, int](), dict[int, int]()  # row ids by image
    for image, (row_id, was) in stored.items():
        if image in now and now[image] != was:
            # A value that was renamed, merged or split says what it said: nothing new to learn, so no new revision.
            same = now[image] == was.under(today) or was == now[image].under(before)
            (renamed if same else moved)[image] = row_id
    row_ids = moved | renamed
    values_of, row = AnnotationValue.annotation_id == bindparam("row"), AnnotationRow.id == bindparam("row")
    _for_each(connection, delete(AnnotationValue).where(values_of), [{"row": i} for i in (*row_ids.values(), *gone)])
    _for_each(connection, delete(AnnotationRow).where(row), [{"row": row_id} for row_id in gone])
    change = update(AnnotationRow).where(row)
    restated = [image for image in renamed if now[image].state != stored[image][1].state]
    _for_each(connection, change, [{"row": renamed[image], "state": now[image].state} for image in restated])
    said = [{"row": row_id, "state": now[i].state, "weight": now[i].weight} for i, row_id in moved.items()]
    _for_each(connection, change.values(revision=revision), said)
    columns = ("image_id", "attribute_id", "state", "weight", "revision")
    added = [(image, attribute_id, now[image].state, now[image].weight, revision) for image in fresh]
    row_ids |= zip(fresh, insert_numbered(connection, AnnotationRow, columns, added), strict=True)
    rows = []
    for image, row_id in row_ids.items():
        certain, shares = now[image].certain, dict(now[image].shares)
        rows += [(row_id, values[key], key in certain, shares.get(key, 1.0)) for key in now[image].values]
    insert_rows(connection, AnnotationValue, ("annotation_id", "value_id", "certain", "share"), rows)
    return len(row_ids) + len(gone)


def annotation_rows(attribute_id: int) -> Select[*tuple[Any, ...]]:
    """Return the query for annotations with their values, one row a value, by image."""
    return (
        select(
            AnnotationRow.id,
            AnnotationRow.image_id,
            AnnotationRow.state,
            AnnotationRow.weight,
            AttributeValue.key,
            AnnotationValue.certain,
            AnnotationValue.share,
        )
        .outerjoin(AnnotationValue, AnnotationValue.annotation_id == AnnotationRow.id)
        .outerjoin(AttributeValue, AttributeValue.id == AnnotationValue.value_id)
        .where(AnnotationRow.attribute_id == attribute_id)
        .order_by(AnnotationRow.image_id, AttributeValue.class_index)
    )


def _stored(connection: Connection, query: Select[*tuple[Any, ...]]) -> dict[int, tuple[int, Annotation]]:
    """Return the annotations that `annotation_rows` finds by image: (row id, annotation)."""
    found = {}
    for image_id, group in groupby(connection.execute(query), key=lambda row: row.image_id):
        rows = list(group)
        said = frozenset(row.key for row in rows if row.key is not None)
        certain = frozenset(row.key for row in rows if row.certain)
        shares = tuple(sorted((row.key, row.share) for row in rows if row.share is not None and row.share < 1))
        found[image_id] = (rows[0].id, Annotation(rows[0].state, said, certain, rows[0].weight, shares))
    return found


def _for_each(connection: Connection, statement: Executable, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, rows)
