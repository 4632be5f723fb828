"""From catalogued images to trunk features: decode once, run the trunk once, keep both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from ..catalog import Catalog
from ..errors import CatalogError
from ..images.array_store import RecordStore
from ..images.cache import Bound
from ..images.features import ActivationStore, fill_features
from ..images.pixels import Photo, PixelStore
from ..images.remote import RemoteFiles
from ..labels.records import FileState
from ..nn.transform import Transform
from ..nn.trunk import PIXELS, Backbone, Reads
from ..reports import Progress


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded images of the catalogue: `digests` by image id, and the store that has their pixels.

    `failed` says why the others could not be; `away` are those of them whose host could not be reached.
    """

    pixels: PixelStore
    digests: dict[int, str]
    failed: dict[int, str]
    away: set[int] = field(default_factory=set)

    def rows(self, store: RecordStore, ids: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the row in `store.records()` of each image id."""
        return store.rows([self.digests[i] for i in ids])


@dataclass(frozen=True, eq=False)
class CatalogImages:
    """The catalogue's images as arrays: decoded once and run through a trunk once, both kept in the cache `bound`.

    `remote` fetches those behind URLs. `workers` threads decode; 0 for one a core.
    """

    catalog: Catalog
    bound: Bound
    remote: RemoteFiles
    device: torch.device
    workers: int = 0
    progress: Progress | None = None

    def decode(self, ids: Sequence[int], transform: Transform, *, recheck: bool = False) -> Pictures:
        """Decode the images of `ids` as `transform` says; quarantine those that are there and cannot be read.

        A photo whose size or time of change differs from what the catalogue noted is decoded anew. One behind a URL is
        fetched once; with `recheck` its host is asked whether it is still the same, and it leaves its quarantine if it
        can be read. Raises CatalogError if most of the files are not there: then it is the folder that is missing.
        """
        store = PixelStore(self.bound.cache, transform.size, transform.interpolation, room=self.bound)
        photos, stats = [], {}
        for image in self.catalog.labels.images(ids=ids):
            known = image.digest
            if isinstance(image.file, str):
                photos.append(Photo(image.id, image.file, None if recheck else known))
                continue
            try:
                stats[image.id] = stat = image.file.stat()
                if (stat.st_size, stat.st_mtime_ns) != (image.bytes, image.mtime_ns):
                    known = None
            except OSError:
                pass  # the file is gone, its pixels may still be here
            photos.append(Photo(image.id, image.file, known))
        local = [photo for photo in photos if isinstance(photo.file, Path)]
        unreachable = [p for p in local if p.id not in stats and not (p.digest and p.digest in store)]
        if len(unreachable) > len(local) / 2:
            raise CatalogError(
                f"{len(unreachable)} of {len(local)} image files are not there or cannot be looked at, "
                f"{unreachable[0].file} for one; is the images folder mounted? "
                "If it was moved, type: attributree relocate OLD NEW"
            )
        tell = self._counter("decoding", len(photos))
        decoded = store.fill(photos, tell, self.workers, remote=self.remote, recheck=recheck)
        remote = {photo.id for photo in photos if isinstance(photo.file, str)}
        unknown = {photo.id for photo in photos if photo.digest is None}
        self.catalog.labels.record_files(
            {
                i: FileState(digest) if i in remote else FileState(digest, stats[i].st_size, stats[i].st_mtime_ns)
                for i, digest in decoded.digests.items()
                if i in unknown and (i in remote or i in stats)
            }
        )
        # What is away for now, a file or a host, may be back tomorrow; it is only left out.
        there = (stats.keys() | remote) - decoded.away
        self.catalog.labels.quarantine({i: reason for i, reason in decoded.failed.items() if i in there})
        if recheck:
            self.catalog.labels.release(list(decoded.digests))
        return Pictures(store, decoded.digests, decoded.failed, decoded.away)

    def features(
        self,
        backbone: Backbone,
        trunk_digest: str,
        pictures: Pictures,
        reads: Collection[Reads],
        *,
        mirrored: bool = False,
    ) -> dict[Reads, RecordStore]:
        """Return the stores of what `reads` asks for of the trunk; what is missing of `pictures` is computed first.

        Pixels are the pictures' own, which are never `mirrored`.
        """
        cache, size, key = self.bound.cache, backbone.spec.image_size, backbone.transform.key(trunk_digest)
        stores = {
            what: ActivationStore(
                cache, key, size, backbone.shapes[what], mirrored=mirrored, kind=what, room=self.bound
            )
            for what in reads
            if what != PIXELS
        }
        digests = list(dict.fromkeys(pictures.digests.values()))
        tell = self._counter("trunk features, mirrored" if mirrored else "trunk features", len(digests))
        if stores:
            fill_features(stores, backbone.trunk.to(self.device), pictures.pixels, digests, self.device, tell)
        return {**stores, PIXELS: pictures.pixels} if PIXELS in reads else dict(stores)

    def _counter(self, what: str, of: int) -> Callable[[int], None]:
        """Return what adds up the counts that it is told, and reports the sum as progress."""
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            if self.progress:
                self.progress(what, done, of)

        return tell
