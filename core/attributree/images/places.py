"""Where the `image` cells of a label file lead."""

from __future__ import annotations

import os
import stat
from functools import cached_property, lru_cache
from pathlib import Path

from ..errors import ImageError
from .addresses import file_of, scheme_of

#: What ends a path that leads to a folder.
_NO_NAMES = ("", ".", "..")


class Places:
    """Where cells lead below one images root; the root and each folder in it are followed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = lru_cache(maxsize=100_000)(self._follow)

    def locate(self, cell: str) -> tuple[str, os.stat_result]:
        """Return the file that `cell`, a path or a file:// URL, names below the root, and its state.

        Symbolic links are followed first, so one that leads out of the root is refused as well. Raises ImageError if
        the file lies elsewhere, or is not there.
        """
        if scheme_of(cell) == "file":
            cell = file_of(cell)
        if "\0" in cell:
            raise ImageError("the path holds a NUL byte")
        folder, slash, name = cell.rpartition("/")
        try:
            if name not in _NO_NAMES:
                path = f"{self._folder(folder + slash)}/{name}"
                found = os.lstat(path)
                if not stat.S_ISLNK(found.st_mode):
                    return path, found
            path = self._follow(cell)
            return path, Path(path).stat()
        except FileNotFoundError:
            raise ImageError("file not found") from None
        except (OSError, ValueError) as error:
            raise ImageError(f"cannot be read: {error}") from None

    @cached_property
    def _base(self) -> Path:
        return self._root.resolve()

    def _follow(self, cell: str) -> str:
        """Return the path with all symbolic links followed. Raises ImageError if it is not below the root."""
        try:
            path = (self._base / cell).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that cannot be encoded
            raise ImageError(f"not a path that can be followed: {error}") from None
        if not path.is_relative_to(self._base):
            raise ImageError(
                f"outside the images root {self._root}; move it there or ingest with another --images ROOT"
            )
        return str(path)
