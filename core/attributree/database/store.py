"""Stores: what may be asked of a database, one method a transaction.

A room writes plain functions of a connection, which can be put together in one transaction. Its store lists those that
are a transaction by themselves:

    class LabelStore(Store):
        revision = reading(queries.revision)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from .engine import Database

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Store")


class Store:
    """What a room keeps in a database. Failures outside the program are CatalogError."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def read(self, work: Callable[[Connection], R]) -> R:
        """Return `work(connection)`, run on one snapshot of the database."""
        return self.database.read(work)

    def write(self, work: Callable[[Connection], R]) -> R:
        """Return `work(connection)`, run in one transaction: all of it is stored, or nothing.

        It is run again if the server goes away, so it must not use up an iterator.
        """
        return self.database.write(work)


def reading(function: Callable[Concatenate[Connection, P], R]) -> Callable[Concatenate[S, P], R]:
    """Return a function of a connection as a store's method, which reads one snapshot."""

    @wraps(function)
    def method(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.read(lambda connection: function(connection, *args, **kwargs))

    return method


def writing(function: Callable[Concatenate[Connection, P], R]) -> Callable[Concatenate[S, P], R]:
    """Return a function of a connection as a store's method, which is one transaction as the store writes it."""

    @wraps(function)
    def method(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.write(lambda connection: function(connection, *args, **kwargs))

    return method
