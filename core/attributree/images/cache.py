"""Bounded caches: whole stores are deleted, the least recently used first, to make room for what is needed now.

A store that is open anywhere is never deleted: each instance holds a shared lock on its folder for as long as it lives,
and a process that is killed lets go of its locks.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import ArtifactError
from ..settings.models import CatalogSettings

try:
    import fcntl
except ImportError:  # Windows: nothing is deleted there, since nobody can tell what is in use
    fcntl = None  # type: ignore[assignment]

#: Makes room for so many bytes below a cache, or raises ArtifactError.
Room = Callable[[int], None]
_USED = "used"
#: Where stores on their way out are moved first: nobody opens anything there.
_DELETED = "deleted"


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
        if not _is_at(held, path):
            os.close(held)
            return None
    os.utime(held)
    return held


def _is_at(opened: int, path: Path) -> bool:
    """Return whether `path` still leads to the opened file: what it was opened in may be deleted and made anew."""
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False


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
        shutil.rmtree(self.cache / _DELETED, ignore_errors=True)  # what a killed deleter left
        stores = sorted(stores_below(self.cache), key=_last_used)
        sizes = {store: _size(store) for store in stores}
        for store in stores:
            if sum(sizes.values()) + need <= self.limit:
                return
            if self._delete(store):
                del sizes[store]
        if sum(sizes.values()) + need > self.limit:
            raise ArtifactError(
                f"{self.cache}: {need / 1e9:.2f} GB are needed beside {sum(sizes.values()) / 1e9:.2f} GB in use, and "
                f"catalog -> cache_gigabytes allows {self.limit / 1e9:.2f}; raise it, or lower trunk -> image_size"
            )

    def _delete(self, store: Path) -> bool:
        """Delete a store unless somebody uses it; return whether it is gone.

        It is renamed first, in one step: nobody may find a store of which half is there.
        """
        if not fcntl:
            return False
        used = store / _USED
        try:
            held = os.open(used, os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            return True  # another one was faster
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(held, used):
                return not store.exists()  # somebody made it anew, and uses it
            grave = self.cache / _DELETED / f"{store.name}-{secrets.token_hex(8)}"
            grave.parent.mkdir(exist_ok=True)
            store.rename(grave)
        except (BlockingIOError, FileNotFoundError):
            return False
        finally:
            os.close(held)
        shutil.rmtree(grave, ignore_errors=True)
        return True


def stores_below(cache: Path) -> list[Path]:
    """Return the folder of every store in a cache."""
    return [folder for kind in ("pixels", "activations") for folder in (cache / kind).glob("*/") if folder.is_dir()]


def _last_used(store: Path) -> float:
    try:
        return (store / _USED).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(store: Path) -> int:
    """Return the bytes of a store, 0 if another process has just deleted it."""
    size = 0
    with suppress(FileNotFoundError):
        for file in store.iterdir():
            size += file.stat().st_size
    return size
