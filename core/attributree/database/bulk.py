"""Many rows at once: COPY on PostgreSQL, INSERT elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert
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
    """Insert rows and return their ids, in the same order."""
    if not rows:
        return []
    statement = insert(table).returning(table.__table__.c.id, sort_by_parameter_order=True)
    return connection.execute(statement, list(rows)).scalars().all()


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
