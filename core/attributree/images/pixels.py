"""The pixel store: every photo decoded and resized once, uint8 RGB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import ImageError
from ..nn.transform import BICUBIC
from .array_store import RecordStore
from .cache import Room
from .decode import decode_image, quiet

#: Names the way from file to pixels, with bicubic resampling; a change of `decode_image` that alters pixels changes it.
TRANSFORM = "pad-white-1"
_CHUNK = 256


@dataclass(frozen=True)
class Photo:
    """An image file to decode; `digest` is the SHA-256 of its content if it is known to be unchanged."""

    id: int
    file: Path
    digest: str | None = None


@dataclass
class Decoded:
    """What came of a list of photos: digests by id, and the reason for each that could not be read."""

    digests: dict[int, str] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)


class PixelStore(RecordStore):
    """Photos as (size, size, 3) uint8, resampled by `interpolation`, keyed by the SHA-256 of their file."""

    def __init__(self, cache: Path, size: int, interpolation: str = BICUBIC, *, room: Room | None = None) -> None:
        words = (TRANSFORM, "" if interpolation == BICUBIC else interpolation, str(size))
        super().__init__(cache / "pixels" / "-".join(filter(None, words)), (size, size, 3), np.uint8, room=room)
        self.size = size
        self.interpolation = interpolation

    def fill(self, photos: Sequence[Photo], progress: Callable[[int], None] | None = None, workers: int = 0) -> Decoded:
        """Decode the photos that are not stored yet; `progress` is told how many were looked at.

        Threads suffice: Pillow decodes and resizes without holding the interpreter.
        """
        out = Decoded({p.id: p.digest for p in photos if p.digest and p.digest in self})
        todo = [photo for photo in photos if photo.id not in out.digests]
        self.reserve(len(todo))
        if progress and out.digests:
            progress(len(out.digests))
        with quiet(), ThreadPoolExecutor(workers or cpu_count() or 1) as pool:
            for start in range(0, len(todo), _CHUNK):
                chunk = todo[start : start + _CHUNK]
                results = list(pool.map(self._decode, chunk))
                keys: list[str] = []
                pixels: list[npt.NDArray[np.uint8]] = []
                for photo, result in zip(chunk, results, strict=True):
                    if isinstance(result, str):
                        out.failed[photo.id] = result
                    else:
                        out.digests[photo.id] = result[1]
                        pixels.append(result[0])
                        keys.append(result[1])
                if keys:
                    self.append(keys, np.stack(pixels))
                if progress:
                    progress(len(chunk))
        return out

    def _decode(self, photo: Photo) -> tuple[npt.NDArray[np.uint8], str] | str:
        try:
            return decode_image(photo.file, self.size, self.interpolation)
        except ImageError as error:
            return str(error)
