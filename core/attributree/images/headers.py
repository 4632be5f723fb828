"""Format and size of plain PNG and JPEG files, read from their first bytes ten times as fast as Pillow does.

Whatever is out of the ordinary gets no answer here: Pillow looks at it, and says what is wrong. What gets an answer,
Pillow would have answered alike; a test holds the two together.

Run as a program, this file is what one of the `helpers` does. It needs the standard library alone, so that one starts
in some hundredths of a second.
"""

from __future__ import annotations

import marshal
import os
import signal
import stat
import struct
import sys
import zlib
from contextlib import suppress
from typing import IO, Any, NamedTuple

#: Bytes of a file that are looked at; a JPEG with a thumbnail or a colour profile may need more, and goes to Pillow.
START = 16 * 1024

_PNG = b"\x89PNG\r\n\x1a\n"
#: Bit depths and colour types of photographs, and what may stand before their pixels, with its length.
_PNG_MODES = {(8, 0), (16, 0), (8, 2), (16, 2), (8, 4), (16, 4), (8, 6), (16, 6)}
_PNG_PLAIN = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9}

#: Baseline, extended and progressive frames; Huffman tables, restart intervals and comments; how others must begin.
_JPEG_FRAMES, _JPEG_SCAN = {0xC0, 0xC1, 0xC2}, 0xDA
_JPEG_PLAIN = {0xC4, 0xDD, 0xFE}
_JPEG_BEGINS = {0xE0: b"JFIF\0", 0xE1: b"Exif\0\0", 0xE2: b"ICC_PROFILE\0"}


#: How a file is opened that may be none: no link is followed, no pipe is waited for, no terminal becomes ours.
_OPEN = os.O_RDONLY | sum(getattr(os, flag, 0) for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"))


class ImageHeader(NamedTuple):
    """What a file says of itself without being decoded. Sizes in pixels, `bytes` of the file.

    A tuple, since a catalogue's every image has one made.
    """

    width: int
    height: int
    format: str
    bytes: int
    mtime_ns: int


def plain_file(path: str) -> ImageHeader | None:
    """Return the header of the file at `path`, or None if it is no plain picture in a plain file, or is not there."""
    if not hasattr(os, "O_NOFOLLOW"):
        return None  # a link would be followed
    try:
        opened = os.open(path, _OPEN)
        try:
            found = os.fstat(opened)
            plain = plain_header(os.read(opened, START)) if stat.S_ISREG(found.st_mode) else None
        finally:
            os.close(opened)
    except (OSError, ValueError):  # a name that no file has
        return None
    if plain is None:
        return None
    kind, width, height = plain
    return ImageHeader(width, height, kind, found.st_size, found.st_mtime_ns)


def plain_header(start: bytes) -> tuple[str, int, int] | None:
    """Return (format, width, height) of a file that begins with `start`, or None if Pillow should be asked."""
    if start.startswith(_PNG):
        return _png(start)
    if start.startswith(b"\xff\xd8\xff"):
        return _jpeg(start)
    return None


def _png(start: bytes) -> tuple[str, int, int] | None:
    size = None
    at = len(_PNG)
    while at + 12 <= len(start):
        length, kind = struct.unpack_from(">I4s", start, at)
        if kind == b"IDAT":
            return None if size is None else ("PNG", *size)
        end = at + 12 + length
        if end > len(start) or zlib.crc32(start[at + 4 : end - 4]) != int.from_bytes(start[end - 4 : end]):
            return None
        if kind == b"IHDR" and size is None and length == 13:
            width, height, depth, colour, packing, filtering, lacing = struct.unpack_from(">IIBBBBB", start, at + 8)
            if not (width and height) or (depth, colour) not in _PNG_MODES or packing or filtering or lacing:
                return None
            size = width, height
        elif size is None or _PNG_PLAIN.get(kind) != length:
            return None
        at = end
    return None


def _jpeg(start: bytes) -> tuple[str, int, int] | None:
    size = None
    at = 2
    while at + 4 <= len(start):
        mark, kind, length = struct.unpack_from(">BBH", start, at)
        end = at + 2 + length
        if mark != 0xFF or length < 2 or end > len(start):
            return None
        if kind == _JPEG_SCAN:
            return None if size is None else ("JPEG", *size)
        if kind in _JPEG_FRAMES and size is None and length >= 8:
            depth, height, width, layers = struct.unpack_from(">BHHB", start, at + 4)
            if depth != 8 or not (width and height) or layers not in (1, 3) or length != 8 + 3 * layers:
                return None
            size = width, height
        elif kind == 0xDB:
            if (length - 2) % 65 or any(table > 3 for table in start[at + 4 : end : 65]):
                return None
        elif kind in _JPEG_BEGINS:
            if length < 16 or not start.startswith(_JPEG_BEGINS[kind], at + 4):
                return None
        elif kind not in _JPEG_PLAIN:
            return None
        at = end
    return None


def send(to: IO[bytes], message: Any) -> None:
    """Write a list to a pipe. Nobody else reads it, and marshal is several times as fast as JSON."""
    data = marshal.dumps(message)
    to.write(len(data).to_bytes(8, "big") + data)
    to.flush()


def receive(by: IO[bytes]) -> Any:
    """Return the next list of a pipe, or None at its end."""
    length = int.from_bytes(by.read(8), "big")
    data = by.read(length)
    return marshal.loads(data) if data and len(data) == length else None


def _help() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks
    with suppress(OSError):  # that one is gone
        while (paths := receive(sys.stdin.buffer)) is not None:
            send(sys.stdout.buffer, [header and tuple(header) for header in map(plain_file, paths)])


if __name__ == "__main__":
    _help()
