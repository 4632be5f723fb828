"""Where the `image` cells of a label file lead, the one name that several cells spell, and hints on paths."""

from __future__ import annotations

import os
import posixpath
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from ..errors import ImageError
from ..jsonable import printable
from .addresses import file_of, normal_url, scheme_of

#: What ends a path that leads to a folder.
_NO_NAMES = frozenset(("", ".", ".."))
_DRIVE = re.compile(r"[a-zA-Z]:[\\/]")
#: Suffixes of image files, and how many names of a folder are looked at for a hint.
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_LOOKED_AT = 1000


class Found(NamedTuple):
    """Where a cell leads: `path` is its one spelling below the root, `file` and `state` what lies there."""

    path: str
    file: str
    state: os.stat_result


class _MissingError(ImageError):
    """No file has the name."""


def normal(cell: str) -> str:
    """Return the one spelling of a path, without `.`, `//` and steps back, accents as single characters (NFC).

    That of a URL is `normal_url`.

    >>> normal("./a//b/../c.png")
    'a/c.png'
    """
    if not _NO_NAMES.isdisjoint(cell.split("/")):
        if scheme_of(cell):
            return normal_url(cell)
        cell = posixpath.normpath(re.sub("^/+", "/", cell))
    return unicodedata.normalize("NFC", cell)


class Places:
    """Where cells lead below one images root; the root and each folder in it are followed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = lru_cache(maxsize=100_000)(self._follow)

    def find(self, cell: str) -> Found:
        """Return where `cell` leads, whatever its spelling: `img.png`, `./img.png` and the absolute path are one place.

        So is the file:// URL. Where no file is called just so, accents may be encoded in another way than in the file's
        name, and a backslash may stand for a slash. Raises ImageError as `locate` does.
        """
        if scheme_of(cell) == "file":
            cell = file_of(cell)
        for spelling in self._spellings(cell):
            try:
                file, state = self.locate(spelling)
            except _MissingError:
                continue
            if spelling.startswith("/"):  # by way of a link to the root
                spelling = Path(file).relative_to(self._base).as_posix()
            path = normal(spelling)
            return Found(path if path == spelling or self._same(path, state) else spelling, file, state)
        hint = "; it is a path of Windows, write it as it is below the images root" if _DRIVE.match(cell) else ""
        raise ImageError(f"file not found{hint}")

    def path(self, cell: str) -> str:
        """Return the one spelling of a path below the root, whether or not something lies there.

        A file:// URL that leads elsewhere stays one.
        """
        if scheme_of(cell) != "file":
            return normal(self._below(cell.replace("\\", "/")))
        with suppress(ImageError):  # it names another host
            below = self._below(file_of(cell))
            return normal(cell if below.startswith("/") else below)
        return cell

    def _spellings(self, cell: str) -> Iterator[str]:
        for spelling in dict.fromkeys((cell, cell.replace("\\", "/"))):
            below = self._below(spelling)
            yield below
            if not below.isascii():
                yield from {unicodedata.normalize(form, below) for form in ("NFC", "NFD")} - {below}

    def _same(self, path: str, state: os.stat_result) -> bool:
        """Return whether the file with this `state`, or none, lies at `path`: the names of two files may look alike."""
        try:
            return os.path.samestat(self.locate(path)[1], state)
        except ImageError:
            return True

    def _below(self, cell: str) -> str:
        """Return a path without what is not needed to name it below the root, or `cell` if it leads out of the root."""
        if _NO_NAMES.isdisjoint(parts := cell.split("/")) or "\0" in cell or scheme_of(cell):
            return cell
        if ".." in parts:  # what is before it may be a link, which has to be followed first
            try:
                return Path(self._follow(cell)).relative_to(self._base).as_posix()
            except ImageError:
                return cell
        plain = posixpath.normpath(re.sub("^/+", "/", cell))
        root = self._base.as_posix().rstrip("/") + "/"
        return plain.removeprefix(root)

    def locate(self, cell: str) -> tuple[str, os.stat_result]:
        """Return the file that the path `cell` names below the root, and its state.

        Symbolic links are followed first, so one that leads out of the root is refused as well. Raises ImageError if
        the file lies elsewhere, or is not there.
        """
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
            raise _MissingError("file not found") from None
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
