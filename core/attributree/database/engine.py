"""Connections, transactions and locks, the same for SQLite and PostgreSQL.

Writers stand in one queue: `BEGIN IMMEDIATE` on SQLite, an advisory lock held until commit on PostgreSQL. Whatever
a transaction read is therefore still true when it writes. Readers see one snapshot and wait for nobody.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError

from ..errors import CatalogError
from ..jsonable import printable
from ..settings.urls import quote_path

Result = TypeVar("Result")

#: Keys of the PostgreSQL advisory locks: "attr" in ASCII, then one number per purpose.
_LOCKS = {"write": 0x61747472_01, "migrate": 0x61747472_02, "sync": 0x61747472_03}
#: How often work is begun again after the server went away, and the first wait; it doubles each time.
_ATTEMPTS, _WAIT = 5, 0.25
#: How often SQLite is asked for news, in seconds, and the channel on which PostgreSQL tells them.
_POLL, _CHANNEL = 0.2, "attributree"

#: A URL of a server that can be read in one way only. With an @ too many, what follows the first would be the host.
_SERVER: Final = re.compile(
    r"[\w+]+://([^:@/?]*(:[^@]*)?@)?(\[[^\]@/?]*\]|[^:@/?\[\]]*)(:[0-9]*)?(/[^@?]*)?(\?[^@]*)?", re.DOTALL
)
#: What follows the file in a URL of SQLite.
_OPTIONS: Final = re.compile(r"(\?(\w+=[^&]*(&\w+=[^&]*)*)?)?", re.DOTALL)


def parse_url(url: str) -> URL:
    """Return `url` parsed. Raises CatalogError, which says nothing of a password, if it is none of ours.

    That is SQLite in a file, or PostgreSQL.
    """
    scheme, colon, _ = url.partition("://")
    backend = scheme.partition("+")[0]
    if not colon:
        raise CatalogError(
            "the database is not a URL; write sqlite:///attributree.db or postgresql+psycopg://host/name"
        )
    if backend not in ("sqlite", "postgresql"):
        raise CatalogError(f"database: {backend} is not supported; use sqlite or postgresql+psycopg")
    _, mark, options = url.partition("?")
    if backend == "sqlite" and not _OPTIONS.fullmatch(mark + options):
        raise CatalogError(f"database {url}: options begin at the ?; in the name of a file or folder write it %3F")
    try:
        if backend == "postgresql" and not _SERVER.fullmatch(url):
            raise ValueError
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise CatalogError(
            f"database: cannot be read as {scheme}://USER:PASSWORD@HOST:PORT/NAME; within USER, PASSWORD and NAME "
            "write %40 for @, %2F for /, %3A for :, %3F for ? and %25 for %"
        ) from None
    if backend == "sqlite" and sqlite_file(parsed) is None:
        raise CatalogError("database: a catalogue needs a file; write sqlite:///attributree.db")
    return parsed


def shown(url: URL | str) -> str:
    """Return `url` for messages, without its passwords and with what letters there are in a file's name."""
    parsed = make_url(url)
    parsed = parsed.difference_update_query([name for name in parsed.query if "password" in name])
    text = parsed.render_as_string(hide_password=True)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        _, mark, options = text.partition("?")
        return f"{parsed.drivername}:///{quote_path(parsed.database)}{mark}{options}"
    return text


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite URL, or None for PostgreSQL and for databases in memory."""
    name = url.database
    if url.get_backend_name() != "sqlite" or not name or ":memory:" in name or url.query.get("mode") == "memory":
        return None
    return Path(name.removeprefix("file:"))


def make_engine(url: str, *, timeout: float, foreign_keys: bool = True) -> Engine:
    """Return an engine for `url` that waits up to `timeout` seconds for locks."""
    parsed = parse_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    arguments: dict[str, Any] = {"timeout": timeout} if sqlite else {"connect_timeout": max(2, min(10, int(timeout)))}
    try:
        engine = create_engine(parsed, connect_args=arguments, pool_pre_ping=not sqlite)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise CatalogError(f"database {shown(parsed)}: {error}; pip install 'attributree[postgresql]'") from None
    if sqlite:
        event.listen(engine, "connect", _sqlite_connected(timeout, foreign_keys))
        event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connected(timeout: float, foreign_keys: bool) -> Callable[[Any, Any], None]:
    def connected(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver must not open transactions behind our BEGIN
        connection.execute(f"PRAGMA busy_timeout = {int(timeout * 1000)}")
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")

    return connected


def _sqlite_begin(connection: Connection) -> None:
    if begin := connection.get_execution_options().get("attributree_begin", "BEGIN"):
        connection.exec_driver_sql(begin)


def notify(connection: Connection) -> None:
    """Wake those who wait for news, once this transaction commits; SQLite's are not asleep."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"NOTIFY {_CHANNEL}"))


class Database:
    """One catalogue's database: runs pieces of work in transactions and turns its failures into CatalogError."""

    def __init__(self, url: str, *, timeout: float = 30.0, **options: object) -> None:
        """`options` travel with each connection: `connection.get_execution_options()` has them."""
        self.url = parse_url(url)
        self.timeout = timeout
        engine = make_engine(url, timeout=timeout).execution_options(**options)
        self._engine = engine
        self._sqlite = engine.dialect.name == "sqlite"
        self._writer = engine.execution_options(attributree_begin="BEGIN IMMEDIATE")
        self._reader = engine if self._sqlite else engine.execution_options(isolation_level="REPEATABLE READ")

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """Return `work(connection)`, run on one snapshot of the database."""
        return self._run(self._reader, work, write=False)

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return `work(connection)`, run in one transaction that commits at its end or leaves no trace."""
        return self._run(self._writer, work, write=True)

    def _run(self, engine: Engine, work: Callable[[Connection], Result], *, write: bool) -> Result:
        for attempt in range(1, _ATTEMPTS + 1):
            done = False
            try:
                with engine.begin() as connection:
                    if write and not self._sqlite:
                        take_lock(connection, "write", self.timeout)
                    result = work(connection)
                    done = True
                return result
            except UnicodeEncodeError as error:
                text = printable(str(error.object))
                raise CatalogError(f"{text!r} is not UTF-8; the catalogue cannot hold it or look for it") from None
            except DBAPIError as error:
                # Lost while committing: nobody knows whether it was, so it must not be done again.
                lost = not done and (error.connection_invalidated or attempt > 1)
                if not lost or attempt == _ATTEMPTS or not isinstance(error, OperationalError):
                    raise explain(error, self.url, self.timeout) from error.orig
                time.sleep(_WAIT * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def wait(self, news: Callable[[Connection], bool], seconds: float) -> bool:
        """Return as soon as `news(connection)` is true, or after `seconds` with what it is then.

        PostgreSQL wakes us (`notify`); SQLite is asked once in a while.
        """
        end = time.monotonic() + seconds
        if self._sqlite:
            while not (found := self.read(news)) and time.monotonic() < end:
                time.sleep(max(0.0, min(_POLL, end - time.monotonic())))
            return found
        try:
            with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(f"LISTEN {_CHANNEL}"))
                try:
                    if not news(connection):  # asked after LISTEN, so that nothing falls between
                        driver: Any = connection.connection.driver_connection
                        for _ in driver.notifies(timeout=seconds, stop_after=1):
                            pass
                    return news(connection)
                finally:
                    connection.execute(text(f"UNLISTEN {_CHANNEL}"))
        except DBAPIError as error:
            raise explain(error, self.url, self.timeout) from error.orig

    @contextmanager
    def lock(self, purpose: str, *, timeout: float | None) -> Iterator[None]:
        """Hold the lock for `purpose`, across processes; wait `timeout` seconds for it (None: for ever).

        Raises CatalogError if somebody else held it all that time.
        """
        path = sqlite_file(self.url)
        if path is not None:
            with file_lock(path, purpose, timeout):
                yield
            return
        try:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError as error:
            raise explain(error, self.url, self.timeout) from error.orig
        with connection:
            try:
                take_lock(connection, purpose, timeout, session=True)
            except DBAPIError as error:
                if _sqlstate(error) == "55P03":
                    raise _held(purpose, timeout) from None
                raise explain(error, self.url, self.timeout) from error.orig
            try:
                yield
            finally:
                # Closing the session releases the lock whatever happened on it.
                connection.invalidate()


@contextmanager
def file_lock(database: Path, purpose: str, timeout: float | None) -> Iterator[None]:
    """Hold `<database>.<purpose>.lock`. Raises CatalogError after `timeout` seconds (None: never)."""
    path = database.with_name(f"{database.name}.{purpose}.lock")
    lock = FileLock(path, timeout=-1 if timeout is None else timeout)
    try:
        lock.acquire()
    except Timeout:
        raise _held(purpose, timeout) from None
    except OSError as error:
        raise CatalogError(f"cannot lock {path}: {error.strerror or error}; make the folder writable") from None
    try:
        yield
    finally:
        lock.release()


def take_lock(connection: Connection, purpose: str, timeout: float | None, *, session: bool = False) -> None:
    """Take the PostgreSQL advisory lock for `purpose`, until commit or, with `session`, for the connection."""
    milliseconds = 0 if timeout is None else max(1, int(timeout * 1000))
    connection.execute(
        text("SELECT set_config('lock_timeout', :wait, :local)"), {"wait": str(milliseconds), "local": not session}
    )
    function = "pg_advisory_lock" if session else "pg_advisory_xact_lock"
    connection.execute(text(f"SELECT {function}(:key)"), {"key": _LOCKS[purpose]})


def _held(purpose: str, timeout: float | None) -> CatalogError:
    return CatalogError(
        f"another process has held the {purpose} lock of this catalogue for more than {timeout:g} s; "
        "wait until it is done and run the command again"
    )


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def explain(error: DBAPIError, url: URL | str, timeout: float) -> Exception:
    """Return the one clear line for a failure outside the program, or `error` itself: a bug keeps its traceback."""
    said = " ".join(str(error.orig).split())
    where = f"catalogue {shown(url)}"
    if "database is locked" in said or _sqlstate(error) == "55P03":
        return CatalogError(
            f"{where}: another process has been writing for more than {timeout:g} s; "
            "wait until it is done and run the command again"
        )
    if "readonly database" in said or _sqlstate(error) == "25006":
        return CatalogError(f"{where} is read-only; make the file and its folder writable, or use a writable copy")
    if "is not a database" in said or "malformed" in said:
        return CatalogError(f"{where} is damaged or not a SQLite file ({said}); restore it from a copy")
    if "disk is full" in said or _sqlstate(error) == "53100":
        return CatalogError(f"{where}: the disk is full; nothing was changed. Free some space and run it again")
    if isinstance(error, OperationalError) or "invalid connection option" in said:
        return CatalogError(f"{where}: {said}")
    return error


def chunks(items: Sequence[Result], size: int = 1000) -> Iterator[Sequence[Result]]:
    """Yield `items` in pieces that fit a statement's parameters."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
