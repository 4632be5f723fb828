"""The one way to a schema: Alembic migrations, run by one process at a time and in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from ..errors import CatalogError, CatalogVersionError
from .engine import explain, file_lock, make_engine, parse_url, shown, sqlite_file, take_lock

if TYPE_CHECKING:
    from alembic.config import Config

VERSION_TABLE = "attributree_version"
#: The revision that `tables.py` describes: the newest file in migrations/versions.
HEAD = "0011"
#: Seconds to wait for another process that is upgrading.
_PATIENCE = 300.0


def migrations() -> Path:
    """Return the folder of the migrations: in the package when installed, beside `core/` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parents[1] / "migrations"


def alembic_config(connection: Connection | None = None) -> Config:
    """Return the Alembic configuration; no alembic.ini, and nothing but `connection` is ever connected to."""
    from alembic.config import Config  # a quarter of a second, and only upgrades need it

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(url: str, *, timeout: float = _PATIENCE) -> str:
    """Create the catalogue at `url` or bring it up to date; return its revision.

    Safe to run from several processes at once. Raises CatalogVersionError if the catalogue is newer than this code,
    CatalogError if it cannot be written.
    """
    from alembic import command

    path = sqlite_file(parse_url(url))
    if path is not None and not path.parent.is_dir():
        raise CatalogError(f"catalogue {shown(url)}: there is no folder {path.parent}; create it first")
    with _connection(url, timeout, write=True) as connection:
        found = _read_revision(connection)
        if found is not None and found not in _known():
            raise _newer(found)
        command.upgrade(alembic_config(connection), "head")
        if connection.dialect.name == "sqlite":
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise CatalogError(
                    f"catalogue {shown(url)}: the upgrade would leave {len(broken)} dangling references, "
                    f"first in table {broken[0][0]!r}; nothing was changed"
                )
        return _read_revision(connection) or HEAD


def current(url: str, *, timeout: float = 30.0) -> str | None:
    """Return the schema revision of the catalogue at `url`, or None if there is no catalogue."""
    path = sqlite_file(parse_url(url))
    if path is not None and not path.is_file():
        return None  # connecting would create it
    with _connection(url, timeout, write=False) as connection:
        return _read_revision(connection)


def check(url: str, *, timeout: float = 30.0) -> None:
    """Raise CatalogVersionError, with the command to type, unless the catalogue's schema is the one of this code."""
    found = current(url, timeout=timeout)
    if found == HEAD:
        return
    if found is None:
        raise CatalogVersionError(f"no catalogue there yet ({shown(url)}): run `attributree init`")
    if found in _known():
        raise CatalogVersionError(f"catalogue is older (rev {found}, code needs {HEAD}): run `attributree db upgrade`")
    raise _newer(found)


@contextmanager
def _connection(url: str, timeout: float, *, write: bool) -> Iterator[Connection]:
    """Yield a connection in a transaction; with `write`, alone on the database and committed at the end."""
    parsed = parse_url(url)
    path = sqlite_file(parsed)
    # Batch migrations drop and rename tables, so foreign keys are checked at the end and not on the way.
    engine = make_engine(url, timeout=timeout, foreign_keys=not write)
    try:
        if write and path is not None:
            with file_lock(path, "migrate", timeout):
                with engine.execution_options(attributree_begin="").connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                with engine.execution_options(attributree_begin="BEGIN IMMEDIATE").begin() as connection:
                    yield connection
        else:
            with engine.begin() as connection:
                if write:
                    take_lock(connection, "migrate", timeout)
                yield connection
    except DBAPIError as error:
        raise explain(error, parsed, timeout) from error.orig
    finally:
        engine.dispose()


def _read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()


def _known() -> set[str]:
    """Return every schema revision that this code has a migration for."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()}


def _newer(found: str) -> CatalogVersionError:
    return CatalogVersionError(
        f"catalogue is newer than this attributree (rev {found}, code knows {HEAD}): "
        "upgrade the package: pip install -U attributree"
    )
