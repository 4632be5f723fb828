"""Rows to frozen dataclasses and back, by the names of columns and fields: a field is spelt once."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import JSON

from ..jsonable import jsonable
from .tables import Base

T = TypeVar("T")


def record_of(kind: type[T], row: Any, **others: Any) -> T:
    """Return a `kind`, a dataclass, whose fields are the row's columns of the same names; lists become tuples.

    `others` are fields that no column has.
    """
    names = [field.name for field in fields(kind) if field.name not in others]  # type: ignore[arg-type]
    values = {name: row._mapping[name] for name in names}
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}, **others)


def columns_of(table: type[Base], record: Any, **others: Any) -> dict[str, Any]:
    """Return what a row of `table` says of `record`, a dataclass: its fields that are columns, and `others`.

    The database numbers and dates new rows itself.
    """
    columns = table.__table__.columns
    names = [f.name for f in fields(record) if f.name in columns and f.name not in ("id", "created_at")]
    values = {name: getattr(record, name) for name in names} | others
    return {name: jsonable(v) if isinstance(columns[name].type, JSON) else v for name, v in values.items()}
