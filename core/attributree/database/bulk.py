"""Many rows at once: COPY on PostgreSQL, INSERT elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, column, func, insert, select, table
from sqlalchemy.exc import DBAPIError

from .tables import Base

#: New rows: texts, numbers, booleans and None, in the order of the columns.
NewRows = list[tuple[Any, ...]]


def insert_rows(connection: Connection, into: type[Base], columns: Sequence[str], rows: NewRows) -> None:
    """Insert rows; columns of the table that are not among `columns` get the database's default."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, into.__tablename__, columns, rows)
    else:
        statement = insert(table(into.__tablename__, *map(column, columns))).compile(dialect=connection.dialect)
        # SQLAlchemy writes the statement, but would look at the parameters of every row if it executed it.
        connection.exec_driver_sql(str(statement), rows)


def insert_numbered(connection: Connection, into: type[Base], columns: Sequence[str], rows: NewRows) -> Sequence[int]:
    """Insert rows as `insert_rows` does and return their ids, in the same order.

    Writers stand in a queue, and ids rise row by row, so they are those behind the last one. RETURNING in the order of
    the rows would make SQLAlchemy insert them one by one in SQLite.
    """
    if not rows:
        return []
    row_id = into.__table__.c.id
    last = connection.execute(select(func.max(row_id))).scalar() or 0
    insert_rows(connection, into, columns, rows)
    return connection.execute(select(row_id).where(row_id > last).order_by(row_id)).scalars().all()


def _copy(connection: Connection, into: str, columns: Sequence[str], rows: NewRows) -> None:
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f'COPY "{into}" ({names}) FROM STDIN'
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except dialect.dbapi.Error as error:
        # SQLAlchemy knows no COPY: what it does for its own statements is done here.
        lost = dialect.is_disconnect(error, driver, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, dialect.dbapi.Error, connection_invalidated=lost, dialect=dialect
        ) from error
