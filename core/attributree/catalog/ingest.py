"""Label files into observations: all rows of a file in one transaction, in chunks of bounded size."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from ..errors import ImageError, IngestError
from ..images import ImageHeader, inspect_image, locate
from ..schema import SPLITS
from .declare import declared
from .derive import reader_of
from .engine import chunks
from .lines import refuse
from .observe import Log, Voice
from .queries import revision
from .readers import Formats, read_labels
from .records import IngestSummary, LabelRow, Quarantine
from .resolve import UnknownTexts
from .tables import Image, Product

DEFAULT_SOURCE = "import"
#: Rows handled together; memory and statement parameters grow with it.
_CHUNK = 1000
#: Texts of a product that a label file may bring.
_TEXTS = ("article_type", "title", "description")
_NO_HEADER = dict.fromkeys(("width", "height", "format", "bytes", "mtime_ns"))


def split_of(sku: str) -> str:
    """Return the split of a product whose label file names none: 70 % train, 15 % val, 15 % test.

    A BLAKE2b hash of the sku decides, so all pictures of a product are on one side, today and in every catalogue.
    """
    share = int.from_bytes(hashlib.blake2b(sku.encode(), digest_size=8).digest(), "big") / 2**64
    return "train" if share < 0.70 else "val" if share < 0.85 else "test"


class _Seen:
    """A set of row ids, one bit each: what this file has said already must fit in memory for any file."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def __contains__(self, row_id: int) -> bool:
        byte = row_id >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & (1 << (row_id & 7)))

    def add(self, row_id: int) -> None:
        """Put `row_id` in."""
        byte = row_id >> 3
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1024 - len(self._bits)))
        self._bits[byte] |= 1 << (row_id & 7)


def ingest(
    connection: Connection,
    file: Path,
    images: Path | None,
    source: str,
    progress: Callable[[int], None] | None,
    formats: Formats | None = None,
) -> IngestSummary:
    """Store one label file; `formats` as in `read_labels`.

    Raises IngestError; the caller's transaction makes it all or nothing.
    """
    root = (file.parent if images is None else Path(images)).resolve()
    if not source.strip():
        raise IngestError(f"{file}: the source has no name; give one with --source NAME")
    work = _Ingest(connection, file, root, source)
    rows = read_labels(file, formats)
    while part := list(islice(rows, _CHUNK)):
        if not root.is_dir():
            raise refuse(file, f"the images root {root} is not a folder; give it with --images ROOT")
        work.store(part)
        if progress is not None:
            progress(work.rows)
    return work.finish()


@dataclass
class _Picture:
    """An image of the chunk: its row in the database, if any, and what the file system says now."""

    id: int | None
    product: str
    state: str
    columns: dict[str, Any]


class _Ingest:
    """One file on its way in. What it says of one thing twice must agree, or the first word counts."""

    def __init__(self, connection: Connection, file: Path, root: Path, source: str) -> None:
        self.connection = connection
        self.file = file
        self.root = root
        self.source = source
        self.log = Log(connection, "ingest", str(file))
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
        # By voice and column, per image; by "sku", per image; by product text, per product.
        self._said: dict[Hashable, _Seen] = {}
        self._splits = {split: _Seen() for split in SPLITS}

    def store(self, rows: list[LabelRow]) -> None:
        """Store one chunk of rows."""
        pictures = self._pictures(rows)
        products = self._products(rows, pictures)
        self._save_pictures(pictures, products)
        self._save_observations(rows, pictures)
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

    def _pictures(self, rows: list[LabelRow]) -> dict[str, _Picture]:
        """Return the chunk's images by path, with what their files say now."""
        paths = list(dict.fromkeys(row.image for row in rows))
        query = (
            select(Image, Product.sku)
            .join(Product, Product.id == Image.product_id)
            .where(Image.root == self.root.as_posix(), Image.path.in_(paths))
        )
        stored = {row.path: row for row in self.connection.execute(query)}
        return {path: self._look(path, stored.get(path)) for path in paths}

    def _look(self, path: str, row: Any) -> _Picture:
        """Return the image with the changes that its file makes necessary."""
        new: dict[str, Any]
        try:
            file = locate(self.root, path)
            header = self._header(file, row)
        except ImageError as error:
            where = self.root.as_posix() + "/" + path.replace("\0", "")
            new = {"file": where, "state": "quarantined", "reason": str(error), **_NO_HEADER, "digest": None}
        else:
            new = {"file": file.as_posix()}
            if header is not None:
                new |= {"state": "ok", "reason": None, "width": header.width, "height": header.height}
                new |= {"format": header.format, "bytes": header.bytes, "mtime_ns": header.mtime_ns, "digest": None}
        state = new.get("state") or row.state
        if state == "quarantined":
            self.quarantined[path] = new.get("reason") or row.reason
        if row is None:
            return _Picture(None, "", state, new)
        return _Picture(row.id, row.sku, state, {k: v for k, v in new.items() if getattr(row, k) != v})

    def _header(self, file: Path, row: Any) -> ImageHeader | None:
        """Return the header of `file`, or None if it is the file that was looked at before.

        A picture whose header was fine, but that could not be decoded, stays in quarantine until it changes.
        """
        if row is not None and row.bytes is not None:
            try:
                stat = file.stat()
            except OSError:
                return inspect_image(file)  # says what is wrong
            if (stat.st_size, stat.st_mtime_ns) == (row.bytes, row.mtime_ns):
                return None
        return inspect_image(file)

    # -- products ----------------------------------------------------------------------------------

    def _products(self, rows: list[LabelRow], pictures: dict[str, _Picture]) -> dict[str, int]:
        """Settle which product each picture shows, store the products' texts, return their ids by sku."""
        given: dict[str, str] = {}
        before: dict[str, str] = {path: picture.product for path, picture in pictures.items()}
        for row in rows:
            picture = pictures[row.image]
            if row.sku:
                earlier = given.setdefault(row.image, row.sku)
                fixed = picture.id is not None and picture.id in self._seen("sku")
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
        ids, stored = self._insert_products(rows, pictures)
        self._update_products(rows, pictures, ids, stored)
        for path in given:
            if (image_id := pictures[path].id) is not None:
                self._seen("sku").add(image_id)
        self._given = set(given)
        return ids

    def _insert_products(
        self, rows: list[LabelRow], pictures: dict[str, _Picture]
    ) -> tuple[dict[str, int], dict[int, dict[str, str]]]:
        """Insert the products that are not there; return ids by sku, and stored texts and splits by id."""
        skus = list(dict.fromkeys(pictures[row.image].product for row in rows))
        query = select(Product.id, Product.sku, Product.split, *(getattr(Product, name) for name in _TEXTS))
        stored = {row.sku: row for row in self.connection.execute(query.where(Product.sku.in_(skus)))}
        new = [sku for sku in skus if sku not in stored]
        if new:
            self.log.revise()
            empty = dict.fromkeys(_TEXTS, "")
            self.connection.execute(insert(Product), [{"sku": sku, "split": split_of(sku), **empty} for sku in new])
            added = self.connection.execute(query.where(Product.sku.in_(new)))
            stored |= {row.sku: row for row in added}
            self.products_new += len(new)
        texts = {row.id: {name: getattr(row, name) for name in (*_TEXTS, "split")} for row in stored.values()}
        return {sku: row.id for sku, row in stored.items()}, texts

    def _update_products(
        self,
        rows: list[LabelRow],
        pictures: dict[str, _Picture],
        ids: dict[str, int],
        stored: dict[int, dict[str, str]],
    ) -> None:
        """Store what the rows say of their products, where it differs."""
        wanted = {product: dict(texts) for product, texts in stored.items()}
        for row in rows:
            product = ids[pictures[row.image].product]
            for name in _TEXTS:
                text = getattr(row, name)
                # The first word of a file counts: a last one would flip back and forth on every ingest.
                if text and product not in self._seen(name):
                    self._seen(name).add(product)
                    wanted[product][name] = text
            if row.split:
                for other in SPLITS:
                    if other != row.split and product in self._splits[other]:
                        problem = f"product {pictures[row.image].product!r} is in {other} in an earlier row"
                        raise refuse(self.file, problem + f", here in {row.split}", row=row.line, column="split")
                self._splits[row.split].add(product)
                wanted[product]["split"] = row.split
        changed = [product for product in wanted if wanted[product] != stored[product]]
        if changed:
            self.log.revise()
            assign: dict[str, Any] = {name: bindparam(f"new_{name}") for name in (*_TEXTS, "split")}
            self.connection.execute(
                update(Product).where(Product.id == bindparam("row")).values(assign),
                [{"row": i, **{f"new_{name}": text for name, text in wanted[i].items()}} for i in changed],
            )
            self._moved.update(i for i in changed if wanted[i]["article_type"] != stored[i]["article_type"])

    # -- rows --------------------------------------------------------------------------------------

    def _save_pictures(self, pictures: dict[str, _Picture], products: dict[str, int]) -> None:
        root = self.root.as_posix()
        new = {path: picture for path, picture in pictures.items() if picture.id is None}
        for picture in pictures.values():
            if picture.id is not None:
                change = dict(picture.columns)
                if picture.id in self._moved_images:
                    change["product_id"] = products[picture.product]
                if change:
                    self.log.revise()
                    self.connection.execute(update(Image).where(Image.id == picture.id).values(change))
        if not new:
            return
        self.log.revise()
        blank = {"root": root, "reason": None, "digest": None, **_NO_HEADER}
        self.connection.execute(
            insert(Image),
            [
                {**blank, "path": path, "product_id": products[picture.product], **picture.columns}
                for path, picture in new.items()
            ],
        )
        query = select(Image.path, Image.id).where(Image.root == root, Image.path.in_(list(new)))
        for row in self.connection.execute(query):
            new[row.path].id = row.id
            if row.path in self._given:
                self._seen("sku").add(row.id)
        self.images_new += len(new)

    def _save_observations(self, rows: list[LabelRow], pictures: dict[str, _Picture]) -> None:
        ids = {path: picture.id for path, picture in pictures.items() if picture.id is not None}
        by_voice: dict[Voice, list[LabelRow]] = {}
        for row in rows:
            by_voice.setdefault((row.source or self.source, row.annotator or None), []).append(row)
        for voice, theirs in by_voice.items():
            self._save_voice(voice, theirs, ids)

    def _save_voice(self, voice: Voice, rows: list[LabelRow], ids: dict[str, int]) -> None:
        said: dict[tuple[int, str], str] = {}
        columns = {column for row in rows for column in row.labels}
        standing = self.log.standing(voice, sorted({ids[row.image] for row in rows}), columns) if columns else {}
        for image_id, column, raw, line in self._cells(rows, ids):
            seen = self._seen((voice, column))
            key = (image_id, column)
            if standing.get(key) == raw:
                self.log.same += 1
            elif image_id in seen:
                problem = f"the same image has {standing[key]!r} in an earlier row, here {raw!r}"
                raise refuse(self.file, problem + "; give other opinions another --source", row=line, column=column)
            else:
                said[key] = standing[key] = raw
            seen.add(image_id)
        self.log.append(voice, said)

    def _cells(self, rows: list[LabelRow], ids: dict[str, int]) -> Iterator[tuple[int, str, str, int]]:
        """Yield (image, column, text, line) and count what no schema can read."""
        for row in rows:
            for column, raw in row.labels.items():
                reader = self.readers.get(column)
                if reader is None:
                    self.undeclared[column] += 1
                else:
                    self.unknown[column].add(reader.read(raw))
                yield ids[row.image], column, raw, row.line

    def _seen(self, what: Hashable) -> _Seen:
        return self._said.setdefault(what, _Seen())
