"""A label file on its way in: read and checked whole, with its images, before anything is written.

Inspecting images takes the longest of an ingest. It is done without a transaction, so other writers need not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, Select, func, select

from ..database.engine import Database, chunks
from ..database.tables import Image, Product
from ..errors import ImageError
from ..images.addresses import check_url, is_remote, normal_url
from ..images.decode import inspect_image, quiet
from ..images.places import Places
from ..settings.models import ImagesSettings
from .lines import refuse
from .readers import Formats, read_labels
from .records import LabelRows
from .roots import gone_roots, how_to_relocate, remote_id, root_id


class ImageState(NamedTuple):
    """What is at an image's place: its file's size and the time of its last change, or the `reason` of its quarantine.

    `path` is its one spelling below the images root, `file` where it leads, relative to the root; None if just there.
    Of an image behind a URL, which is its `path`, nothing is known but a `reason` not to fetch it.
    """

    path: str
    file: str | None = None
    reason: str | None = None
    bytes: int | None = None
    mtime_ns: int | None = None

    def under(self, path: str) -> ImageState:
        """Return the same of an image that the catalogue has, or gets, under another path."""
        if path == self.path:
            return self
        file = file_of(self)
        return self._replace(path=path, file=None if file == path else file)


class LabelFile:
    """A label file that was checked; its rows are read once more to store them.

    `refused` is why images cannot be used, by cell; `repeated` has the `key` of each image and product that stands in
    several rows, and a few others by chance.
    """

    def __init__(self, file: Path, images: Path | None, formats: Formats | None, remote: ImagesSettings) -> None:
        """`images` is the root of the images' paths, by default the file's folder; `remote` says which URLs may be."""
        self.file = file
        self.root = (file.parent if images is None else images).resolve()
        self.refused: dict[str, str] = {}
        self.repeated: frozenset[int] = frozenset()
        self._formats = formats
        self._remote = remote
        self._places = Places(self.root)
        self._base = self.root.as_posix()
        self._state: tuple[int, int] | None = None

    def check(self, database: Database, progress: Callable[[int], None] | None = None) -> None:
        """Read all rows, and inspect the images that are new or have changed; `progress` is told the rows so far.

        Raises IngestError.
        """
        hashes, done = [], 0
        pictures, met = False, False  # whether a row names a picture, or a product that is in the catalogue
        with quiet():
            for rows in read_labels(self.file, self._formats):
                if not self.root.is_dir():
                    raise refuse(self.file, f"the images root {self.root} is not a folder; give it with --images ROOT")
                cells = list(dict.fromkeys(filter(None, rows.image)))
                pictures |= bool(cells)
                if not pictures and not met:
                    met = database.read(partial(_is_there, skus=rows.sku))
                states = {cell: self.state(cell) for cell in cells}
                if states and not done:
                    self._refuse_moved(database, [s.path for s in states.values() if not is_remote(s.path)])
                known = database.read(partial(self.known, states=states))
                for cell, state in states.items():
                    row = known.get(cell)
                    if state.reason is not None:
                        self.refused[cell] = state.reason
                    elif (
                        row is None
                        or is_remote(state.path)
                        or (row.bytes, row.mtime_ns) != (state.bytes, state.mtime_ns)
                    ):
                        self._inspect(cell, state)
                files = {"": "", **{cell: file_of(state) for cell, state in states.items()}}
                named = map(files.__getitem__, rows.image)
                hashes.append(np.fromiter(map(key, named, rows.sku), np.int64, len(rows.image)))
                done += len(rows.lines)
                if progress is not None:
                    progress(done)
        if done and not pictures and not met:
            problem = "no row names an image, and none of its products is in the catalogue"
            raise refuse(self.file, f"{problem}; is the column of images called something else than 'image'?")
        found, counts = np.unique(np.concatenate(hashes or [np.zeros(0, np.int64)]), return_counts=True)
        self.repeated = frozenset(found[counts > 1].tolist())
        self._state = self._state_now()

    def _refuse_moved(self, database: Database, paths: list[str]) -> None:
        """Raise IngestError if the images are known below a folder that is gone: it would double them all."""
        if found := database.read(partial(_moved_from, root=self.root, paths=paths)):
            gone, count, command = found
            raise refuse(
                self.file,
                f"{count} of its images are known below {gone}, which is gone. If it was moved, type: {command}. If "
                "these are other pictures, create an empty folder there",
            )

    def _inspect(self, cell: str, state: ImageState) -> None:
        try:
            if is_remote(state.path):
                check_url(state.path, self._remote)
            else:
                inspect_image(f"{self._base}/{file_of(state)}", state.bytes)
        except ImageError as error:
            self.refused[cell] = str(error)

    def rows(self) -> Iterator[LabelRows]:
        """Yield the rows again. Raises IngestError if the file is not what it was when it was checked."""
        yield from read_labels(self.file, self._formats)
        if self._state_now() != self._state:
            raise refuse(self.file, "was written to while it was read; nothing was stored, ingest it again")

    def state(self, cell: str) -> ImageState:
        """Return what is at an image's place now; its file was inspected by `check` and is not opened."""
        if is_remote(cell):
            return ImageState(normal_url(cell), reason=self.refused.get(cell))
        try:
            path, file, found = self._places.find(cell)
        except ImageError as error:  # perhaps it has gone since it was inspected
            return ImageState(self._places.path(cell), reason=self.refused.get(cell, str(error)))
        below = file.removeprefix(self._base).lstrip("/")
        elsewhere = None if below == path else below
        if reason := self.refused.get(cell):
            return ImageState(path, elsewhere, reason)
        return ImageState(path, elsewhere, None, found.st_size, found.st_mtime_ns)

    def known(self, connection: Connection, states: Mapping[str, ImageState]) -> dict[str, Row[Any]]:
        """Return the catalogue's images, with the skus of their products, by the cells that name them now.

        An image is known by its file, or its URL. Only one that has no file, or whose path leads elsewhere now, is
        known by its path.
        """
        images = select(Image, Product.sku).join(Product, Product.id == Image.product_id)
        root = root_id(connection, self.root)
        here = images.where(Image.root_id == root)
        urls = {state.path for state in states.values() if is_remote(state.path)}
        names = {name for state in states.values() for name in (state.path, file_of(state))} - urls
        rows: list[Any] = [
            row
            for part in chunks(sorted(names) if root else ())
            for name in (Image.path, Image.file)
            for row in connection.execute(here.where(name.in_(part)))
        ]
        rows.sort(key=lambda row: (row.state != "ok", row.id), reverse=True)
        by_path = {row.path: row for row in rows}
        by_file = {file_of(row): row for row in rows} | _behind(connection, images, sorted(urls))
        found = {cell: by_file.get(file_of(state)) or by_path.get(state.path) for cell, state in states.items()}
        return {cell: row for cell, row in found.items() if row is not None}

    def _state_now(self) -> tuple[int, int] | None:
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def file_of(state: ImageState | Row[Any]) -> str:
    """Return where an image leads below its root, or its URL: by that it is known, however cells spell it."""
    return str(state.file or state.path)


def _behind(connection: Connection, images: Select[*tuple[Any, ...]], urls: list[str]) -> dict[str, Row[Any]]:
    """Return the catalogue's images by their URLs. Before URLs were fetched, they lay below roots of label files."""
    remote = remote_id(connection)
    rows: list[Any] = [row for part in chunks(urls) for row in connection.execute(images.where(Image.path.in_(part)))]
    rows.sort(key=lambda row: (row.root_id == remote, -row.id))
    return {row.path: row for row in rows}


def _moved_from(connection: Connection, root: Path, paths: list[str]) -> tuple[Path, int, str] | None:
    """Return a root that is gone and has half of `paths` or more, how many, and what to type if it is `root` now."""
    if not paths or root_id(connection, root) is not None:
        return None
    for number, gone in gone_roots(connection).items():
        query = select(func.count()).where(Image.root_id == number, Image.path.in_(paths))
        if (count := connection.execute(query).scalar_one()) * 2 >= len(paths):
            return gone, count, how_to_relocate(connection, gone, root)
    return None


def key(file: str, sku: str) -> int:
    """Return what tells the image of a row, or the product if it names no image, from others."""
    return hash(file or ("", sku))


def _is_there(connection: Connection, skus: list[str]) -> bool:
    """Return whether one of these products is in the catalogue."""
    return connection.execute(select(Product.id).where(Product.sku.in_(set(skus))).limit(1)).scalar() is not None
