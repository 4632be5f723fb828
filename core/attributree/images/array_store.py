"""Fixed-size records on disk, keyed by digest: the ground of the pixel and the activation store."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from ..errors import ArtifactError
from .cache import Room, hold, stores_below

KEY_BYTES = 64  # a SHA-256 in hexadecimal
_LINE = KEY_BYTES + 1


class RecordStore:
    """An append-only file of equal records and a file of their keys, both memory-mapped or small.

    A record counts once its key is written, and the key is written after the record is on disk, so a killed
    writer leaves nothing but a tail that the next one overwrites. Writers take turns by a file lock;
    readers need none. Everything in here can be deleted while no store is open, and is then made again. `room` is
    asked before much is written.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: npt.DTypeLike, *, room: Room | None = None) -> None:
        self.folder = folder
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._data, self._keys = folder / "records.bin", folder / "keys.txt"
        self._room = room
        self._record_bytes = int(np.prod(shape)) * self.dtype.itemsize
        self._rows: dict[str, int] = {}
        self._map: npt.NDArray[np.generic] | None = None
        with self._writing():
            while (held := hold(folder)) is None:  # it is not there yet, or another process has just deleted it
                folder.mkdir(parents=True, exist_ok=True)
            self._held = held
            weakref.finalize(self, os.close, self._held)
            self._check_layout()
        self.refresh()

    def reserve(self, records: int) -> None:
        """Make room for so many more records. Raises ArtifactError if there can be none."""
        if self._room and records:
            self._room(records * (self._record_bytes + _LINE))

    def _check_layout(self) -> None:
        """Write the record's shape beside the data, or compare with what stands there."""
        layout = {"shape": list(self.shape), "dtype": self.dtype.name}
        path = self.folder / "layout.json"
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}.tmp")
            partial.write_text(json.dumps(layout))
            partial.replace(path)
        elif _read_json(path) != layout:
            raise ArtifactError(f"{self.folder} holds records of another shape; delete the folder, it is only a cache")

    def refresh(self) -> None:
        """Read the keys that other writers have added; all of them if the folder was emptied and filled anew."""
        known = len(self._rows)
        data = _read_from(self._keys, max(0, known - 1) * _LINE)
        if known and data[:KEY_BYTES].decode(errors="replace") != next(reversed(self._rows)):
            self._rows, self._map, known = {}, None, 0
            data = _read_from(self._keys, 0)
        data = data[_LINE:] if known else data
        lines = (data[i : i + _LINE] for i in range(0, len(data), _LINE))
        # After a power cut the last block may be torn or zeroes; keys count up to there.
        sound = takewhile(lambda line: len(line) == _LINE and line.endswith(b"\n"), lines)
        fresh = {line[:KEY_BYTES].decode(): i for i, line in enumerate(sound, start=known)}
        if fresh:
            self._rows |= fresh
            self._map = None

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, keys: Sequence[str], records: npt.NDArray[np.generic]) -> None:
        """Add `records` (N, *shape) under `keys`; keys that are there already are left as they are."""
        if records.shape != (len(keys), *self.shape):
            raise ValueError(f"records are {records.shape}, expected {(len(keys), *self.shape)}")
        with self._writing(), FileLock(str(self.folder / "writer.lock")):
            self.refresh()
            fresh = [i for i, key in enumerate(keys) if key not in self._rows and key not in keys[:i]]
            if not fresh:
                return
            start = len(self._rows)
            block = np.ascontiguousarray(records[fresh], dtype=self.dtype)
            with self._data.open("r+b" if self._data.exists() else "w+b") as data:
                data.seek(start * self._record_bytes)
                data.write(block.tobytes())
                data.truncate()
                data.flush()
                os.fsync(data.fileno())
            with self._keys.open("r+b" if self._keys.exists() else "w+b") as file:
                file.seek(start * _LINE)
                file.write("".join(f"{keys[i]}\n" for i in fresh).encode())
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
            self.refresh()

    def erase(self, keys: Collection[str]) -> int:
        """Overwrite the records of `keys` and forget their keys; return how many there were.

        Rows keep their numbers, so nobody who reads others is disturbed.
        """
        with self._writing(), FileLock(str(self.folder / "writer.lock")):
            self.refresh()
            rows = sorted(self._rows[key] for key in set(keys) if key in self._rows)
            if not rows:
                return 0
            with self._data.open("r+b") as data, self._keys.open("r+b") as file:
                for row in rows:
                    data.seek(row * self._record_bytes)
                    data.write(bytes(self._record_bytes))
                    file.seek(row * _LINE)
                    file.write(f"{row:0{KEY_BYTES}d}".encode())  # no file's digest, and no other row's
                for opened in (data, file):
                    opened.flush()
                    os.fsync(opened.fileno())
            self._rows, self._map = {}, None
            self.refresh()
            return len(rows)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what the disk refuses into one line."""
        try:
            yield
        except OSError as error:
            raise ArtifactError(
                f"{self.folder} cannot be written ({error.strerror}); free some space, or set another catalog -> cache"
            ) from error

    def rows(self, keys: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each key. Raises KeyError for one that is not stored."""
        return np.fromiter((self._rows[key] for key in keys), dtype=np.int64, count=len(keys))

    def records(self) -> npt.NDArray[np.generic]:
        """Return all records (N, *shape) as a read-only memory map; index it with `rows`."""
        if self._map is None:
            if not self._rows:
                return np.empty((0, *self.shape), dtype=self.dtype)
            if self._data.stat().st_size < len(self._rows) * self._record_bytes:
                raise ArtifactError(f"{self._data} was cut short; delete {self.folder}, it is only a cache")
            self._map = np.memmap(self._data, dtype=self.dtype, mode="r", shape=(len(self._rows), *self.shape))
            # Records may outlive the store: other processes open them by the file's name, so it stays until then.
            weakref.finalize(self._map, os.close, os.dup(self._held))
        return self._map

    def read(self, keys: Sequence[str]) -> npt.NDArray[np.generic]:
        """Return the records (len(keys), *shape) of `keys`, in their order, in memory."""
        return np.asarray(self.records()[self.rows(keys)])


def erase_everywhere(cache: Path, keys: Collection[str]) -> int:
    """Erase `keys` from every store below a cache; return how many records that were."""
    erased = 0
    for folder in stores_below(cache):
        layout = _read_json(folder / "layout.json")
        if isinstance(layout, dict):
            erased += RecordStore(folder, tuple(layout["shape"]), layout["dtype"]).erase(keys)
    return erased


def _read_json(path: Path) -> object:
    """Return what a JSON file holds, None if it is damaged."""
    try:
        return json.loads(path.read_text())
    except (ValueError, FileNotFoundError):
        return None


def _read_from(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""
