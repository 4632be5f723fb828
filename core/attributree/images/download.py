"""What opens a URL: the one interface of web servers and object stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from ..errors import ImageError


@dataclass(frozen=True)
class Download:
    """A file on its way: its bytes in pieces, how many the other side says there are, and its etag.

    `unchanged` means that it is still what its etag named; there are no bytes then.
    """

    pieces: Iterator[bytes]
    length: int | None = None
    etag: str | None = None
    unchanged: bool = False


class Opener(Protocol):
    """Opens URLs of a kind."""

    def open(self, url: str, etag: str | None, deadline: float) -> AbstractContextManager[Download]:
        """Return the file at `url`; `etag` names the one that is here already, if any.

        `deadline` is the time, by `time.monotonic`, at which waiting ends. Raises ImageError: AgainError if another try
        may help, UnreachableError if the host is away. Reading the pieces raises the same.
        """
        ...


class AgainError(ImageError):
    """An image did not arrive; another try may help, after `wait` seconds if the host says so."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait
