"""Image files: what their header says, and how they become pixels.

One module decides this for the whole project, so an image that ingest lets in is decoded the same way
by training and by prediction. Pillow and NumPy only.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import ImageError

#: Formats that are decoded; others (EPS and FITS run interpreters or big parsers) are refused by name.
#: Pillow reads MPO, the JPEGs of many phones, as JPEG and knows no opener of that name.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
#: Largest picture accepted, in pixels; a larger one is a decompression bomb or a scan for print.
MAX_PIXELS = 80_000_000
#: Largest file accepted, in bytes.
MAX_BYTES = 64 * 1024 * 1024


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Pillow's warnings about metadata that does not matter here.

    Warning filters belong to the process, so this goes around a pool of decoding threads and not into them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


@contextmanager
def _reading() -> Iterator[None]:
    """Turn everything that Pillow and the file system raise on a bad file into an ImageError."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError:
        raise ImageError("file not found") from None
    except IsADirectoryError:
        raise ImageError("is a folder, not an image") from None
    except UnidentifiedImageError:
        raise ImageError(f"not an image in one of {', '.join(FORMATS)}") from None
    except MemoryError:
        raise ImageError("too large to decode") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"more pixels than the {MAX_PIXELS // 1_000_000} million allowed") from None
    except Exception as error:
        # Pillow's codecs raise OSError, ValueError, SyntaxError, struct.error, ... on damaged files.
        raise ImageError(f"cannot be read: {error or type(error).__name__}") from error


def inspect_image(path: Path | str, size: int | None = None) -> str:
    """Return the format of the image at `path`, nothing is decoded; `size`, in bytes, if the caller has asked for it.

    Raises ImageError with the reason.
    """
    with _reading():
        if size is None:
            size = Path(path).stat().st_size
        if size == 0:
            raise ImageError("zero bytes")
        if size > MAX_BYTES:
            raise ImageError(f"{size / 1e6:.0f} MB, more than the {MAX_BYTES / 1e6:.0f} MB allowed")
        with Image.open(path, formats=FORMATS) as image:
            _check_size(*image.size)
            return str(image.format)


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels, more than the {MAX_PIXELS // 1_000_000} million allowed")


def decode_image(path: Path, size: int, interpolation: str = "bicubic") -> tuple[npt.NDArray[np.uint8], str]:
    """Return the image as (size, size, 3) RGB uint8, and the SHA-256 of its file.

    The picture is turned as its EXIF data say, put on white where it is transparent, resampled by `interpolation`
    (Pillow's name for it in small letters) and padded with white to a square: a crop would cut off what attributes are
    seen by. Raises ImageError with the reason.
    """
    with _reading():
        kind = inspect_image(path)
        data = path.read_bytes()
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_size(*image.size)
            if kind == "JPEG":
                image.draft("RGB", (size, size))  # decodes at 1/2, 1/4 or 1/8 scale: three times as fast
            method = Image.Resampling[interpolation.upper()]
            square = ImageOps.pad(_to_rgb(ImageOps.exif_transpose(image)), (size, size), method, color="white")
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
