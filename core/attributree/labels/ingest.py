"""Label files into observations: all rows of a file in one transaction, in chunks of bounded size.

`look` has read the file and looked at its images before the transaction begins.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from itertools import compress, repeat
from operator import itemgetter
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, bindparam, delete, select, update

from ..database.bulk import insert_numbered, one_of
from ..database.engine import chunks
from ..database.tables import Image, Product
from ..schema import SPLITS
from .annotations import reader_of
from .lines import refuse
from .look import LabelFile, Look, Looks, look_at
from .names import Voice, add_root, root_id
from .observations import Log, Texts
from .queries import revision
from .records import IngestSummary, LabelRows, Quarantine
from .resolve import UnknownTexts
from .schemas import declared

DEFAULT_SOURCE = "import"
#: What a label file may say of a product, besides its split.
_WORDS = ("article_type", "title", "description")
#: What an image's row says of its file besides where it is.
_FILE = ("reason", "bytes", "mtime_ns")

_IMAGES = (
    select(
        Image.id,
        Image.path,
        Image.state,
        Image.file,
        Image.digest,
        Image.product_id,
        *(getattr(Image, name) for name in _FILE),
        Product.sku,
    )
    .join(Product, Product.id == Image.product_id)
    .where(Image.root_id == bindparam("root"), one_of(Image.path, "paths"))
)
_PRODUCTS = select(Product.id, Product.sku, *(getattr(Product, name) for name in _WORDS), Product.split).where(
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
        self._bits = bytearray(1024)

    def __contains__(self, row_id: int) -> bool:
        byte = row_id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & (1 << (row_id & 7)))

    def update(self, row_ids: Sequence[int]) -> None:
        """Put `row_ids` in."""
        ids = np.asarray(row_ids, dtype=np.int64)
        byte = ids >> 3
        if (most := int(byte.max(initial=0)) + 1) > len(self._bits):
            self._bits += bytes(most)  # at least doubled
        np.bitwise_or.at(np.frombuffer(self._bits, dtype=np.uint8), byte, (1 << (ids & 7)).astype(np.uint8))


def ingest(connection: Connection, labels: LabelFile, source: str) -> IngestSummary:
    """Store one label file. Raises IngestError; the caller's transaction makes it all or nothing."""
    work = _Ingest(connection, labels, source)
    for rows, looks in labels.chunks():
        work.store(rows, looks)
    return work.finish()


def _state(reason: str | None) -> str:
    return "ok" if reason is None else "quarantined"


class _Ingest:
    """One file on its way in. What it says of one thing twice must agree, or the first word counts."""

    def __init__(self, connection: Connection, labels: LabelFile, source: str) -> None:
        self.connection = connection
        self.file = labels.file
        self.root = labels.root.as_posix()
        self.root_id = root_id(connection, self.root)  # None if no image was ever there
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

    def store(self, rows: LabelRows, looks: Looks) -> None:
        """Store one chunk of rows, and what there is at the places of its images."""
        known = self._known(looks.path)
        shown = self._settle_products(rows, looks.path, known)
        products = self._save_products(rows, [shown[path] for path in rows.image])
        ids = self._save_images(looks, known, {path: products[sku] for path, sku in shown.items()})
        self._seen("image", "sku").update([ids[path] for path, sku in zip(rows.image, rows.sku, strict=True) if sku])
        self._save_observations(rows, [ids[path] for path in rows.image], sorted(row.id for row in known.values()))
        self._count(rows)
        self.rows += len(rows.lines)

    def finish(self) -> IngestSummary:
        """Derive the annotations and return the summary."""
        for part in chunks(sorted(self._left)):
            used = select(Image.id).where(Image.product_id == Product.id).exists()
            self.connection.execute(delete(Product).where(Product.sku.in_(part), ~used))
        for products in chunks(sorted(self._moved)):
            theirs = select(Image.id).where(Image.product_id.in_(products))
            self._moved_images.update(self.connection.execute(theirs).scalars())
        if self.log.new or self._moved_images:
            self.log.finish(self._moved_images)
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

    def _known(self, paths: Sequence[str]) -> dict[str, Row[Any]]:
        """Return the rows of the chunk's images that are in the catalogue, by path."""
        if self.root_id is None:
            return {}
        rows = self.connection.execute(_IMAGES, {"root": self.root_id, "paths": paths}).all()
        return {row.path: row for row in rows}

    def _save_images(self, looks: Looks, known: Mapping[str, Row[Any]], products: Mapping[str, int]) -> dict[str, int]:
        """Store new images and what changed of the known ones; return the ids of all. `products` is by path too."""
        paths, quarantined = looks.path, dict[str, str | None]()
        if known or any(looks.unchanged):
            looks = self._save_known(looks, known, products, quarantined)
        quarantined.update(zip(looks.path, looks.reason, strict=True))
        self.quarantined |= {path: reason for path in paths if (reason := quarantined[path]) is not None}
        ids = {path: row.id for path, row in known.items()}
        if looks.path:
            self.log.revise()
            columns: dict[str, Sequence[Any]] = {
                "path": looks.path,
                "product_id": [products[path] for path in looks.path],
                "state": [_state(reason) for reason in looks.reason],
                "file": [*map(self._elsewhere, looks.path, looks.file)],
                **{name: getattr(looks, name) for name in _FILE},
            }
            if self.root_id is None:
                self.root_id = add_root(self.connection, self.root)
            numbered = insert_numbered(self.connection, Image, columns, root_id=self.root_id)
            ids |= zip(looks.path, numbered, strict=True)
            self.images_new += len(looks.path)
        return ids

    def _save_known(
        self,
        looks: Looks,
        known: Mapping[str, Row[Any]],
        products: Mapping[str, int],
        quarantined: dict[str, str | None],
    ) -> Looks:
        """Store what changed of known images, with the reason in `quarantined`; return what is seen of the new ones."""
        new = {}
        for path, look in looks.each().items():
            row = known.get(path)
            if look.unchanged and (row is None or (row.bytes, row.mtime_ns) != (look.bytes, look.mtime_ns)):
                # Somebody else has changed the row since we looked.
                look = look_at(self.labels.places, self.labels.root, path, None)
            if row is None:
                new[path] = look
            else:
                self._save_change(row, look, products[path])
                # One whose header was fine, but that could not be decoded, stays in quarantine until it changes.
                quarantined[path] = row.reason if look.unchanged else look.reason
        return Looks.of(new)

    def _elsewhere(self, path: str, file: str) -> str | None:
        """Return where an image's path leads, None if just there below the images root."""
        return None if file == f"{self.root}/{path}" else file

    def _save_change(self, row: Row[Any], look: Look, product: int) -> None:
        """Store what changed of an image: its file, or the product that it shows."""
        now: dict[str, Any] = {"product_id": product}
        if not look.unchanged:
            now |= {"state": _state(look.reason), "digest": None, **{name: getattr(look, name) for name in _FILE}}
        now["file"] = self._elsewhere(row.path, look.file)
        change = {name: value for name, value in now.items() if getattr(row, name) != value}
        if change:
            self.log.revise()
            self.connection.execute(update(Image).where(Image.id == row.id).values(change))

    # -- products ----------------------------------------------------------------------------------

    def _settle_products(self, rows: LabelRows, looks: Sequence[str], known: Mapping[str, Row[Any]]) -> dict[str, str]:
        """Return the sku of the product that each image shows, by path: what a row says, what stands, or the path."""
        given: dict[str, str] = {}
        fixed = self._seen("image", "sku")
        for position, (path, sku) in enumerate(zip(rows.image, rows.sku, strict=True)):
            if sku:
                was = given.setdefault(path, sku)
                row = known.get(path)
                if was == sku and row is not None and row.sku != sku and row.id in fixed:
                    was = row.sku
                if was != sku:
                    problem = f"image {path!r} belongs to {was!r} in an earlier row, here to {sku!r}"
                    raise refuse(self.file, problem, row=rows.lines[position], column="sku")
        shown = dict(zip(looks, map(given.get, looks, looks), strict=True))
        for path, row in known.items():
            shown[path] = given.get(path, row.sku)
            if shown[path] != row.sku:
                self._moved_images.add(row.id)
                self._left.add(row.sku)
        return shown

    def _save_products(self, rows: LabelRows, skus: Sequence[str]) -> dict[str, int]:
        """Store what the rows say of their products, whose `skus` these are; return the products' ids by sku."""
        wanted = dict.fromkeys(skus)
        stored = {row.sku: row for row in self.connection.execute(_PRODUCTS, {"skus": list(wanted)}).all()}
        said = {name: self._first_words(name, skus, getattr(rows, name), stored) for name in _WORDS}
        said["split"] = self._splits(rows, skus, stored)
        ids = {sku: row.id for sku, row in stored.items()}
        self._save_changes(stored, said)
        new = [sku for sku in wanted if sku not in stored]
        if new:
            self.log.revise()
            named = said["split"]
            columns = {name: [*map(said[name].get, new, repeat(""))] for name in _WORDS}
            columns["split"] = [named.get(sku) or split_of(sku) for sku in new]
            ids |= zip(new, insert_numbered(self.connection, Product, {"sku": new, **columns}), strict=True)
            self.products_new += len(new)
        for name in _WORDS:
            self._seen("product", name).update([ids[sku] for sku in said[name]])
        for split in SPLITS:
            self._seen("product", split).update([ids[sku] for sku, its in said["split"].items() if its == split])
        return ids

    def _first_words(
        self, name: str, skus: Sequence[str], texts: Sequence[str], stored: Mapping[str, Row[Any]]
    ) -> dict[str, str]:
        """Return what this chunk is the first of the file to say of products, by sku.

        The first word of a file counts: a last one would flip back and forth on every ingest.
        """
        if not any(texts):
            return {}
        heard = self._seen("product", name)
        first: dict[str, str] = {}
        for sku, text in zip(skus, texts, strict=True):
            if text and sku not in first:
                row = stored.get(sku)
                if row is None or getattr(row, name) == text or row.id not in heard:
                    first[sku] = text
        return first

    def _splits(self, rows: LabelRows, skus: Sequence[str], stored: Mapping[str, Row[Any]]) -> dict[str, str]:
        """Return the splits that rows name, by sku. Raises IngestError if two rows name two of one product."""
        said: dict[str, str] = {}
        for position, (sku, split) in enumerate(zip(skus, rows.split, strict=True)):
            if split:
                was = said.setdefault(sku, split)
                if sku in stored:
                    was = next((s for s in SPLITS if stored[sku].id in self._seen("product", s)), was)
                if was != split:
                    problem = f"product {sku!r} is in {was} in an earlier row, here in {split}"
                    raise refuse(self.file, problem, row=rows.lines[position], column="split")
        return said

    def _save_changes(self, stored: Mapping[str, Row[Any]], said: Mapping[str, Mapping[str, str]]) -> None:
        """Store what rows say of known products that does not stand there; `said` is by column and sku."""
        changes = []
        news = {
            sku: row
            for name, texts in said.items()
            for sku, text in texts.items()
            if (row := stored.get(sku)) is not None and getattr(row, name) != text
        }
        for sku, row in news.items():
            now = {name: texts.get(sku, getattr(row, name)) for name, texts in said.items()}
            changes.append({"row": row.id, **{f"new_{name}": text for name, text in now.items()}})
            if now["article_type"] != row.article_type:
                self._moved.add(row.id)
        if changes:
            self.log.revise()
            assign: dict[str, Any] = {name: bindparam(f"new_{name}") for name in said}
            self.connection.execute(update(Product).where(Product.id == bindparam("row")).values(assign), changes)

    # -- labels ------------------------------------------------------------------------------------

    def _save_observations(self, rows: LabelRows, ids: Sequence[int], before: Sequence[int]) -> None:
        """Store what the rows say of their images, whose `ids` these are; `before` have been there already."""
        voices = [(s or self.source, a or None) for s, a in zip(rows.source, rows.annotator, strict=True)]
        for voice in dict.fromkeys(voices):
            self._save_voice(voice, [v == voice for v in voices], rows, ids, before)

    def _save_voice(
        self, voice: Voice, theirs: Sequence[bool], rows: LabelRows, ids: Sequence[int], before: Sequence[int]
    ) -> None:
        """Store what one voice says: the rows that are `theirs`."""
        columns = ((column, [*compress(texts, theirs)]) for column, texts in rows.labels.items())
        labels = {column: texts for column, texts in columns if any(texts)}
        ids, lines = [*compress(ids, theirs)], [*compress(rows.lines, theirs)]
        standing = self.log.standing(voice, before, labels) if labels and before else defaultdict(dict)
        once = len({*ids}) == len(ids)
        said: Texts = defaultdict(dict)
        against: list[tuple[int, str, str]] = []
        for column, texts in labels.items():
            if not (stands := standing[column]) and once:
                said[column] = {image: raw for image, raw in zip(ids, texts, strict=True) if raw}
                continue
            agreed: set[int] = set()
            seen = self._seen(voice, column)
            for position, (image, raw) in enumerate(zip(ids, texts, strict=True)):
                if not raw:
                    continue
                stood = stands.get(image)
                if stood == raw:
                    self.log.same += 1
                    agreed.add(image)
                elif stood is not None and (image in said[column] or image in agreed or image in seen):
                    problem = f"the same image has {stood!r} in an earlier row, here {raw!r}"
                    against.append((position, column, problem + "; give other opinions another --source"))
                    break
                else:
                    said[column][image] = stands[image] = raw
        if against:
            position, column, problem = min(against, key=itemgetter(0))
            raise refuse(self.file, problem, row=lines[position], column=column)
        for column, texts in labels.items():
            self._seen(voice, column).update([*compress(ids, texts)])
        self.log.append(voice, said)

    def _count(self, rows: LabelRows) -> None:
        """Count what no attribute reads, and what no schema can read."""
        for column, texts in rows.labels.items():
            if column not in self.readers:
                self.undeclared[column] += len(texts) - texts.count("")
                continue
            for raw, cells in Counter(filter(None, texts)).items():
                if (reading := self.readers[column].read(raw)).unknown:
                    self.unknown[column].add(reading, cells)

    def _seen(self, of: Hashable, what: str) -> _Seen:
        return self._said.setdefault((of, what), _Seen())
