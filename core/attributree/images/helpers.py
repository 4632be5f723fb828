"""Looking at plain image files in as many processes as there are cores.

A process each and not a thread: half of a look is Python, which only one thread at a time can run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import Self

from . import headers
from .headers import ImageHeader, plain_file

#: Helpers at most; more would wait for the one who asks them.
_MOST = 7
#: Lists of files that nobody helps with: starting a process takes as long as one of them.
_ALONE = 1
#: Lists that a helper has at once: one that it is at, and one to go on with.
_AT_ONCE = 2

#: What `plain_file` says of files, in their order.
Headers = list[ImageHeader | None]


class Helpers:
    """Processes that look at files, started when they are first needed, and ended with the block."""

    def __init__(self, count: int | None = None) -> None:
        """`count` are the processes besides this one, by default one for each other core."""
        self._count = _others() if count is None else count
        self._threads = ThreadPoolExecutor(max(1, self._count), "helper")
        self._helpers: list[_Helper] = []
        self._idle: SimpleQueue[_Helper] = SimpleQueue()
        self._asked: list[Future[Headers]] = []
        self._lists = 0
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for helper in self._helpers:
            helper.kill()
        self._threads.shutdown(cancel_futures=True)
        for helper in self._helpers:
            helper.close()

    @property
    def ahead(self) -> int:
        """Lists that are worth asking about before the first answer is there."""
        return _AT_ONCE * (self._count + 1)

    def plain_files(self, paths: Sequence[str]) -> Future[Headers]:
        """Return what `plain_file` says of each path: a helper's answer, or one's own while all of them are busy."""
        self._lists += bool(paths)
        self._asked = [answer for answer in self._asked if not answer.done()]
        if paths and self._lists > _ALONE and len(self._helpers) < self._count:
            self._start()
        if paths and len(self._asked) < _AT_ONCE * len(self._helpers):
            with suppress(RuntimeError):  # no thread more is allowed
                answer = self._threads.submit(self._ask, [*paths])
                self._asked.append(answer)
                return answer
        answer = Future()
        answer.set_result([plain_file(path) for path in paths])
        return answer

    def _start(self) -> None:
        try:
            helper = _Helper()
        except OSError:  # no process more is allowed: those that there are must do
            self._count = len(self._helpers)
        else:
            self._helpers.append(helper)
            self._idle.put(helper)

    def _ask(self, paths: list[str]) -> Headers:
        helper = self._idle.get()  # it waits for one that has just answered, if ever
        try:
            found = helper.look(paths)
        finally:
            self._idle.put(helper)
        if found is None and not self._ended:
            found = [plain_file(path) for path in paths]
        return found or []


class _Helper:
    """A process that looks at the files it is told until nobody tells it any more."""

    def __init__(self) -> None:
        program = [sys.executable, "-I", "-S", headers.__file__]
        self._process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lost = False

    def look(self, paths: list[str]) -> Headers | None:
        """Return what `plain_file` says of each path, or None if the process is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._lost:
            return None
        try:
            headers.send(self._process.stdin, paths)
            found = headers.receive(self._process.stdout)
            return None if found is None else [header and ImageHeader(*header) for header in found]
        except (OSError, ValueError, EOFError, TypeError, MemoryError, OverflowError):  # gone, or no answer of ours
            self._lost = True  # nobody knows where its next answer would begin
            return None

    def kill(self) -> None:
        """End the process, whatever it does; it writes no file."""
        self._process.kill()

    def close(self) -> None:
        """Wait for its end, and close the pipes."""
        self._process.communicate()


def _others() -> int:
    """Return how many helpers there is room for; none where this program's file is no Python that could run them."""
    if not sys.executable or getattr(sys, "frozen", False):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST, cores - 1)
