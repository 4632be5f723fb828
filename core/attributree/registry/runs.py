"""Training runs: one owner at a time, by a lease in the database's time, with a fencing token.

Whoever takes a run over gets the next token, and whatever the former owner still writes with the old one is refused.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from ..database.leases import held, is_held, now
from ..database.mapping import columns_of, record_of
from ..database.tables import AttributeRow, Branch, TrainingRunRow
from ..errors import CatalogError, LeaseError, UnknownNameError
from ..jsonable import jsonable
from ..labels.values import attribute_id
from .records import TrainingRun, Work

#: A run whose owner has not been heard of for so many seconds may be taken over.
LEASE_SECONDS = 60.0

#: What makes two works the same.
_SAME = ("action", "fingerprint", "schema_digest", "config_digest")

ENDS = ("promoted", "rejected", "failed")


def new_owner() -> str:
    """Return a name for a worker in this process: host, process, and a number of its own."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def claim(
    connection: Connection,
    work: Work,
    owner: str,
    *,
    lease: float = LEASE_SECONDS,
    seen: Collection[int] | None = None,
) -> TrainingRun | None:
    """Return a run of this work that `owner` may do now, or None if another one does it or has done it.

    A run that was broken off is taken up under the next token. With `seen`, the finished runs that the owner knew of
    when it decided, work that somebody else has finished since then is not done again.
    """
    row_id = attribute_id(connection, work.attribute)
    here = TrainingRunRow.attribute_id == row_id
    at = now(connection)
    former = connection.execute(select(TrainingRunRow).where(here).order_by(TrainingRunRow.id.desc())).all()
    running = [row for row in former if row.status == "running"]
    if any(is_held(row, owner, at) for row in running):
        return None
    equal = [row for row in former if all(getattr(row, name) == getattr(work, name) for name in _SAME)]
    if seen is not None and any(row.status in ("promoted", "rejected") and row.id not in seen for row in equal):
        return None
    hold = {"owner": owner, "heartbeat_at": at, "expires_at": at + timedelta(seconds=lease)}
    broken = next((row for row in equal if row.status == "running"), None)
    for row in running:  # what they were to learn from has changed
        if row is not broken:
            error = f"broken off by {row.owner or 'its process'}; there are other labels, values or settings by now"
            _end(connection, row.id, "cancelled", error)
    if broken is not None:
        connection.execute(
            update(TrainingRunRow)
            .where(TrainingRunRow.id == broken.id)
            .values(**hold, token=broken.token + 1, reason=work.reason)
        )
        return run(connection, broken.id)
    last = equal[0] if equal else None
    attempts = last.attempts + 1 if last is not None and last.status == "failed" else 1
    columns = columns_of(
        TrainingRunRow, work, attribute_id=row_id, **hold, status="running", metrics={}, token=1, attempts=attempts
    )
    new = insert(TrainingRunRow).values(columns).returning(TrainingRunRow.id)
    return run(connection, connection.execute(new).scalar_one())


def _end(connection: Connection, run_id: int, status: str, error: str | None) -> None:
    connection.execute(
        update(TrainingRunRow)
        .where(TrainingRunRow.id == run_id)
        .values(status=status, error=error, finished_at=func.now())
    )


def _change(connection: Connection, run: TrainingRun, **columns: Any) -> bool:
    """Write to a run that is still its owner's; return False if it was taken over, cancelled or finished."""
    mine = (TrainingRunRow.id == run.id, TrainingRunRow.token == run.token, TrainingRunRow.status == "running")
    return connection.execute(update(TrainingRunRow).where(*mine).values(columns)).rowcount == 1


def heartbeat(connection: Connection, run: TrainingRun, *, lease: float = LEASE_SECONDS) -> bool:
    """Prolong a lease; return False if it was taken over, cancelled or finished."""
    at = now(connection)
    return _change(connection, run, heartbeat_at=at, expires_at=at + timedelta(seconds=lease))


def finish_run(
    connection: Connection,
    done: TrainingRun,
    status: str,
    *,
    seconds: float,
    metrics: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> TrainingRun:
    """Close a run as promoted, rejected or failed. Raises LeaseError if it was taken over, cancelled or closed."""
    if status not in ENDS:
        raise ValueError(f"a run ends as promoted, rejected or failed, not as {status!r}")
    said, at = jsonable(metrics or {}), func.now()
    if not _change(connection, done, status=status, seconds=seconds, metrics=said, error=error, finished_at=at):
        raise LeaseError(
            f"training run {done.id} is not running (any more) under token {done.token}: "
            "it was taken over or cancelled; its result was not recorded"
        )
    return run(connection, done.id)


def cancel(connection: Connection, run_id: int, actor: str) -> TrainingRun:
    """Cancel a running run: its result will be refused. Raises UnknownNameError, or LeaseError if it is over."""
    found = run(connection, run_id)
    if found.status != "running":
        raise LeaseError(f"training run {run_id} is not running: it was {found.status}")
    _end(connection, run_id, "cancelled", f"cancelled by {actor}")
    return run(connection, run_id)


def run(connection: Connection, run_id: int) -> TrainingRun:
    """Return one run. Raises UnknownNameError."""
    for found in runs(connection, only=run_id):
        return found
    raise UnknownNameError(f"training run {run_id} is not in the catalogue")


def runs(connection: Connection, attribute: str | None = None, *, only: int | None = None) -> list[TrainingRun]:
    """Return the runs, oldest first, of one attribute or of all."""
    query = (
        select(TrainingRunRow, AttributeRow.name.label("attribute"), func.max(Branch.id).label("branch_id"))
        .join(AttributeRow, AttributeRow.id == TrainingRunRow.attribute_id)
        .outerjoin(Branch, Branch.run_id == TrainingRunRow.id)
        .group_by(TrainingRunRow.id, AttributeRow.name)
        .order_by(TrainingRunRow.id)
    )
    if attribute is not None:
        query = query.where(AttributeRow.name == attribute)
    if only is not None:
        query = query.where(TrainingRunRow.id == only)
    return [record_of(TrainingRun, row) for row in connection.execute(query)]


def require_idle(connection: Connection) -> None:
    """Raise CatalogError, naming who trains what, if any run is held."""
    if training := held(connection):
        said = ", ".join(f"{name} by {owner}" for name, owner in sorted(training.items()))
        raise CatalogError(f"training is under way ({said}); try again when it is done, or see `attributree runs`")
