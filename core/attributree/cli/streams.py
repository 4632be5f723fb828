"""stdout is for what a command finds: in UTF-8, free of what plugins and libraries write, and never lost silently.

Those write to file descriptor 1 past Python's streams, or start processes that do. So while a command runs, that
descriptor leads to stderr, and the command has stdout to itself under another one.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import OutputError


class _Stdout(io.FileIO):
    """The stdout that the process was given. The first write that fails is an OutputError, later ones are dropped."""

    _failed = False

    def write(self, data: Any) -> int:
        """Return how many bytes of `data` were written."""
        if not self._failed:
            try:
                return super().write(data)
            except OSError as error:
                self._failed = True  # buffers try once more when they are closed
                raise OutputError(f"stdout cannot be written: {error.strerror or error}") from None
        return memoryview(data).nbytes


@contextmanager
def own_stdout() -> Iterator[None]:
    """Have stdout to ourselves. Raises OutputError if it cannot be written, at the latest at the end.

    Nothing is done where `sys.stdout` is not the process's own, as within another program.
    """
    _open_closed_descriptors()
    given = sys.stdout
    if given is not None and not _leads_to_descriptor_1(given):
        yield
        return
    descriptor = os.dup(1)
    # A terminal shows its own encoding. Files and pipes get UTF-8, in which ingest and JSON are read.
    encoding = given.encoding if given is not None and given.isatty() else "utf-8"
    raw = io.BufferedWriter(_Stdout(descriptor, "w"))
    own = io.TextIOWrapper(raw, encoding, errors="backslashreplace", newline="", line_buffering=raw.isatty())
    if given is not None:
        given.flush()
    os.dup2(2, 1)
    sys.stdout = own
    try:
        yield
    finally:
        try:
            own.flush()
        finally:
            os.dup2(descriptor, 1)
            sys.stdout = given
            own.close()


def _leads_to_descriptor_1(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == 1)
    except (OSError, ValueError):  # of no descriptor, or closed
        return False


def _open_closed_descriptors() -> None:
    """Occupy those of stdin, stdout and stderr that are closed, or the catalogue might be opened as one of them.

    A closed stdout cannot be written then, as before; what goes to a closed stderr is dropped.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR if number == 2 else os.O_RDONLY), True)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
