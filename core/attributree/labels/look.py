"""The first pass over a label file: its rows, checked, and what their images' files are. Nothing is written yet.

Looking at images takes the longest of an ingest, and whoever looks holds no lock: other writers need not wait.
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple, Self

from sqlalchemy import Connection, bindparam, select

from ..database.bulk import one_of
from ..database.engine import Database
from ..database.tables import Image
from ..errors import ImageError, IngestError
from ..images.decode import Places, allowed, inspect_image
from ..images.helpers import Headers, Helpers
from .lines import refuse
from .names import root_id
from .readers import Formats, read_labels
from .records import LabelRows

#: What was read is kept in memory up to so many bytes, and in a temporary file beyond.
_IN_MEMORY = 32 * 1024 * 1024

_KNOWN = select(Image.path, Image.bytes, Image.mtime_ns).where(
    Image.root_id == bindparam("root"), one_of(Image.path, "paths")
)
#: Size in bytes and time of the last change of a file, as the catalogue knows them.
Known = tuple[int, int]


class Look(NamedTuple):
    """What there is at an image's place: a header, or the `reason` why it cannot be used.

    Neither, if the file is `unchanged`: of the `bytes` and `mtime_ns` that the catalogue knows. It is not opened then.
    """

    file: str
    reason: str | None = None
    bytes: int | None = None
    mtime_ns: int | None = None
    unchanged: bool = False


class Looks(NamedTuple):
    """What there is at the places of the images with these paths: the columns of a `Look` of each."""

    path: Sequence[str]
    file: Sequence[str]
    reason: Sequence[str | None]
    bytes: Sequence[int | None]
    mtime_ns: Sequence[int | None]
    unchanged: Sequence[bool]

    @classmethod
    def of(cls, looks: Mapping[str, Look]) -> Self:
        """Return `looks`, which are by path, as columns."""
        columns = zip(*looks.values(), strict=True) if looks else repeat((), len(Look._fields))
        return cls([*looks], *columns)

    def each(self) -> dict[str, Look]:
        """Return what is seen of each image, by path."""
        _, *columns = self
        return dict(zip(self.path, map(Look._make, zip(*columns, strict=True)), strict=True))


def look_at(places: Places, root: Path, path: str, known: Known | None) -> Look:
    """Return what there is at `path`, a label file's cell, below `root`."""
    try:
        file, found = places.locate(path)
        if known is not None and found is not None and known == (found.st_size, found.st_mtime_ns):
            return Look(file, bytes=found.st_size, mtime_ns=found.st_mtime_ns, unchanged=True)
        header = inspect_image(file, found)
        return Look(file, None, header.bytes, header.mtime_ns)
    except ImageError as error:
        return Look(root.as_posix() + "/" + path.replace("\0", ""), str(error))


@dataclass(frozen=True)
class LabelFile:
    """A label file that was read and whose images were looked at."""

    file: Path
    root: Path
    places: Places
    _kept: IO[bytes]
    _sizes: list[int]

    def chunks(self) -> Iterator[tuple[LabelRows, Looks]]:
        """Yield the rows in chunks, each with what was seen of its images."""
        self._kept.seek(0)
        for size in self._sizes:
            rows, looks = marshal.loads(self._kept.read(size))
            yield LabelRows(*rows), Looks(*looks)


@contextmanager
def read_and_look(
    database: Database,
    file: Path,
    images: Path | None,
    source: str,
    progress: Callable[[int], None] | None,
    formats: Formats | None = None,
) -> Iterator[LabelFile]:
    """Read a label file, as `read_labels` does, and look at its images.

    Raises IngestError, before anything was written.
    """
    root = (file.parent if images is None else images).resolve()
    if not source.strip():
        raise IngestError(f"{file}: the source has no name; give one with --source NAME")
    places = Places(root)
    done, sizes = 0, list[int]()
    with SpooledTemporaryFile(max_size=_IN_MEMORY) as kept:
        with Helpers() as helpers:
            for rows, looks in _looked(
                _begun(database, file, root, places, helpers, formats), places, root, helpers.ahead
            ):
                # Nobody else reads this nameless file, and marshal is several times as fast as JSON.
                both: Any = (*rows,), (*looks,)
                sizes.append(kept.write(marshal.dumps(both)))
                done += len(rows.lines)
                if progress is not None:
                    progress(done)
        yield LabelFile(file, root, places, kept, sizes)


class _Begun(NamedTuple):
    """A chunk whose images, at `paths`, are being looked at.

    `known` are those that the catalogue has, by path; `plain` leads from the path to the file of each of the others
    that helpers look at; `headers` are what they say.
    """

    rows: LabelRows
    paths: list[str]
    known: dict[str, Known]
    plain: dict[str, str]
    headers: Future[Headers]


def _begun(
    database: Database, file: Path, root: Path, places: Places, helpers: Helpers, formats: Formats | None
) -> Iterator[_Begun]:
    """Yield the chunks of a label file as soon as somebody looks at their images."""
    for rows in read_labels(file, formats):
        if not root.is_dir():
            raise refuse(file, f"the images root {root} is not a folder; give it with --images ROOT")
        paths = list(dict.fromkeys(rows.image))
        known = database.read(partial(_known, root=root, paths=paths))
        plain = {path: place for path in paths if path not in known and (place := places.plain(path)) is not None}
        yield _Begun(rows, paths, known, plain, helpers.plain_files([*plain.values()]))


def _looked(chunks: Iterator[_Begun], places: Places, root: Path, most: int) -> Iterator[tuple[LabelRows, Looks]]:
    """Yield chunks in their order once all their images were looked at; `most` wait for that together."""
    ahead: deque[_Begun] = deque()
    for chunk in chunks:
        ahead.append(chunk)
        while ahead and (ahead[0].headers.done() or len(ahead) >= most):
            yield _finished(ahead.popleft(), places, root)
    for chunk in ahead:
        yield _finished(chunk, places, root)


def _finished(chunk: _Begun, places: Places, root: Path) -> tuple[LabelRows, Looks]:
    rows, paths, known, plain, answer = chunk
    headers = answer.result()
    good = [header for header in headers if header is not None and allowed(header)]
    if len(good) == len(paths):  # all of a new chunk, as a rule
        _, _, _, size, changed = zip(*good, strict=True)
        nothing, no = [None] * len(paths), [False] * len(paths)
        return rows, Looks(paths, [*plain.values()], nothing, size, changed, no)
    by_path = dict(zip(plain, headers, strict=True))
    looks = {}
    for path in paths:
        header = by_path.get(path)
        if header is not None and allowed(header):
            looks[path] = Look(plain[path], None, header.bytes, header.mtime_ns)
        else:
            looks[path] = look_at(places, root, path, known.get(path))
    return rows, Looks.of(looks)


def _known(connection: Connection, root: Path, paths: list[str]) -> dict[str, Known]:
    row_id = root_id(connection, root.as_posix())
    if row_id is None:
        return {}
    rows = connection.execute(_KNOWN, {"root": row_id, "paths": paths}).all()
    return {path: (size, changed) for path, size, changed in rows if size is not None and changed is not None}
