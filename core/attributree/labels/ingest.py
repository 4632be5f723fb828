"""Label files into observations: all rows of a file in one transaction, in chunks of bounded size.

`label_file` has checked the file and inspected its images before the transaction begins.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, or_, select, update

from ..database.bulk import insert_numbered
from ..database.engine import chunks
from ..database.tables import Image, Product, ProductObservation, ProductPrediction
from ..errors import IngestError
from ..images.addresses import NOT_ALLOWED, is_remote
from ..jsonable import printable
from ..schema import sku_of
from .annotations import reader_of
from .label_file import ImageState, LabelFile, file_of, key
from .lines import refuse
from .names import Voice
from .observations import ObservationWriter, Texts
from .queries import revision
from .records import IngestSummary, LabelRows, Quarantine
from .resolve import UnknownTexts
from .roots import add_remote, add_root, remote_id, root_id
from .schemas import declared

#: What a label file may say of a product, besides its split.
_WORDS = ("article_type", "title", "description")


def split_of(sku: str) -> str:
    """Return the split of a product whose label file names none: 70 % train, 15 % val, 15 % test.

    A BLAKE2b hash of the sku decides, so all pictures of a product are on one side, today and in every catalogue.
    """
    share = int.from_bytes(hashlib.blake2b(sku.encode(), digest_size=8).digest(), "big") / 2**64
    return "train" if share < 0.70 else "val" if share < 0.85 else "test"


def ingest(connection: Connection, labels: LabelFile, source: str) -> IngestSummary:
    """Store one label file. Raises IngestError; the caller's transaction makes it all or nothing."""
    work = _FileIngest(connection, labels, source)
    for rows in labels.rows():
        work.store(rows)
    if work.revised:
        for rows in labels.rows():
            work.refuse_overruled(rows)
    return work.finish()


def _state(reason: str | None) -> str:
    return "ok" if reason is None else "quarantined"


class _FileIngest:
    """One file on its way in. What it says of one thing twice must agree, or the first word counts."""

    def __init__(self, connection: Connection, labels: LabelFile, source: str) -> None:
        self.connection = connection
        self.labels = labels
        self.source = source
        # Those of files, and of what is behind URLs; None if no image was ever there.
        self.root_ids = {False: root_id(connection, labels.root), True: remote_id(connection)}
        self.writer = ObservationWriter(connection, "ingest", printable(str(labels.file)))
        self.readers = {
            column: reader
            for _, attribute in declared(connection).values()
            for reader in (reader_of(connection, attribute),)
            for column in attribute.columns
        }
        self.unknown = {name: UnknownTexts() for name in self.readers}
        self.undeclared: Counter[str] = Counter()
        self.quarantined: dict[str, str] = {}
        self.rows = self.cells = self.images_new = self.remote_new = self.products_new = 0
        self._retyped: set[int] = set()  # products whose article type changed
        self._moved: set[int] = set()  # images that went to another product
        self._joined: array[int] = array("q")  # new images
        self._spoken_of: set[int] = set()  # products of rows without an image
        self._left: dict[str, int] = {}  # skus and ids of products that images went away from
        self.revised = False  # a cell of an image with several rows says something else than before the file
        # What earlier rows said: of images with several rows, their skus; of products, the ids and splits.
        self._repeated: set[str] = set()  # paths of this chunk's images with several rows
        self._skus: dict[str, str] = {}
        self._products: dict[str, set[int]] = {name: set() for name in _WORDS}
        self._splits: dict[str, str] = {}
        # And of products of several rows without an image, their cells.
        self._cells: dict[tuple[Voice, str, int], str] = {}

    def store(self, rows: LabelRows) -> None:
        """Store one chunk of rows, and what there is at the places of its images."""
        self._count(rows)
        self.rows += len(rows.lines)
        pictured = [position for position, path in enumerate(rows.image) if path]
        if len(pictured) < len(rows.lines):
            self._store_of_products(rows.take([position for position, path in enumerate(rows.image) if not path]))
            rows = rows.take(pictured)
        if not pictured:
            return
        rows, known, states = self._named(rows)
        shown = self._shown(rows, known)
        products = self._save_products(rows, [shown[path] for path in rows.image])
        ids = self._save_images(known, states, {path: products[sku] for path, sku in shown.items()})
        before = sorted(row.id for row in known.values())
        self._save_observations(rows, [ids[path] for path in rows.image], before)
        self._joined.extend(ids[path] for path in shown if path not in known)

    def finish(self) -> IngestSummary:
        """Derive the annotations and return the summary."""
        if self.connection.execute(select(ProductObservation.product_id).limit(1)).first():
            self.writer.touch([*self._joined, *self._moved])
            self.writer.touch_moved(sorted(self._moved), sorted(self._left.values()))
        for part in chunks(sorted(self._left)):
            used = select(Image.id).where(Image.product_id == Product.id).exists()
            said = select(ProductObservation.raw).where(ProductObservation.product_id == Product.id).exists()
            empty = select(Product.id).where(Product.sku.in_(part), ~used, ~said)
            self.connection.execute(delete(ProductPrediction).where(ProductPrediction.product_id.in_(empty)))
            self.connection.execute(delete(Product).where(Product.id.in_(empty)))
        for images in chunks(sorted(self._moved)):  # what was pooled with them
            shows = or_(ProductPrediction.image_id.in_(images), ProductPrediction.against_id.in_(images))
            self.connection.execute(delete(ProductPrediction).where(shows))
        for products in chunks(sorted(self._retyped)):
            theirs = select(Image.id).where(Image.product_id.in_(products))
            self._moved.update(self.connection.execute(theirs).scalars())
        if self.writer.new or self._moved or self.writer.touched:
            self.writer.derive_annotations(self._moved)
        unknown = [v for name, texts in self.unknown.items() for v in texts.report(self.readers[name].attribute)]
        return IngestSummary(
            file=str(self.labels.file),
            source=self.source,
            rows=self.rows,
            images_new=self.images_new,
            products_new=self.products_new,
            observations_new=self.writer.new,
            observations_same=self.cells - self.writer.new,
            quarantined=tuple(Quarantine(image, reason) for image, reason in self.quarantined.items()),
            unknown_values=tuple(unknown),
            undeclared=dict(self.undeclared),
            revision=revision(self.connection),
            without_pictures=self._without_pictures(),
            remote_new=self.remote_new,
        )

    def _without_pictures(self) -> int:
        """Return how many of the products that rows speak of have no picture."""
        shown = select(Image.id).where(Image.product_id == Product.id).exists()
        query = select(func.count(Product.id)).where(~shown)
        parts = chunks(sorted(self._spoken_of))
        return sum(self.connection.execute(query.where(Product.id.in_(part))).scalar_one() for part in parts)

    # -- images ------------------------------------------------------------------------------------

    def _named(self, rows: LabelRows) -> tuple[LabelRows, dict[str, Any], dict[str, ImageState]]:
        """Return the rows with one path for each image, and by path what the catalogue has of it and what is there."""
        states = {cell: self.labels.state(cell) for cell in dict.fromkeys(rows.image)}
        known = self.labels.known(self.connection, states)
        paths, fresh = dict[str, str](), dict[str, str]()
        there: dict[str, ImageState] = {}
        self._repeated = set()
        for cell, state in states.items():
            file = file_of(state)
            path = paths[cell] = known[cell].path if cell in known else fresh.setdefault(file, state.path)
            there[path] = state.under(path)
            if key(file, "") in self.labels.repeated:
                self._repeated.add(path)
        rows = rows._replace(image=[paths[cell] for cell in rows.image])
        return rows, {paths[cell]: row for cell, row in known.items()}, there

    def _save_images(
        self, known: Mapping[str, Any], states: Mapping[str, ImageState], products: Mapping[str, int]
    ) -> dict[str, int]:
        """Store new images and what changed of the known ones; return the ids of all. `products` is by path too."""
        new = {}
        for path, product in products.items():
            now = states[path]
            row, reason = known.get(path), now.reason
            if row is None:
                new[path] = (product, self._root(path), _state(reason), *now)
            else:
                change: dict[str, Any] = {"product_id": product, "file": now.file, "root_id": self._root(path)}
                forbidden = (row.reason or "").startswith(NOT_ALLOWED) or row.root_id != change["root_id"]
                if reason is None and not forbidden and (row.bytes, row.mtime_ns) == (now.bytes, now.mtime_ns):
                    reason = row.reason  # it could not be decoded, and stays in quarantine until it changes
                else:
                    change |= {"state": _state(reason), "digest": None, **now._asdict()}
                change = {name: value for name, value in change.items() if getattr(row, name) != value}
                if change:
                    self.writer.revision()
                    self.connection.execute(update(Image).where(Image.id == row.id).values(change))
            if reason is not None:
                self.quarantined[path] = reason
        ids = {path: row.id for path, row in known.items()}
        if new:
            self.writer.revision()
            columns = ("product_id", "root_id", "state", *ImageState._fields)
            ids |= zip(new, insert_numbered(self.connection, Image, columns, [*new.values()]), strict=True)
            self.images_new += len(new)
            self.remote_new += sum(states[path].reason is None and is_remote(path) for path in new)
        return ids

    def _root(self, path: str) -> int:
        """Return the id of the root of an image's path, having stored it if it was not known."""
        remote = is_remote(path)
        found = self.root_ids[remote]
        if found is None:
            found = add_remote(self.connection) if remote else add_root(self.connection, self.labels.root)
            self.root_ids[remote] = found
        return found

    # -- products ----------------------------------------------------------------------------------

    def _shown(self, rows: LabelRows, known: Mapping[str, Any]) -> dict[str, str]:
        """Return the sku of the product that each image shows, by path: what a row says, the catalogue's, or the path.

        Raises IngestError if two rows name two products of an image.
        """
        given: dict[str, str] = {}
        for line, path, sku in zip(rows.lines, rows.image, rows.sku, strict=True):
            if sku:
                earlier = self._skus if path in self._repeated else given
                was = earlier.setdefault(path, sku)
                if was != sku:
                    problem = f"image {path!r} belongs to {was!r} in an earlier row, here to {sku!r}"
                    raise refuse(self.labels.file, problem, row=line, column="sku")
                given[path] = sku
        shown = {}
        for path in dict.fromkeys(rows.image):
            row = known.get(path)
            shown[path] = given.get(path, sku_of(path) if row is None else row.sku)
            if row is not None and shown[path] != row.sku:
                self._moved.add(row.id)
                self._left[row.sku] = row.product_id
        return shown

    def _save_products(self, rows: LabelRows, skus: Sequence[str]) -> dict[str, int]:
        """Store what the rows say of their products, whose `skus` these are; return the products' ids by sku."""
        wanted = list(dict.fromkeys(skus))
        query = select(Product).where(Product.sku.in_(wanted))
        stored = {row.sku: row for row in self.connection.execute(query)}
        said: dict[str, dict[str, str]] = {sku: {} for sku in wanted}
        for name in _WORDS:
            for sku, text in zip(skus, getattr(rows, name), strict=True):
                # The first word of a file counts: a last one would flip back and forth on every ingest.
                if text and name not in said[sku] and not (sku in stored and stored[sku].id in self._products[name]):
                    said[sku][name] = text
        for line, sku, split in zip(rows.lines, skus, rows.split, strict=True):
            if split:
                was = self._splits.setdefault(sku, split)
                if was != split:
                    problem = f"product {sku!r} is in {was} in an earlier row, here in {split}"
                    raise refuse(self.labels.file, problem, row=line, column="split")
                said[sku]["split"] = split
        new = {
            sku: (sku, *(texts.get(name, "") for name in _WORDS), texts.get("split") or split_of(sku))
            for sku, texts in said.items()
            if sku not in stored
        }
        self._save_changes([(row, said[sku]) for sku, row in stored.items()])
        ids = {sku: row.id for sku, row in stored.items()}
        if new:
            self.writer.revision()
            columns = ("sku", *_WORDS, "split")
            ids |= zip(new, insert_numbered(self.connection, Product, columns, [*new.values()]), strict=True)
            self.products_new += len(new)
        for name in _WORDS:
            self._products[name].update(ids[sku] for sku, texts in said.items() if name in texts)
        return ids

    def _save_changes(self, said: Sequence[tuple[Row[Any], Mapping[str, str]]]) -> None:
        """Store what rows say of known products, as (row, texts by column), where the catalogue has something else."""
        columns = (*_WORDS, "split")
        changes = []
        for row, texts in said:
            if any(getattr(row, name) != text for name, text in texts.items()):
                now = {name: texts.get(name, getattr(row, name)) for name in columns}
                changes.append({"row": row.id, **now})
                if now["article_type"] != row.article_type:
                    self._retyped.add(row.id)
        if changes:
            self.writer.revision()
            self.connection.execute(update(Product).where(Product.id == bindparam("row")), changes)

    # -- labels ------------------------------------------------------------------------------------

    def _save_observations(self, rows: LabelRows, ids: Sequence[int], before: Sequence[int]) -> None:
        """Store what the rows say of their images, whose `ids` these are; `before` have been there already."""
        again = {image for image, path in zip(ids, rows.image, strict=True) if path in self._repeated}
        for voice, said in self._said(rows, ids):
            if before:
                stands = self.writer.newest_texts(voice, before, said)
                for column, cells in said.items():
                    new = said[column] = {i: raw for i, raw in cells.items() if stands[column].get(i) != raw}
                    if changed := sorted(new.keys() & stands[column].keys() & again):
                        self.revised = True
                        earlier = self.writer.newest_texts(voice, changed, [column], at=self.writer.revision())
                        for image, was in earlier[column].items():
                            what = f"{was!r} in an earlier row, here {new[image]!r}"
                            position = [*zip(ids, rows.labels[column], strict=True)].index((image, new[image]))
                            raise self._contradiction(rows, position, column, what)
            self.writer.append(voice, said)

    def _store_of_products(self, rows: LabelRows) -> None:
        """Store what rows without an image say of their products, and so of all pictures of these."""
        products = self._save_products(rows, rows.sku)
        ids = [products[sku] for sku in rows.sku]
        self._spoken_of.update(ids)
        again = {product for product, sku in zip(ids, rows.sku, strict=True) if key("", sku) in self.labels.repeated}
        for voice, said in self._said(rows, ids):
            stands = self.writer.newest_of_products(voice, sorted(products.values()), said)
            for column, cells in said.items():
                for product in again & cells.keys():
                    was = self._cells.setdefault((voice, column, product), cells[product])
                    if was != cells[product]:
                        what = f"{was!r} in an earlier row, here {cells[product]!r}"
                        position = [*zip(ids, rows.labels[column], strict=True)].index((product, cells[product]))
                        raise self._contradiction(rows, position, column, what)
                said[column] = {i: raw for i, raw in cells.items() if stands[column].get(i) != raw}
            self.writer.append_of_products(voice, said)

    def _said(self, rows: LabelRows, ids: Sequence[int]) -> Iterator[tuple[Voice, Texts]]:
        """Yield what each voice says in these rows. Raises IngestError if it says two things in one cell."""
        voices = [(s or self.source, a or None) for s, a in zip(rows.source, rows.annotator, strict=True)]
        for voice in dict.fromkeys(voices):
            said: Texts = defaultdict(dict)
            for column, texts in rows.labels.items():
                for position, raw in enumerate(texts):
                    if not raw or voices[position] != voice:
                        continue
                    if (was := said[column].setdefault(ids[position], raw)) != raw:
                        what = f"{was!r} in an earlier row, here {raw!r}"
                        raise self._contradiction(rows, position, column, what)
            if said:
                yield voice, said

    def refuse_overruled(self, rows: LabelRows) -> None:
        """Raise IngestError if a row says what the catalogue had before, and a later one something else."""
        rows = rows.take([position for position, path in enumerate(rows.image) if path])
        rows, by_path, _ = self._named(rows)
        known = {path: row.id for path, row in by_path.items()}
        ids = [known[path] for path in rows.image]
        for voice, said in self._said(rows, ids):
            stands = self.writer.newest_texts(voice, sorted(known.values()), said)
            for column, cells in said.items():
                for image, raw in cells.items():
                    if (now := stands[column][image]) != raw:
                        position = [*zip(ids, rows.labels[column], strict=True)].index((image, raw))
                        raise self._contradiction(rows, position, column, f"{raw!r} here, {now!r} in a later row")

    def _contradiction(self, rows: LabelRows, position: int, column: str, what: str) -> IngestError:
        of = "image" if rows.image[position] else "product"
        problem = f"the same {of} has {what}; give other opinions another --source"
        return refuse(self.labels.file, problem, row=rows.lines[position], column=column)

    def _count(self, rows: LabelRows) -> None:
        """Count what no attribute reads, and what no schema can read."""
        for column, texts in rows.labels.items():
            cells = len(texts) - texts.count("")
            self.cells += cells
            if column not in self.readers:
                self.undeclared[column] += cells
                continue
            for raw, count in Counter(filter(None, texts)).items():
                if (reading := self.readers[column].read(raw)).unknown:
                    self.unknown[column].add(reading, count)
