"""A label file on its way in: read and checked whole, with its images, before anything is written.

Inspecting images takes the longest of an ingest. It is done without a transaction, so other writers need not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, Row, select

from ..database.engine import Database, chunks
from ..database.tables import Image, Product
from ..errors import ImageError
from ..images.decode import inspect_image, quiet
from ..images.places import Places
from .lines import refuse
from .names import root_id
from .readers import Formats, read_labels
from .records import LabelRows


class ImageState(NamedTuple):
    """What is at an image's place: its file's size and the time of its last change, or the `reason` of its quarantine.

    `path` is its one spelling below the images root, `file` where it leads, None if just there.
    """

    path: str
    file: str | None = None
    reason: str | None = None
    bytes: int | None = None
    mtime_ns: int | None = None


class LabelFile:
    """A label file that was checked; its rows are read once more to store them.

    `refused` is why images cannot be used, by cell; `repeated` has the hash of each image, by `file_of`, that stands in
    several rows, and a few others by chance.
    """

    def __init__(self, file: Path, images: Path | None, formats: Formats | None) -> None:
        """`images` is the root of the images' paths, by default the file's folder."""
        self.file = file
        self.root = (file.parent if images is None else images).resolve()
        self.refused: dict[str, str] = {}
        self.repeated: frozenset[int] = frozenset()
        self._formats = formats
        self._places = Places(self.root)
        self._state: tuple[int, int] | None = None

    def check(self, database: Database, progress: Callable[[int], None] | None = None) -> None:
        """Read all rows, and inspect the images that are new or have changed; `progress` is told the rows so far.

        Raises IngestError.
        """
        hashes, done = [], 0
        with quiet():
            for rows in read_labels(self.file, self._formats):
                if not self.root.is_dir():
                    raise refuse(self.file, f"the images root {self.root} is not a folder; give it with --images ROOT")
                states = {cell: self.state(cell) for cell in dict.fromkeys(rows.image)}
                known = database.read(partial(self.known, states=states))
                for cell, state in states.items():
                    row = known.get(cell)
                    if state.reason is not None:
                        self.refused[cell] = state.reason
                    elif row is None or (row.bytes, row.mtime_ns) != (state.bytes, state.mtime_ns):
                        self._inspect(cell, state)
                files = {cell: hash(self.file_of(state)) for cell, state in states.items()}
                hashes.append(np.fromiter(map(files.__getitem__, rows.image), np.int64, len(rows.image)))
                done += len(rows.lines)
                if progress is not None:
                    progress(done)
        found, counts = np.unique(np.concatenate(hashes or [np.zeros(0, np.int64)]), return_counts=True)
        self.repeated = frozenset(found[counts > 1].tolist())
        self._state = self._state_now()

    def _inspect(self, cell: str, state: ImageState) -> None:
        try:
            inspect_image(self.file_of(state))
        except ImageError as error:
            self.refused[cell] = str(error)

    def rows(self) -> Iterator[LabelRows]:
        """Yield the rows again. Raises IngestError if the file is not what it was when it was checked."""
        yield from read_labels(self.file, self._formats)
        if self._state_now() != self._state:
            raise refuse(self.file, "was written to while it was read; nothing was stored, ingest it again")

    def state(self, cell: str) -> ImageState:
        """Return what is at an image's place now; its file was inspected by `check` and is not opened."""
        try:
            path, file, found = self._places.find(cell)
        except ImageError as error:  # perhaps it has gone since it was inspected
            return ImageState(self._places.path(cell), reason=self.refused.get(cell, str(error)))
        elsewhere = None if file == f"{self.root.as_posix()}/{path}" else file
        if reason := self.refused.get(cell):
            return ImageState(path, elsewhere, reason)
        return ImageState(path, elsewhere, None, found.st_size, found.st_mtime_ns)

    def file_of(self, state: ImageState | Row[Any]) -> str:
        """Return where an image lies, by which it is known however cells spell it. `state` may be its row."""
        return state.file or f"{self.root.as_posix()}/{state.path}"

    def under(self, path: str, state: ImageState) -> ImageState:
        """Return what is at an image's place, of an image that the catalogue has, or gets, under another path."""
        file = self.file_of(state)
        return state._replace(path=path, file=None if file == f"{self.root.as_posix()}/{path}" else file)

    def known(self, connection: Connection, states: Mapping[str, ImageState]) -> dict[str, Row[Any]]:
        """Return the catalogue's images, with the skus of their products, by the cells that name them now.

        An image is known by its file. Only one that has none, or whose path leads elsewhere now, is known by its path.
        """
        here = select(Image, Product.sku).join(Product, Product.id == Image.product_id)
        here = here.where(Image.root_id == root_id(connection, self.root.as_posix()))
        root = f"{self.root.as_posix()}/"
        files = {self.file_of(state) for state in states.values()}
        paths = {state.path for state in states.values()} | {
            file.removeprefix(root) for file in files if file.startswith(root)
        }
        rows: list[Any] = [
            row for part in chunks(sorted(paths)) for row in connection.execute(here.where(Image.path.in_(part)))
        ]
        rows += [row for part in chunks(sorted(files)) for row in connection.execute(here.where(Image.file.in_(part)))]
        rows.sort(key=lambda row: (row.state != "ok", row.id))
        by_path = {row.path: row for row in rows}
        by_file: dict[str, Row[Any]] = {}
        for row in rows:
            by_file.setdefault(self.file_of(row), row)
        found = {cell: by_file.get(self.file_of(state)) or by_path.get(state.path) for cell, state in states.items()}
        return {cell: row for cell, row in found.items() if row is not None}

    def _state_now(self) -> tuple[int, int] | None:
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns
