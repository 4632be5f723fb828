"""Many rows at once, by the fastest statement of each database: COPY on PostgreSQL, one prepared INSERT on SQLite."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from .tables import Base

#: Objects that are made between two looks for garbage; Python's own number is 700.
_MANY = 100_000


@contextmanager
def few_collections() -> Iterator[None]:
    """Let Python look for garbage cycles seldom: rows make none, and walking them takes a quarter of an ingest's time.

    The threshold is one for the whole process. Whoever finds it raised leaves it to the one who did.
    """
    before = gc.get_threshold()
    if before[0] >= _MANY:
        yield
        return
    gc.set_threshold(_MANY, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def insert_rows(
    connection: Connection, table: type[Base], columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert `rows`, tuples in the order of `columns`; what is not among these gets the database's default.

    Values go to the driver as they are: texts, numbers, booleans and None.
    """
    if not rows:
        return
    into = _into(table.__tablename__, tuple(columns))
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {into} FROM STDIN", rows)
    else:
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {into} VALUES ({marks})", list(rows))


@cache
def _into(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    return f'"{table}" ({names})'


def _copy(connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
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
