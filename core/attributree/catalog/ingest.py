"""Label files into observations: all rows of a file in one transaction, in chunks of bounded size.

`look` has read the file and looked at its images before the transaction begins.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from sqlalchemy import Connection, bindparam, delete, select, update

from ..schema import SPLITS
from .bulk import insert_numbered, one_of
from .declare import declared
from .derive import reader_of
from .engine import chunks
from .lines import refuse
from .look import LabelFile, Look, look_at
from .observe import Log, Voice
from .queries import revision
from .records import IngestSummary, LabelRow, Quarantine
from .resolve import UnknownTexts
from .tables import Image, Product

DEFAULT_SOURCE = "import"
#: What a label file may say of a product.
_TEXTS = ("article_type", "title", "description", "split")
#: What an image's row says of its file, in the order of a `Look`.
_FILE = ("file", "reason", "width", "height", "format", "bytes", "mtime_ns")

_IMAGES = (
    select(Image.id, Image.path, Image.state, Image.digest, *(getattr(Image, name) for name in _FILE), Product.sku)
    .join(Product, Product.id == Image.product_id)
    .where(Image.root == bindparam("root"), one_of(Image.path, "paths"))
)
_PRODUCTS = select(Product.id, Product.sku, *(getattr(Product, name) for name in _TEXTS)).where(
    one_of(Product.sku, "skus")
)


def split_of(sku: str) -> str:
    """Return the split of a product whose label file names none: 70 % train, 15 % val, 15 % test.

    A BLAKE2b hash of the sku decides, so all pictures of a product are on one side, today and in every catalogue.
    """
    share = int.from_bytes(hashlib.blake2b(sku.encode(), digest_size=8).digest(), "big") / 2**64
    return "train" if share < 0.70 else "val" if share < 0.85 else "test"


class _Seen:
    """A set of row ids, one bit each: what this file has said already must fit in memory for any file."""

    def __init__(self) -> None:
        self._bits = np.zeros(1024, dtype=np.uint8)

    def __contains__(self, row_id: int) -> bool:
        byte = row_id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & (1 << (row_id & 7)))

    def update(self, row_ids: Sequence[int]) -> None:
        """Put `row_ids` in."""
        ids = np.asarray(row_ids, dtype=np.int64)
        byte = ids >> 3
        if (most := int(byte.max(initial=0)) + 1) > len(self._bits):
            self._bits = np.concatenate([self._bits, np.zeros(most, dtype=np.uint8)])  # at least doubled
        np.bitwise_or.at(self._bits, byte, (1 << (ids & 7)).astype(np.uint8))


def ingest(connection: Connection, labels: LabelFile, source: str) -> IngestSummary:
    """Store one label file. Raises IngestError; the caller's transaction makes it all or nothing."""
    work = _Ingest(connection, labels, source)
    for rows, looks in labels.chunks():
        work.store(rows, looks)
    return work.finish()


def _state(look: Look) -> str:
    return "ok" if look.reason is None else "quarantined"


@dataclass(slots=True)
class _Picture:
    """An image of the chunk: its row in the database, if any, and what its file makes necessary to change there."""

    id: int | None
    product: str
    look: Look
    columns: dict[str, Any]


@dataclass(slots=True)
class _Texts:
    """A product of the chunk: its row in the database, if any, what stands there, and what shall stand there."""

    id: int | None
    stored: tuple[str, ...]
    wanted: list[str]
    said: set[str] = field(default_factory=set)  # by this chunk


class _Ingest:
    """One file on its way in. What it says of one thing twice must agree, or the first word counts."""

    def __init__(self, connection: Connection, labels: LabelFile, source: str) -> None:
        self.connection = connection
        self.file = labels.file
        self.root = labels.root.as_posix()
        self.labels = labels
        self.source = source
        self.log = Log(connection, "ingest", str(labels.file))
        self.readers = {
            column: reader
            for _, attribute in declared(connection).values()
            for reader in (reader_of(connection, attribute),)
            for column in attribute.columns
        }
        self.unknown = {name: UnknownTexts() for name in self.readers}
        self.undeclared: Counter[str] = Counter()
        self.quarantined: dict[str, str] = {}
        self.rows = self.images_new = self.products_new = 0
        self._moved: set[int] = set()  # products whose article type changed
        self._moved_images: set[int] = set()  # images that went to another product
        self._left: set[str] = set()  # skus that images went away from
        self._said: dict[Hashable, _Seen] = {}  # images and products of which this file has spoken, by what

    def store(self, rows: list[LabelRow], looks: dict[str, Look]) -> None:
        """Store one chunk of rows."""
        pictures = self._pictures(looks)
        given = self._settle_products(rows, pictures)
        products = self._save_products(rows, pictures)
        before = self._save_pictures(pictures, products)
        self._seen("image", "sku").update([i for path in given if (i := pictures[path].id) is not None])
        self._save_observations(rows, pictures, before)
        self.rows += len(rows)

    def finish(self) -> IngestSummary:
        """Derive the annotations and return the summary."""
        for part in chunks(sorted(self._left)):
            used = select(Image.id).where(Image.product_id == Product.id).exists()
            self.connection.execute(delete(Product).where(Product.sku.in_(part), ~used))
        for products in chunks(sorted(self._moved)):
            theirs = select(Image.id).where(Image.product_id.in_(products))
            self._moved_images.update(self.connection.execute(theirs).scalars())
        if self.log.new or self._moved_images:
            self.log.derive(self._moved_images)
        unknown = [v for name, texts in self.unknown.items() for v in texts.report(self.readers[name].attribute)]
        return IngestSummary(
            file=str(self.file),
            source=self.source,
            rows=self.rows,
            images_new=self.images_new,
            products_new=self.products_new,
            observations_new=self.log.new,
            observations_same=self.log.same,
            quarantined=tuple(Quarantine(image, reason) for image, reason in self.quarantined.items()),
            unknown_values=tuple(unknown),
            undeclared=dict(self.undeclared),
            revision=revision(self.connection),
        )

    # -- images ------------------------------------------------------------------------------------

    def _pictures(self, looks: dict[str, Look]) -> dict[str, _Picture]:
        """Return the chunk's images by path, with what must change of their rows."""
        rows = self.connection.execute(_IMAGES, {"root": self.root, "paths": list(looks)})
        stored = {row.path: row for row in rows}
        return {path: self._picture(path, look, stored.get(path)) for path, look in looks.items()}

    def _picture(self, path: str, look: Look, row: Any) -> _Picture:
        """Return the image with the changes that its file makes necessary.

        A picture whose header was fine, but that could not be decoded, stays in quarantine until it changes.
        """
        if look.unchanged and (row is None or (row.bytes, row.mtime_ns) != (look.bytes, look.mtime_ns)):
            # Somebody else has changed the row since we looked.
            look = look_at(self.labels.places, self.labels.root, path, None)
        if (reason := row.reason if look.unchanged else look.reason) is not None:
            self.quarantined[path] = reason
        if row is None:
            return _Picture(None, "", look, {})
        new: dict[str, Any] = {"file": look.file}
        if not look.unchanged:
            new = {"state": _state(look), "digest": None}
            new |= {name: getattr(look, name) for name in _FILE}
        return _Picture(row.id, row.sku, look, {k: v for k, v in new.items() if getattr(row, k) != v})

    def _save_pictures(self, pictures: dict[str, _Picture], products: dict[str, int]) -> frozenset[int]:
        """Store new images and what changed of others; return the ids of those that were there before."""
        new: dict[str, _Picture] = {}
        before = []
        for path, picture in pictures.items():
            if picture.id is None:
                new[path] = picture
                continue
            before.append(picture.id)
            change = dict(picture.columns)
            if picture.id in self._moved_images:
                change["product_id"] = products[picture.product]
            if change:
                self.log.revise()
                self.connection.execute(update(Image).where(Image.id == picture.id).values(change))
        if new:
            self.log.revise()
            rows = [
                (self.root, path, products[picture.product], _state(picture.look), *picture.look[: len(_FILE)])
                for path, picture in new.items()
            ]
            ids = insert_numbered(self.connection, Image, ("root", "path", "product_id", "state", *_FILE), rows)
            for picture, image_id in zip(new.values(), ids, strict=True):
                picture.id = image_id
            self.images_new += len(new)
        return frozenset(before)

    # -- products ----------------------------------------------------------------------------------

    def _settle_products(self, rows: list[LabelRow], pictures: dict[str, _Picture]) -> dict[str, str]:
        """Settle which product each picture shows; return the skus that rows gave, by path."""
        given: dict[str, str] = {}
        before: dict[str, str] = {path: picture.product for path, picture in pictures.items()}
        for row in rows:
            picture = pictures[row.image]
            if row.sku:
                earlier = given.setdefault(row.image, row.sku)
                fixed = picture.id is not None and picture.id in self._seen("image", "sku")
                if earlier != row.sku or (fixed and before[row.image] != row.sku):
                    was = earlier if earlier != row.sku else before[row.image]
                    problem = f"image {row.image!r} belongs to {was!r} in an earlier row, here to {row.sku!r}"
                    raise refuse(self.file, problem, row=row.line, column="sku")
                picture.product = row.sku
            elif not picture.product:
                picture.product = given.get(row.image, row.image)
        for path, picture in pictures.items():
            if picture.id is not None and picture.product != before[path]:
                self._moved_images.add(picture.id)
                self._left.add(before[path])
                self.log.revise()
        return given

    def _save_products(self, rows: list[LabelRow], pictures: dict[str, _Picture]) -> dict[str, int]:
        """Store what the rows say of their products; return the products' ids by sku."""
        skus = list(dict.fromkeys(pictures[row.image].product for row in rows))
        stored = self.connection.execute(_PRODUCTS, {"skus": skus})
        products = {sku: _Texts(row_id, tuple(texts), texts) for row_id, sku, *texts in stored}
        for sku in skus:
            if sku not in products:
                products[sku] = _Texts(None, (), ["", "", "", split_of(sku)])
        for row in rows:
            self._hear(row, products[pictures[row.image].product], pictures[row.image].product)
        new = {sku: product for sku, product in products.items() if product.id is None}
        changed = [p for p in products.values() if p.id is not None and tuple(p.wanted) != p.stored]
        if new or changed:
            self.log.revise()
        if new:
            rows_new = [(sku, *product.wanted) for sku, product in new.items()]
            ids_new = insert_numbered(self.connection, Product, ("sku", *_TEXTS), rows_new)
            for product, row_id in zip(new.values(), ids_new, strict=True):
                product.id = row_id
            self.products_new += len(new)
        if changed:
            assign: dict[str, Any] = {name: bindparam(f"new_{name}") for name in _TEXTS}
            self.connection.execute(
                update(Product).where(Product.id == bindparam("row")).values(assign),
                [{"row": p.id, **{f"new_{k}": v for k, v in zip(_TEXTS, p.wanted, strict=True)}} for p in changed],
            )
            self._moved.update(p.id for p in changed if p.id is not None and p.wanted[0] != p.stored[0])
        ids = {sku: product.id for sku, product in products.items() if product.id is not None}
        for what in {what for product in products.values() for what in product.said}:
            self._seen("product", what).update([ids[sku] for sku, product in products.items() if what in product.said])
        return ids

    def _hear(self, row: LabelRow, product: _Texts, sku: str) -> None:
        """Note what a row says of its product. Raises IngestError if two rows name two splits."""
        for position, text in enumerate((row.article_type, row.title, row.description)):
            name = _TEXTS[position]
            # The first word of a file counts: a last one would flip back and forth on every ingest.
            if text and not self._heard(product, name):
                product.said.add(name)
                product.wanted[position] = text
        if row.split:
            for other in SPLITS:
                if other != row.split and self._heard(product, other):
                    problem = f"product {sku!r} is in {other} in an earlier row, here in {row.split}"
                    raise refuse(self.file, problem, row=row.line, column="split")
            product.said.add(row.split)
            product.wanted[-1] = row.split

    def _heard(self, product: _Texts, what: str) -> bool:
        return what in product.said or (product.id is not None and product.id in self._seen("product", what))

    # -- rows --------------------------------------------------------------------------------------

    def _save_observations(self, rows: list[LabelRow], pictures: dict[str, _Picture], before: frozenset[int]) -> None:
        """Store what the rows say of their images, `before` of which have been there already."""
        ids = {path: picture.id for path, picture in pictures.items() if picture.id is not None}
        by_voice: dict[Voice, list[LabelRow]] = {}
        for row in rows:
            by_voice.setdefault((row.source or self.source, row.annotator or None), []).append(row)
        for voice, theirs in by_voice.items():
            self._save_voice(voice, theirs, ids, before)
        self._count(rows)

    def _save_voice(self, voice: Voice, rows: list[LabelRow], ids: dict[str, int], before: frozenset[int]) -> None:
        columns = {column for row in rows for column in row.labels}
        seen = {column: self._seen(voice, column) for column in columns}
        standing = self.log.standing(voice, sorted(before), columns) if columns and before else {}
        said: dict[tuple[int, str], str] = {}
        agreed: set[tuple[int, str]] = set()
        for row in rows:
            image_id = ids[row.image]
            for column, raw in row.labels.items():
                key = (image_id, column)
                stands = standing.get(key)
                if stands == raw:
                    self.log.same += 1
                    agreed.add(key)
                elif stands is not None and (key in said or key in agreed or image_id in seen[column]):
                    problem = f"the same image has {stands!r} in an earlier row, here {raw!r}"
                    hint = "; give other opinions another --source"
                    raise refuse(self.file, problem + hint, row=row.line, column=column)
                else:
                    said[key] = standing[key] = raw
        shown = [ids[row.image] for row in rows]
        for column, spoken in seen.items():
            spoken.update([image_id for image_id, row in zip(shown, rows, strict=True) if column in row.labels])
        self.log.append(voice, said)

    def _count(self, rows: list[LabelRow]) -> None:
        """Count what no attribute reads, and what no schema can read."""
        for column, cells in Counter(chain.from_iterable(row.labels for row in rows)).items():
            if column not in self.readers:
                self.undeclared[column] += cells
        for name, reader in self.readers.items():
            for row in rows:
                if (raw := row.labels.get(name)) is not None and (reading := reader.read(raw)).unknown:
                    self.unknown[name].add(reading)

    def _seen(self, of: Hashable, what: str) -> _Seen:
        return self._said.setdefault((of, what), _Seen())
