"""The pixel store: every photo decoded and resized once, uint8 RGB."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from os import cpu_count
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ImageError, UnreachableError
from ..nn.transform import BICUBIC
from .array_store import RecordStore
from .cache import Room
from .decode import decode_image, quiet
from .remote import Place, RemoteFiles

#: Names the way from file to pixels, with bicubic resampling; a change of `decode_image` that alters pixels changes it.
TRANSFORM = "pad-white-1"
_CHUNK = 256
#: Photos for each thread that may be done before one that takes long.
_AHEAD = 8


@dataclass(frozen=True)
class Photo:
    """An image to decode; `digest` is the SHA-256 of its file if that is known to be unchanged."""

    id: int
    file: Place
    digest: str | None = None


#: Pixels, and the SHA-256 of their file.
_Pixels = tuple[npt.NDArray[np.uint8], str]
_Result = _Pixels | ImageError


@dataclass
class Decoded:
    """What came of a list of photos: digests by id, and the reason for each that could not be read.

    `away` are those of the failed whose host could not be reached.
    """

    digests: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    away: set[int] = field(default_factory=set)


class PixelStore(RecordStore):
    """Photos as (size, size, 3) uint8, resampled by `interpolation`, keyed by the SHA-256 of their file."""

    def __init__(self, cache: Path, size: int, interpolation: str = BICUBIC, *, room: Room | None = None) -> None:
        words = (TRANSFORM, "" if interpolation == BICUBIC else interpolation, str(size))
        super().__init__(cache / "pixels" / "-".join(filter(None, words)), (size, size, 3), np.uint8, room=room)
        self.size = size
        self.interpolation = interpolation

    def fill(
        self,
        photos: Sequence[Photo],
        progress: Callable[[int], None] | None = None,
        workers: int = 0,
        *,
        remote: RemoteFiles | None = None,
        recheck: bool = False,
    ) -> Decoded:
        """Decode the photos that are not stored yet; `progress` is told how many were looked at.

        Those behind URLs are fetched by `remote`, asking again for what is in its cache if `recheck`. Threads suffice:
        Pillow decodes and resizes without holding the interpreter, and a network only makes them wait.
        """
        out = Decoded({p.id: p.digest for p in photos if p.digest and p.digest in self})
        todo = [photo for photo in photos if photo.id not in out.digests]
        self.reserve(len(todo))
        if progress and out.digests:
            progress(len(out.digests))
        threads = workers or cpu_count() or 1
        if remote and any(isinstance(photo.file, str) for photo in todo):
            threads = max(threads, remote.settings.connections)

        def decode(photo: Photo) -> _Result:
            return self._decode(photo, remote, recheck)

        with quiet(), ThreadPoolExecutor(threads) as pool:
            results = _in_order(pool, decode, todo, _AHEAD * threads)
            while chunk := list(islice(results, _CHUNK)):
                self._store(chunk, out)
                if progress:
                    progress(len(chunk))
        # Features are computed batch by batch in this order, which must not depend on what was stored already.
        digests = {photo.id: out.digests[photo.id] for photo in photos if photo.id in out.digests}
        failed = {photo.id: out.failed[photo.id] for photo in photos if photo.id in out.failed}
        return Decoded(digests, failed, out.away)

    def _store(self, chunk: Sequence[tuple[Photo, _Result]], out: Decoded) -> None:
        """Store what could be decoded, and note what came of each photo."""
        keys: list[str] = []
        pixels: list[npt.NDArray[np.uint8]] = []
        for photo, result in chunk:
            if isinstance(result, ImageError):
                out.failed[photo.id] = str(result)
                if isinstance(result, UnreachableError):
                    out.away.add(photo.id)
            else:
                out.digests[photo.id] = result[1]
                pixels.append(result[0])
                keys.append(result[1])
        if keys:
            self.append(keys, np.stack(pixels))

    def _decode(self, photo: Photo, remote: RemoteFiles | None, recheck: bool) -> _Result:
        try:
            return decode_place(photo.file, self.size, self.interpolation, remote, recheck=recheck)
        except ImageError as error:
            return error


def decode_place(
    place: Place, size: int, interpolation: str, remote: RemoteFiles | None, *, recheck: bool = False
) -> _Pixels:
    """Return what `decode_image` does of the file at `place`; `remote` fetches one behind a URL. Raises ImageError."""
    if isinstance(place, Path):
        return decode_image(place, size, interpolation)
    if remote is None:
        raise ImageError("a URL, where only files are read")
    file = remote.file(place, recheck=recheck)
    try:
        return decode_image(file, size, interpolation)
    except ImageError:
        remote.drop(place)  # the next try asks for it anew
        raise


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Photo], _Result], photos: Sequence[Photo], ahead: int
) -> Iterator[tuple[Photo, _Result]]:
    """Yield each photo with what `work` made of it, in their order: what is trained on them must not depend on arrival.

    Up to `ahead` of them are under way or done while one takes long, so it keeps few others waiting.
    """
    todo = iter(photos)
    running = deque((photo, pool.submit(work, photo)) for photo in islice(todo, ahead))
    try:
        while running:
            photo, future = running.popleft()
            result = future.result()
            running.extend((more, pool.submit(work, more)) for more in islice(todo, 1))
            yield photo, result
    finally:
        for _, future in running:
            future.cancel()
