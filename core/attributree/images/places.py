"""Where the `image` cells of a label file lead, and what is wrong with paths that people type."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path

from ..errors import ImageError
from ..jsonable import printable

#: What ends a path that leads to a folder.
_NO_NAMES = ("", ".", "..")
#: Suffixes of image files, and how many names of a folder are looked at for a hint.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_LOOKED_AT = 1000
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]*://")


class Places:
    """Where cells lead below one images root; the root and each folder in it are followed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = lru_cache(maxsize=100_000)(self._follow)

    def locate(self, cell: str) -> tuple[str, os.stat_result]:
        """Return the file that `cell` names below the root, and its state.

        Symbolic links are followed first, so one that leads out of the root is refused as well. Raises ImageError if
        the file lies elsewhere, or is not there.
        """
        if _URL.match(cell):
            raise ImageError("remote images are not fetched; download it and give its path below the images root")
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
            if printable(path) != path:
                raise ImageError(f"leads to {printable(path)}, whose name is not UTF-8; rename it")
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


def why_no_image(typed: str) -> str | None:
    """Return why a path that a person typed leads to no image, with what to type; None if a file is there."""
    if typed == "-":
        return "stdin is not read; give the paths of image files"
    if printable(typed) != typed:
        return "its name is not UTF-8; rename the file"
    path = Path(typed)
    if os.path.isdir(path):  # noqa: PTH112  # unlike pathlib's, these raise nothing
        suffixes = Counter(name.suffix for name in _names_in(path) if name.suffix.lower() in _SUFFIXES)
        common = suffixes.most_common(1)
        return f"is a folder; give its files: {path}/*{common[0][0] if common else '.jpg'}"
    if os.path.exists(path):  # noqa: PTH110
        return None
    if os.path.islink(path):  # noqa: PTH114
        return "is a link that leads nowhere"
    near = get_close_matches(path.name, [name.name for name in _names_in(path.parent)], n=1, cutoff=0.8)
    return f"file not found; did you mean {path.with_name(near[0])}?" if near else "file not found"


def _names_in(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.name) for entry in islice(entries, _LOOKED_AT) if printable(entry.name) == entry.name]
    except OSError:
        return []
