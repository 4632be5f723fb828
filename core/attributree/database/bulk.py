"""Many rows at once: COPY on PostgreSQL, INSERT elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import DBAPIError

from .tables import Base

#: A new row by column; all rows of one call have the same columns.
NewRow = Mapping[str, Any]


def insert_rows(connection: Connection, table: type[Base], rows: Sequence[NewRow]) -> None:
    """Insert rows of texts, numbers, booleans and None; columns that they lack get the database's default."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table.__tablename__, rows)
    else:
        connection.execute(insert(table), list(rows))


def insert_numbered(connection: Connection, table: type[Base], rows: Sequence[NewRow]) -> Sequence[int]:
    """Insert rows as `insert_rows` does and return their ids, in the same order.

    Writers stand in a queue, and ids rise row by row, so they are those behind the last one. RETURNING in the order of
    the rows would make SQLAlchemy insert them one by one in SQLite.
    """
    if not rows:
        return []
    row_id = table.__table__.c.id
    last = connection.execute(select(func.max(row_id))).scalar() or 0
    insert_rows(connection, table, rows)
    return connection.execute(select(row_id).where(row_id > last).order_by(row_id)).scalars().all()


def _copy(connection: Connection, table: str, rows: Sequence[NewRow]) -> None:
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
    columns = ", ".join(f'"{column}"' for column in rows[0])
    statement = f'COPY "{table}" ({columns}) FROM STDIN'
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([*row.values()])
    except dialect.dbapi.Error as error:
        # SQLAlchemy knows no COPY: what it does for its own statements is done here.
        lost = dialect.is_disconnect(error, driver, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, dialect.dbapi.Error, connection_invalidated=lost, dialect=dialect
        ) from error
