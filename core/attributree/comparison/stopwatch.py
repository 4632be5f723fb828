"""Seconds of training, kept on disk: a comparison that was broken off counts what it spent before."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..reports import Progress

#: Least seconds between two writes while a part is under way.
_WRITE_EVERY = 5.0


class Stopwatch:
    """Measures parts of a run by name, in `folder`/seconds.json.

    A part that was broken off goes on counting where it was last written; a finished one that is only loaded again
    keeps its seconds. `resumed` says whether an earlier process had a share in any of them.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "seconds.json"
        self._parts: dict[str, tuple[float, bool]] = {}  # name -> seconds, finished
        with suppress(OSError, ValueError):  # there is none, or a power cut tore it
            said = json.loads(self._path.read_text())
            self._parts = {name: (seconds, done) for name, (seconds, done) in said.items()}
        self.resumed = bool(self._parts)
        self._running: tuple[str, float, float] | None = None  # name, seconds before, when it was started
        self._written = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the seconds of what is done inside as part `name`."""
        before, done = self._parts.get(name, (0.0, False))
        if done:
            yield
            return
        self._running = (name, before, time.monotonic())
        finished = False
        try:
            yield
            finished = True
        finally:
            self._note(finished)
            self._running = None

    def seconds(self, name: str) -> float:
        """Return the seconds of a part."""
        return self._parts[name][0]

    def ticking(self, progress: Progress | None) -> Progress:
        """Return `progress`, which also writes down the seconds of the running part now and then."""

        def tick(what: str, done: int, of: int) -> None:
            if self._running and time.monotonic() - self._written >= _WRITE_EVERY:
                self._note(finished=False)
            if progress:
                progress(what, done, of)

        return tick

    def _note(self, finished: bool) -> None:
        assert self._running is not None
        name, before, started = self._running
        self._parts[name] = (before + time.monotonic() - started, finished)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        partial.write_text(json.dumps(self._parts))
        partial.replace(self._path)
        self._written = time.monotonic()
