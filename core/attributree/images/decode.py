"""Looking at image files: where they may lie, what their header says, and how they become pixels.

One module decides this for the whole project, so an image that ingest lets in is decoded the same way
by training and by prediction. Pillow and NumPy only.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError
from .headers import START, ImageHeader, plain_header

#: Formats that are decoded; others (EPS and FITS run interpreters or big parsers) are refused by name.
#: Pillow reads MPO, the JPEGs of many phones, as JPEG and knows no opener of that name.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
#: Largest picture accepted, in pixels; a larger one is a decompression bomb or a scan for print.
MAX_PIXELS = 80_000_000
#: Largest file accepted, in bytes.
MAX_BYTES = 64 * 1024 * 1024

#: What ends a path that leads to a folder.
_NO_NAMES = ("", ".", "..")
#: Folders that are remembered before all are forgotten.
_MOST_FOLDERS = 100_000
_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]*://")


def locate(root: Path, cell: str) -> Path:
    """Return the file that an `image` cell names below `root`. Raises ImageError if it lies elsewhere.

    Symbolic links are followed first, so one that leads out of `root` is refused as well.
    """
    return Path(Places(root).locate(cell)[0])


class Places:
    """Where cells lead below one images root; the root and each folder in it are followed once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._base: Path | None = None
        self._folders: dict[str, str] = {}

    def locate(self, cell: str) -> tuple[str, os.stat_result | None]:
        """Return `locate` as text, and what the file system says of it if it is a plain file. Raises ImageError."""
        if _URL.match(cell):
            raise ImageError("remote images are not fetched; download it and give its path below the images root")
        if "\0" in cell:
            raise ImageError("the path holds a NUL byte")
        path = self.plain(cell)
        if path is not None:
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                return path, None
            except (OSError, ValueError):
                pass  # which of them, `_follow` says
            else:
                if stat.S_ISREG(found.st_mode):
                    return path, found
        return self._follow(cell), None

    def plain(self, cell: str) -> str | None:
        """Return where `cell` leads unless the last part of it is a link; None if only `locate` can say.

        The file system is asked for the folder alone, once.
        """
        folder, slash, name = cell.rpartition("/")
        if name in _NO_NAMES or "\0" in cell or ("://" in cell and _URL.match(cell)):
            return None
        try:
            return f"{self._folder(folder + slash)}/{name}"
        except (ImageError, OSError, ValueError):
            return None

    def _folder(self, cell: str) -> str:
        found = self._folders.get(cell)
        if found is None:
            if len(self._folders) >= _MOST_FOLDERS:
                self._folders.clear()
            found = self._folders[cell] = self._follow(cell)
        return found

    def _follow(self, cell: str) -> str:
        """Return the path with all symbolic links followed. Raises ImageError if it is not below the root."""
        try:
            base = self._base = self._base or self._root.resolve()
            path = (base / cell).resolve()
        except (OSError, RuntimeError, UnicodeError) as error:  # a loop of links, a name that cannot be encoded
            raise ImageError(f"not a path that can be followed: {error}") from None
        if not path.is_relative_to(base):
            raise ImageError(
                f"outside the images root {self._root}; move it there or ingest with another --images ROOT"
            )
        return str(path)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Pillow's warnings about metadata that does not matter here.

    Warning filters belong to the process, so this goes around a pool of decoding threads and not into them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


class _Reading:
    """Turns everything that Pillow and the file system raise on a bad file into an ImageError.

    No `contextmanager`: entering one of those takes longer than understanding a header.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case None | ImageError():
                return
            case FileNotFoundError():
                raise ImageError("file not found") from None
            case IsADirectoryError():
                raise ImageError("is a folder, not an image") from None
            case UnidentifiedImageError():
                raise ImageError(f"not an image in one of {', '.join(FORMATS)}") from None
            case MemoryError():
                raise ImageError("too large to decode") from None
            case Exception():
                # Pillow's codecs raise OSError, ValueError, SyntaxError, struct.error, ... on damaged files.
                raise ImageError(f"cannot be read: {error or type(error).__name__}") from error


_reading = _Reading()


def inspect_image(path: Path | str, found: os.stat_result | None = None) -> ImageHeader:
    """Return the header of the image at `path`; nothing is decoded. Raises ImageError with the reason.

    `found` is what the file system says of it, if that was asked already.
    """
    with _reading:
        found = found or Path(path).stat()
        if found.st_size == 0:
            raise ImageError("zero bytes")
        if found.st_size > MAX_BYTES:
            raise ImageError(f"{found.st_size / 1e6:.0f} MB, more than the {MAX_BYTES / 1e6:.0f} MB allowed")
        plain = plain_header(_start(path))
        if plain is None:
            with Image.open(path, formats=FORMATS) as image:
                plain = str(image.format), image.width, image.height
        kind, width, height = plain
        _check_size(width, height)
        return ImageHeader(width, height, kind, found.st_size, found.st_mtime_ns)


def allowed(header: ImageHeader) -> bool:
    """Return whether `inspect_image` would accept a file with this header."""
    return header.bytes <= MAX_BYTES and header.width * header.height <= MAX_PIXELS


def _start(path: Path | str) -> bytes:
    """Return the first `START` bytes of a file, without what a file object asks of the system besides."""
    opened = os.open(path, os.O_RDONLY)
    try:
        return os.read(opened, START)
    finally:
        os.close(opened)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels, more than the {MAX_PIXELS // 1_000_000} million allowed")


def decode_image(path: Path, size: int) -> tuple[npt.NDArray[np.uint8], str]:
    """Return the image as (size, size, 3) RGB uint8, and the SHA-256 of its file.

    The picture is turned as its EXIF data say, put on white where it is transparent, and padded with
    white to a square: a crop would cut off what attributes are seen by. Raises ImageError with the reason.
    """
    with _reading:
        header = inspect_image(path)
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size)
            if header.format == "JPEG":
                image.draft("RGB", (size, size))  # decodes at 1/2, 1/4 or 1/8 scale: three times as fast
            square = ImageOps.pad(_to_rgb(ImageOps.exif_transpose(image)), (size, size), color="white")
        return np.asarray(square, dtype=np.uint8), hashlib.sha256(data).hexdigest()


def _to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` in RGB: 16-bit scaled down, transparency on white, palettes and CMYK converted."""
    if image.mode in ("I", "I;16", "I;16B", "I;16L", "F"):
        pixels = np.nan_to_num(np.asarray(image, dtype=np.float64))
        brightest = pixels.max(initial=0)
        top = 1.0 if image.mode == "F" and brightest <= 1 else 255.0 if brightest <= 255 else 65535.0
        return Image.fromarray((pixels.clip(0, top) * (255.0 / top)).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")
