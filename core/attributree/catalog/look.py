"""The first pass over a label file: its rows, checked, and what their images' files are. Nothing is written yet.

Looking at images takes the longest of an ingest, and whoever looks holds no lock: other writers need not wait.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO

from sqlalchemy import Connection, select

from ..errors import ImageError, IngestError
from ..images import ImageHeader, Places, inspect_image
from .engine import Database
from .lines import refuse
from .readers import read_labels
from .records import LabelRow
from .tables import Image

#: Rows handled together; memory and statement parameters grow with it.
_CHUNK = 1000
#: What was read is kept in memory up to so many bytes, and in a temporary file beyond.
_IN_MEMORY = 32 * 1024 * 1024

#: Size in bytes and time of the last change of a file, as the catalogue knows them.
Known = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Look:
    """What there is at an image's place: `header`, or the `reason` why it cannot be used.

    Neither, if the file is still as it was `known`: then it is not opened.
    """

    file: str
    header: ImageHeader | None
    reason: str | None
    known: Known | None


def look_at(places: Places, root: Path, path: str, known: Known | None) -> Look:
    """Return what there is at `path`, a label file's cell, below `root`."""
    try:
        file, found = places.locate(path)
        if known is not None and found is not None and known == (found.st_size, found.st_mtime_ns):
            return Look(file, None, None, known)
        return Look(file, inspect_image(file, found), None, None)
    except ImageError as error:
        where = root.as_posix() + "/" + path.replace("\0", "")
        return Look(where, None, str(error), None)


@dataclass(frozen=True)
class LabelFile:
    """A label file that was read and whose images were looked at."""

    file: Path
    root: Path
    places: Places
    _kept: IO[bytes]

    def chunks(self) -> Iterator[tuple[list[LabelRow], dict[str, Look]]]:
        """Yield the rows in chunks, each with what was seen of its images, by path."""
        self._kept.seek(0)
        for line in self._kept:
            rows, looks = json.loads(line)
            yield [LabelRow(*row) for row in rows], {path: _look(*fields) for path, fields in looks.items()}


def _look(file: str, header: list[str | int] | None, reason: str | None, known: list[int] | None) -> Look:
    return Look(file, ImageHeader(*header) if header else None, reason, (known[0], known[1]) if known else None)  # type: ignore[arg-type]


@contextmanager
def read_and_look(
    database: Database, file: Path, images: Path | None, source: str, progress: Callable[[int], None] | None
) -> Iterator[LabelFile]:
    """Read a label file and look at its images. Raises IngestError, before anything was written."""
    root = (file.parent if images is None else images).resolve()
    if not source.strip():
        raise IngestError(f"{file}: the source has no name; give one with --source NAME")
    places = Places(root)
    done = 0
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as kept:
        rows = read_labels(file)
        while part := list(islice(rows, _CHUNK)):
            if not root.is_dir():
                raise refuse(file, f"the images root {root} is not a folder; give it with --images ROOT")
            paths = list(dict.fromkeys(row.image for row in part))
            known = database.read(lambda c, paths=paths: _known(c, root, paths))
            looks = {path: look_at(places, root, path, known.get(path)) for path in paths}
            kept.write(_line(part, looks))
            done += len(part)
            if progress is not None:
                progress(done)
        yield LabelFile(file, root, places, kept)


def _known(connection: Connection, root: Path, paths: list[str]) -> dict[str, Known]:
    query = select(Image.path, Image.bytes, Image.mtime_ns)
    here = query.where(Image.root == root.as_posix(), Image.path.in_(paths), Image.bytes.is_not(None))
    return {path: (size, changed) for path, size, changed in connection.execute(here)}


def _line(rows: list[LabelRow], looks: dict[str, Look]) -> bytes:
    fields = [
        (row.line, row.image, row.sku, row.article_type, row.title, row.description, row.split, row.labels)
        for row in rows
    ]
    seen = {}
    for path, look in looks.items():
        header = look.header
        size = (header.width, header.height, header.format, header.bytes, header.mtime_ns) if header else None
        seen[path] = (look.file, size, look.reason, look.known)
    return json.dumps([fields, seen]).encode() + b"\n"
