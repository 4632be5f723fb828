"""Pictures that are in several splits: what is learnt from one is tested on the other, and every score is too good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress

from ..catalog import Catalog
from ..errors import CatalogError
from ..images.decode import MAX_BYTES
from ..labels.records import FileState, SharedPicture

#: Files that are read for one plan; the next one goes on with others.
_AT_ONCE = 2000


def shared_pictures(catalog: Catalog) -> tuple[SharedPicture, ...]:
    """Return the pictures that are in several splits, by the bytes of their files.

    Files that were never read and are as large as one of another split are read now, and what they are is stored.
    """
    found: dict[int, FileState] = {}
    for image in catalog.labels.images(ids=catalog.labels.alike_in_size(_AT_ONCE)):
        if isinstance(image.file, str):  # what is behind a URL is known once it was fetched
            continue
        with suppress(OSError):  # it is away, and comes again when it is back
            stat = image.file.stat()
            if stat.st_size <= MAX_BYTES:
                digest = hashlib.sha256(image.file.read_bytes()).hexdigest()
                found[image.id] = FileState(digest, stat.st_size, stat.st_mtime_ns)
    if found:
        with suppress(CatalogError):  # it cannot be written: then the next sync tells
            catalog.labels.record_files(found)
    return catalog.labels.shared_between_splits()


def tell_shared(pictures: tuple[SharedPicture, ...]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, in a line, and what to do; nothing if there is none."""
    if pictures:
        first = pictures[0]
        where = " and ".join(f"{path} of {sku} in {split}" for path, sku, split in first.places)
        count = f"{len(pictures)} pictures are" if len(pictures) > 1 else "a picture is"
        yield (
            f"{count} in several splits, so what is learnt from one is tested on itself: {where}",
            "give both rows the same sku, or the same split, in the label file and ingest it again",
        )
