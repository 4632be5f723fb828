"""Processes of their own, for tests that stop and kill them.

They are forked from one that has imported the network already: those imports take longer than most of what is tested.
"""

import gc
import multiprocessing
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

import pytest

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["attributree.cli", "attributree.sync.train", "attributree.sync.finetune"])


@dataclass(frozen=True)
class Ended:
    """What a process left: its exit code, or the negative number of the signal that ended it, and what it wrote."""

    code: int
    out: str
    err: str


class Started:
    """A process that runs Python `code`, which finds `arguments` in sys.argv; warnings are errors in it."""

    def __init__(
        self,
        code: str,
        arguments: Sequence[str | Path] = (),
        *,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        stdin, self._stdin = _CONTEXT.Pipe(duplex=False)
        self._stdout, stdout = _CONTEXT.Pipe(duplex=False)
        self._stderr, stderr = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(
            target=_run,
            args=(
                code,
                [str(argument) for argument in arguments],
                folder or Path.cwd(),
                dict(os.environ if environment is None else environment),
                (stdin, stdout, stderr),
            ),
        )
        self._process.start()
        for end in (stdin, stdout, stderr):
            end.close()
        self.stdin: TextIO = os.fdopen(os.dup(self._stdin.fileno()), "w")
        self.stdout: TextIO = os.fdopen(os.dup(self._stdout.fileno()))
        self.stderr: TextIO = os.fdopen(os.dup(self._stderr.fileno()))
        for end in (self._stdin, self._stdout, self._stderr):
            end.close()

    def poll(self) -> int | None:
        """Return the exit code if it has ended."""
        return self._process.exitcode

    def join(self, seconds: float) -> int | None:
        """Wait for its end, at most so long, and return the exit code if it has ended."""
        self._process.join(seconds)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self._process.kill()

    def end(self, said: str = "") -> Ended:
        """Write `said` to its stdin, wait for its end and return what it wrote since."""
        self.stdin.write(said)
        self.stdin.close()
        out, err = self.stdout.read(), self.stderr.read()
        self.stdout.close()
        self.stderr.close()
        code = self.join(60)
        assert code is not None, "it wrote its last and does not end"
        return Ended(code, out, err)


def _run(
    code: str,
    arguments: list[str],
    folder: Path,
    environment: dict[str, str],
    ends: tuple[Connection, Connection, Connection],
) -> None:
    gc.freeze()  # no garbage is looked for in what was imported
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    warnings.simplefilter("error")
    sys.argv = ["python", *arguments]
    exec(code, {"__name__": "__main__"})


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `Torchrun` fork its processes too: started afresh, as users have it, each imports for ten seconds."""
    from torch.distributed.launcher import api

    monkeypatch.setattr(api, "LaunchConfig", partial(api.LaunchConfig, start_method="forkserver"))
