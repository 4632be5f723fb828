"""From catalogued images to trunk features: decode once, run the trunk once, keep both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..catalog import Catalog
from ..errors import CatalogError
from ..images.array_store import RecordStore
from ..images.cache import Bound
from ..images.features import ActivationStore, fill_features
from ..images.pixels import Photo, PixelStore
from ..labels.records import FileState
from ..nn.transform import Transform
from ..nn.trunk import Backbone, Reads
from ..reports import Progress


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded images of the catalogue: `digests` by image id, and the store that has their pixels."""

    pixels: PixelStore
    digests: dict[int, str]
    failed: dict[int, str]

    def rows(self, store: RecordStore, ids: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the row in `store.records()` of each image id."""
        return store.rows([self.digests[i] for i in ids])


@dataclass(frozen=True, eq=False)
class CatalogImages:
    """The catalogue's images as arrays: decoded once and run through a trunk once, both kept in the cache `bound`.

    `workers` threads decode; 0 for one a core.
    """

    catalog: Catalog
    bound: Bound
    device: torch.device
    workers: int = 0
    progress: Progress | None = None

    def decode(self, ids: Sequence[int], transform: Transform) -> Pictures:
        """Decode the images of `ids` as `transform` says; quarantine those that are there and cannot be read.

        A photo whose size or time of change differs from what the catalogue noted is decoded anew. Raises CatalogError
        if most of the files are not there: then it is the folder that is missing.
        """
        store = PixelStore(self.bound.cache, transform.size, transform.interpolation, room=self.bound)
        photos, stats = [], {}
        for image in self.catalog.labels.images(ids=ids):
            known = image.digest
            try:
                stats[image.id] = stat = image.file.stat()
                if (stat.st_size, stat.st_mtime_ns) != (image.bytes, image.mtime_ns):
                    known = None
            except OSError:
                pass  # the file is gone, its pixels may still be here
            photos.append(Photo(image.id, image.file, known))
        unreachable = [p for p in photos if p.id not in stats and not (p.digest and p.digest in store)]
        if len(unreachable) > len(photos) / 2:
            raise CatalogError(
                f"{len(unreachable)} of {len(photos)} image files are not there or cannot be looked at, "
                f"{unreachable[0].file} for one; is the images folder mounted? "
                "If it was moved, type: attributree relocate OLD NEW"
            )
        decoded = store.fill(photos, self._counter("decoding", len(photos)), self.workers)
        unknown = {photo.id for photo in photos if photo.digest is None}
        self.catalog.labels.record_files(
            {
                i: FileState(digest, stats[i].st_size, stats[i].st_mtime_ns)
                for i, digest in decoded.digests.items()
                if i in unknown and i in stats
            }
        )
        for image_id, reason in decoded.failed.items():
            if image_id in stats:  # a file that is away for now may be back tomorrow; it is only left out
                self.catalog.labels.quarantine(image_id, reason)
        return Pictures(store, decoded.digests, decoded.failed)

    def features(
        self,
        backbone: Backbone,
        trunk_digest: str,
        pictures: Pictures,
        reads: Collection[Reads],
        *,
        mirrored: bool = False,
    ) -> dict[Reads, ActivationStore]:
        """Return the stores of what `reads` asks for of the trunk; what is missing of `pictures` is computed first."""
        cache, size, key = self.bound.cache, backbone.spec.image_size, backbone.transform.key(trunk_digest)
        stores = {
            what: ActivationStore(
                cache, key, size, backbone.shapes[what], mirrored=mirrored, kind=what, room=self.bound
            )
            for what in reads
        }
        digests = list(dict.fromkeys(pictures.digests.values()))
        tell = self._counter("trunk features, mirrored" if mirrored else "trunk features", len(digests))
        fill_features(stores, backbone.trunk.to(self.device), pictures.pixels, digests, self.device, tell)
        return stores

    def _counter(self, what: str, of: int) -> Callable[[int], None]:
        """Return what adds up the counts that it is told, and reports the sum as progress."""
        done = 0

        def tell(count: int) -> None:
            nonlocal done
            done += count
            if self.progress:
                self.progress(what, done, of)

        return tell
