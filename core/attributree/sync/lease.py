"""The leases of one worker, kept by a heartbeat in the background for as long as it works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from contextlib import suppress
from types import TracebackType
from typing import Self

from ..catalog import Catalog
from ..errors import CatalogError
from ..registry.records import TrainingRun, Work
from ..registry.runs import LEASE_SECONDS, new_owner

log = logging.getLogger(__name__)


class Leases:
    """The runs that one worker has claimed. Use it in a `with`, at whose end what is still held is given back.

    The heartbeat begins with the first claim.
    """

    def __init__(self, catalog: Catalog, seconds: float = LEASE_SECONDS) -> None:
        self.owner = new_owner()
        self._catalog = catalog
        self._seconds = seconds
        self._held: dict[int, TrainingRun] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="attributree-heartbeat", daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        for run in self._held.values():
            with suppress(CatalogError):  # then it runs out by itself
                self._catalog.registry.heartbeat(run, lease=0)

    def claim(self, work: Work, seen: Collection[int] | None = None) -> TrainingRun | None:
        """Return a run of `work`, held from now on, or None if another worker does it or has done it."""
        run = self._catalog.registry.claim_run(work, self.owner, lease=self._seconds, seen=seen)
        if run is not None:
            self._held[run.id] = run
            if self._thread.ident is None:
                self._thread.start()
        return run

    def drop(self, run: TrainingRun) -> None:
        """Prolong a run's lease no longer."""
        self._held.pop(run.id, None)

    def _beat(self) -> None:
        while not self._stop.wait(self._seconds / 3):
            for run in list(self._held.values()):
                try:
                    if not self._catalog.registry.heartbeat(run, lease=self._seconds):
                        self.drop(run)
                except CatalogError as error:
                    # The lease outlives a few missed beats; a run that was taken over is refused at its end.
                    log.warning("no heartbeat for training run %s: %s", run.id, error)
