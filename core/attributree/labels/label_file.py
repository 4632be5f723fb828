"""A label file on its way in: read and checked whole, with its images, before anything is written.

Inspecting images takes the longest of an ingest. It is done without a transaction, so other writers need not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection, select

from ..database.engine import Database
from ..database.tables import Image
from ..errors import ImageError
from ..images.addresses import check_url, is_remote, normal_url
from ..images.decode import inspect_image, quiet
from ..images.places import Places
from ..settings.models import ImagesSettings
from .lines import refuse
from .names import root_id
from .readers import Formats, read_labels
from .records import LabelRows


class ImageState(NamedTuple):
    """What is at an image's place: its file's size and the time of its last change, or the `reason` of its quarantine.

    `file` is where its path leads, None if just there below the images root. Of an image behind a URL nothing is known
    but a `reason` not to fetch it.
    """

    file: str | None = None
    reason: str | None = None
    bytes: int | None = None
    mtime_ns: int | None = None


class LabelFile:
    """A label file that was checked; its rows are read once more to store them.

    `refused` is why images cannot be used, by path; `repeated` has the hash of each path that stands in several rows,
    and a few others by chance.
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
        self._state: tuple[int, int] | None = None

    def check(self, database: Database, progress: Callable[[int], None] | None = None) -> None:
        """Read all rows, and inspect the images that are new or have changed; `progress` is told the rows so far.

        Raises IngestError.
        """
        hashes, done = [], 0
        with quiet():
            for rows in self._read():
                if not self.root.is_dir():
                    raise refuse(self.file, f"the images root {self.root} is not a folder; give it with --images ROOT")
                paths = list(dict.fromkeys(rows.image))
                known = database.read(partial(_known, root=self.root.as_posix(), paths=paths))
                for path in paths:
                    self._inspect(path, known.get(path))
                hashes.append(np.fromiter(map(hash, rows.image), np.int64, len(rows.image)))
                done += len(rows.lines)
                if progress is not None:
                    progress(done)
        found, counts = np.unique(np.concatenate(hashes or [np.zeros(0, np.int64)]), return_counts=True)
        self.repeated = frozenset(found[counts > 1].tolist())
        self._state = self._state_now()

    def _inspect(self, path: str, known: tuple[int | None, int | None] | None) -> None:
        try:
            if is_remote(path):
                check_url(path, self._remote)
                return
            file, found = self._places.locate(path)
            if known != (found.st_size, found.st_mtime_ns):
                inspect_image(file, found)
        except ImageError as error:
            self.refused[path] = str(error)

    def rows(self) -> Iterator[LabelRows]:
        """Yield the rows again. Raises IngestError if the file is not what it was when it was checked."""
        yield from self._read()
        if self._state_now() != self._state:
            raise refuse(self.file, "was written to while it was read; nothing was stored, ingest it again")

    def _read(self) -> Iterator[LabelRows]:
        """Yield the rows, each URL of an image in its one spelling."""
        for rows in read_labels(self.file, self._formats):
            if any(map(is_remote, rows.image)):
                rows = rows._replace(image=[normal_url(c) if is_remote(c) else c for c in rows.image])
            yield rows

    def state(self, path: str) -> ImageState:
        """Return what is at an image's place now; its file was inspected by `check` and is not opened."""
        reason = self.refused.get(path)
        if reason is None and is_remote(path):
            return ImageState()
        if reason is None:
            try:
                file, found = self._places.locate(path)
            except ImageError as error:  # it has gone since it was inspected
                reason = str(error)
            else:
                elsewhere = None if file == f"{self.root.as_posix()}/{path}" else file
                return ImageState(elsewhere, None, found.st_size, found.st_mtime_ns)
        return ImageState(reason=reason)

    def _state_now(self) -> tuple[int, int] | None:
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def _known(connection: Connection, root: str, paths: list[str]) -> dict[str, tuple[int | None, int | None]]:
    """Return size and time of the last change of the files that the catalogue has, by path."""
    query = select(Image.path, Image.bytes, Image.mtime_ns).where(
        Image.root_id == root_id(connection, root), Image.path.in_(paths)
    )
    return {row.path: (row.bytes, row.mtime_ns) for row in connection.execute(query)}
