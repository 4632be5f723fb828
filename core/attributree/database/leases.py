"""Who holds which training run, by the database's clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from .tables import AttributeRow, TrainingRunRow, UtcDateTime


def now(connection: Connection) -> datetime:
    """Return the database's time; workers' clocks are never asked."""
    return connection.execute(select(func.now(type_=UtcDateTime()))).scalar_one()


def held(connection: Connection) -> dict[str, str]:
    """Return who trains what right now: attribute -> owner."""
    at = now(connection)
    query = (
        select(TrainingRunRow, AttributeRow.name)
        .join(AttributeRow, AttributeRow.id == TrainingRunRow.attribute_id)
        .where(TrainingRunRow.status == "running")
    )
    return {row.name: row.owner for row in connection.execute(query) if is_held(row, "", at)}


def is_held(row: Any, owner: str, at: datetime) -> bool:
    """Return whether another worker than `owner` holds the run of this row at the time `at`."""
    return row.owner != owner and row.expires_at is not None and bool(row.expires_at > at)
