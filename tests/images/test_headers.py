"""Headers that are read without Pillow: whatever they say, Pillow says too."""

from io import BytesIO
from typing import Any
from warnings import catch_warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from attributree.images.decode import FORMATS
from attributree.images.headers import START, plain_header


def saved(format: str, mode: str = "RGB", **options: Any) -> bytes:
    buffer = BytesIO()
    Image.new(mode, (40, 30), 7).save(buffer, format, **options)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x0112] = 6
PLAIN = {
    "png": saved("PNG"),
    "png with dots an inch": saved("PNG", dpi=(300, 300)),
    "png with transparency": saved("PNG", "RGBA"),
    "grey png": saved("PNG", "L"),
    "jpeg": saved("JPEG"),
    "grey jpeg": saved("JPEG", "L"),
    "progressive jpeg": saved("JPEG", progressive=True),
    "jpeg with exif, profile and comment": saved("JPEG", exif=EXIF, icc_profile=b"profile", comment=b"hello"),
}
ODD = {
    "palette": saved("PNG", "P"),
    "png with a profile": saved("PNG", icc_profile=b"profile"),
    "cmyk": saved("JPEG", "CMYK"),
    "jpeg with a large thumbnail": saved("JPEG", icc_profile=bytes(START)),
    "webp": saved("WEBP"),
    "gif": saved("GIF"),
    "html": b"<!DOCTYPE html>",
    "nothing": b"",
}


def pillow(data: bytes) -> tuple[str, int, int]:
    with catch_warnings(action="ignore"), Image.open(BytesIO(data), formats=FORMATS) as image:  # damaged metadata
        return str(image.format), image.width, image.height


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_plain_picture_is_known_by_its_first_bytes(data: bytes) -> None:
    assert plain_header(data) == pillow(data)


@pytest.mark.parametrize("data", ODD.values(), ids=ODD)
def test_whatever_is_out_of_the_ordinary_is_left_to_pillow(data: bytes) -> None:
    assert plain_header(data[:START]) is None


@pytest.mark.parametrize("data", PLAIN.values(), ids=PLAIN)
def test_a_picture_cut_short_before_its_pixels_is_not_known(data: bytes) -> None:
    pixels = data.index(b"IDAT") if b"IDAT" in data else data.index(b"\xff\xda")
    assert [plain_header(data[:length]) for length in range(pixels)] == [None] * pixels


@given(
    name=st.sampled_from(sorted(PLAIN)),
    changes=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 800),
)
def test_what_is_known_of_a_damaged_picture_pillow_says_too(
    name: str, changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(PLAIN[name][:cut] if cut > 100 else PLAIN[name])
    for at, byte in changes:
        data[at % len(data)] = byte
    known = plain_header(bytes(data))
    assert known is None or known == pillow(bytes(data))
