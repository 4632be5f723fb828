"""Many rows at once, by the fastest statement of each database: COPY on PostgreSQL, INSERTs of many rows on SQLite."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, Connection, Dialect, Select, Text, TypeDecorator, bindparam, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from .tables import Base

#: Values of rows, by the name of their column.
Columns = Mapping[str, Sequence[Any]]
#: Objects that are made between two looks for garbage; Python's own number is 700.
_MANY = 100_000
#: Values of one INSERT; what SQLite allowed at most before 3.32.
_VALUES = 999


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


def insert_columns(connection: Connection, table: type[Base], columns: Columns, **same: Any) -> None:
    """Insert rows, given as columns of equal length; all rows have the values of `same`.

    What is not among these gets the database's default. Values go to the driver as they are: texts, numbers, booleans
    and None.
    """
    if not any(map(len, columns.values())):
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table.__tablename__, same, columns)
    else:
        _insert(connection, table.__tablename__, *_alike(same, columns))


def insert_numbered(connection: Connection, table: type[Base], columns: Columns, **same: Any) -> Sequence[int]:
    """Insert rows as `insert_columns` does and return their ids, in the same order.

    Nobody else writes meanwhile, and ids rise row by row: they are those behind the last one. Not for tables that never
    use an id again (AUTOINCREMENT) and have lost their last row.
    """
    count = max(map(len, columns.values()), default=0)
    if not count:
        return []
    newest, behind = _numbers(table)
    last = connection.execute(newest).scalar() or 0
    insert_columns(connection, table, columns, **same)
    if connection.dialect.name == "sqlite":
        return range(last + 1, last + count + 1)  # it leaves no gaps behind the highest id
    return connection.execute(behind, {"last": last}).scalars().all()


@cache
def _numbers(table: type[Base]) -> tuple[Select[int], Select[int]]:
    """Return the queries for the highest id of `table`, and for all behind `last`."""
    row_id = table.__table__.c.id
    return select(func.max(row_id)), select(row_id).where(row_id > bindparam("last")).order_by(row_id)


@cache
def _into(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    return f'"{table}" ({names})'


def _alike(same: Mapping[str, Any], columns: Columns) -> tuple[Mapping[str, Any], Columns]:
    """Move what all rows have alike from `columns` to `same`, which costs once a statement; one column stays."""
    alike = {name: column[0] for name, column in columns.items() if column.count(column[0]) == len(column)}
    if len(alike) == len(columns):
        alike.popitem()
    return {**same, **alike}, {name: column for name, column in columns.items() if name not in alike}


def _insert(connection: Connection, table: str, same: Mapping[str, Any], columns: Columns) -> None:
    """Insert rows, as many a statement as it takes: a statement costs as much as some rows, and a value half a row."""
    width, count = len(columns), len(next(iter(columns.values())))
    values: list[Any] = [None] * (width * count)
    for position, column in enumerate(columns.values()):
        values[position::width] = column
    into = _into(table, (*same, *columns))
    marks = f"({', '.join('?' * width)})"
    shared = "?, " * len(same)
    many = (_VALUES - len(same)) // width
    whole = count - count % many
    for first, last, rows in ((0, whole, many), (whole, count, count - whole)):
        if first < last:
            steps = range(first * width, last * width, rows * width)
            batches = [(*same.values(), *values[step : step + rows * width]) for step in steps]
            statement = f"INSERT INTO {into} SELECT {shared}* FROM (VALUES {', '.join([marks] * rows)})"
            connection.exec_driver_sql(statement, batches)


def _copy(connection: Connection, table: str, same: Mapping[str, Any], columns: Columns) -> None:
    driver: Any = connection.connection.driver_connection
    dialect: Any = connection.dialect
    statement = f"COPY {_into(table, (*same, *columns))} FROM STDIN"
    first = tuple(same.values())
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in zip(*columns.values(), strict=True):
                copy.write_row(first + row)
    except dialect.dbapi.Error as error:
        # SQLAlchemy knows no COPY: what it does for its own statements is done here.
        lost = dialect.is_disconnect(error, driver, None)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(
            statement, None, error, dialect.dbapi.Error, connection_invalidated=lost, dialect=dialect
        ) from error


class _Texts(TypeDecorator[list[str]]):
    """Many texts as one parameter: an array, or JSON where there are no arrays."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that carries them."""
        return dialect.type_descriptor(ARRAY(Text()) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        """Return the parameter as the driver takes it."""
        return value if dialect.name == "postgresql" else json.dumps(value, ensure_ascii=False)


class _OneOf(FunctionElement[bool]):
    # Without a type: SQLite would be asked whether a boolean is 1, and use no index for that.
    inherit_cache = True


def one_of(column: InstrumentedAttribute[str], parameter: str) -> _OneOf:
    """Return the condition that a text of `column` is in `parameter`, a list of any length.

    A parameter for each text, as `in_` has it, takes longer to write down than the texts take to be found.
    """
    return _OneOf(column, bindparam(parameter, type_=_Texts()))


@compiles(_OneOf, "sqlite")
def _one_of_sqlite(element: _OneOf, compiler: SQLCompiler, **how: Any) -> str:
    column, texts = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({texts}))"


@compiles(_OneOf, "postgresql")
def _one_of_postgresql(element: _OneOf, compiler: SQLCompiler, **how: Any) -> str:
    column, texts = (compiler.process(part, **how) for part in element.clauses)
    return f"{column} = ANY({texts})"
