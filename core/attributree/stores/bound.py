"""Bounded caches: whole stores are deleted, the least recently used first, to make room for what is needed now.

A store that is open anywhere is never deleted: each instance holds a shared lock on its folder for as long as it lives,
and a process that is killed lets go of its locks.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..config import CatalogSettings
from ..errors import ArtifactError

try:
    import fcntl
except ImportError:  # Windows: nothing is deleted there, since nobody can tell what is in use
    fcntl = None  # type: ignore[assignment]

#: Makes room for so many bytes below a cache, or raises ArtifactError.
Room = Callable[[int], None]
_USED = "used"


def hold(folder: Path) -> int | None:
    """Mark a store as used now, and as in use until the returned file descriptor is closed.

    Returns None if the store is not there, or was deleted just now.
    """
    path = folder / _USED
    try:
        held = os.open(path, os.O_RDWR | os.O_CREAT)
    except FileNotFoundError:
        return None
    if fcntl:
        fcntl.flock(held, fcntl.LOCK_SH)  # waits for one that is deleting it
        try:
            here = path.stat().st_ino == os.fstat(held).st_ino
        except FileNotFoundError:
            here = False
        if not here:
            os.close(held)
            return None
    os.utime(path)
    return held


@dataclass(frozen=True)
class Bound:
    """A cache and how many bytes it may hold."""

    cache: Path
    limit: int

    @classmethod
    def of(cls, settings: CatalogSettings) -> Bound:
        """Return the bound that the settings give."""
        return cls(settings.cache, int(settings.cache_gigabytes * 1e9))

    def __call__(self, need: int) -> None:
        """Delete stores that nobody uses until `need` more bytes fit. Raises ArtifactError if they cannot."""
        stores = sorted(_stores(self.cache), key=_last_used)
        sizes = {store: _size(store) for store in stores}
        for store in stores:
            if sum(sizes.values()) + need <= self.limit:
                return
            if _delete(store):
                del sizes[store]
        if sum(sizes.values()) + need > self.limit:
            raise ArtifactError(
                f"{self.cache}: {need / 1e9:.2f} GB are needed beside {sum(sizes.values()) / 1e9:.2f} GB in use, and "
                f"catalog -> cache_gigabytes allows {self.limit / 1e9:.2f}; raise it, or lower trunk -> image_size"
            )


def _stores(cache: Path) -> list[Path]:
    return [folder for kind in ("pixels", "activations") for folder in (cache / kind).glob("*/") if folder.is_dir()]


def _last_used(store: Path) -> float:
    try:
        return (store / _USED).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(store: Path) -> int:
    return sum(file.stat().st_size for file in store.iterdir() if file.is_file())


def _delete(store: Path) -> bool:
    """Delete a store unless somebody uses it; return whether it is gone."""
    if not fcntl:
        return False
    with (store / _USED).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        shutil.rmtree(store)
        return True
