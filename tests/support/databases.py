"""The two databases that catalogues are tested in: the option, the fixture `backend`, and what makes databases."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import LRUCache

from attributree.database import engine as engines
from attributree.database.engine import make_engine
from attributree.database.migrate import HEAD, VERSION_TABLE, upgrade
from attributree.database.tables import Base

BACKENDS = ("sqlite", "postgresql")
NewDatabase = Callable[..., str]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=(*BACKENDS, "both"),
        help="the database of all tests that have one (default: SQLite, and PostgreSQL too for tests of catalogues "
        "and for projects marked both_databases)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that has a database in SQLite, and in PostgreSQL too if it may see a difference there.

    Tests of catalogues are run in both. A whole project reaches the catalogue through the functions that those tests
    call, so it is run in SQLite, unless it is marked `both_databases`: processes that meet in the database do differ.
    """
    if "backend" not in metafunc.fixturenames:
        return
    asked = metafunc.config.getoption("--database")
    marker = metafunc.definition.get_closest_marker
    twice = asked == "both" or (
        asked is None and ("new_project" not in metafunc.fixturenames or marker("both_databases"))
    )
    backends = BACKENDS if twice else (asked or "sqlite",)
    if marker("sqlite_only"):
        backends = tuple(name for name in backends if name == "sqlite")
    metafunc.parametrize("backend", backends, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """The database of catalogues, sqlite or postgresql; `pytest_generate_tests` says which tests are run in which.

    A test that says nothing about the database, or is about SQLite's, is marked `sqlite_only`, with the reason.
    """
    return str(request.param)


@pytest.fixture(scope="session")
def own_database(backend: str, request: pytest.FixtureRequest) -> NewDatabase | None:
    """Makes the databases of projects; None if each has a file in its folder."""
    return request.getfixturevalue("new_database") if backend == "postgresql" else None


@pytest.fixture(scope="session")
def new_catalogue(
    own_database: NewDatabase | None, tmp_path_factory: pytest.TempPathFactory, databases: "Databases"
) -> Callable[[], str]:
    """Makes catalogues that nothing is in and returns their URLs."""
    if own_database is not None:
        template = own_database()
        upgrade(template)
        return partial(databases.empty_catalogue, template, own_database)
    folder, numbers = tmp_path_factory.mktemp("catalogues"), count()
    upgrade(f"sqlite:///{folder}/empty.db")
    return lambda: f"sqlite:///{shutil.copy(folder / 'empty.db', folder / f'{next(numbers)}.db')}"


class _Compiled(LRUCache[Any, Any]):
    """SQL that was compiled, for all engines of one kind: by itself each compiles everything anew, and a test has some.

    SQLAlchemy's keys begin with the dialect, of which each engine has its own.
    """

    def get(self, key: tuple[object, ...], default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: tuple[object, ...], compiled: object) -> None:
        super().__setitem__((type(key[0]), *key[1:]), compiled)


@pytest.fixture(scope="session", autouse=True)
def _compile_once() -> Iterator[None]:
    """Let the catalogues of all tests share their compiled SQL."""
    with pytest.MonkeyPatch.context() as patch:
        create = partial(create_engine, execution_options={"compiled_cache": _Compiled(2000)})
        patch.setattr(engines, "create_engine", create)
        yield


class Databases:
    """Those on the shared server: the URLs `in_use`, in the order in which they were made, and catalogues to use again.

    PostgreSQL needs ten times as long to make a catalogue as to empty one.
    """

    def __init__(self) -> None:
        self.in_use: list[str] = []
        self._emptied: list[str] = []
        self._catalogues: set[str] = set()

    def empty_catalogue(self, template: str, make: NewDatabase) -> str:
        """Return the URL of a catalogue that nothing is in: one that was emptied, or a copy of `template`."""
        if self._emptied:
            self.in_use.append(self._emptied.pop())
            return self.in_use[-1]
        url = make(template)
        self._catalogues.add(url)
        return url

    def take_back(self, url: str) -> None:
        """Empty a catalogue, drop any other database."""
        if url in self._catalogues and _empty(url):
            self._emptied.append(url)
        else:
            _drop(url)


@pytest.fixture(scope="session")
def databases() -> Databases:
    """The databases on the shared server."""
    return Databases()


@pytest.fixture(scope="session")
def new_database(postgres: str, databases: Databases) -> Iterator[NewDatabase]:
    """Makes databases on our own server, copies of the one at the URL `template` if given, and returns their URLs."""
    numbers = count()
    engine = create_engine(postgres + "postgres", isolation_level="AUTOCOMMIT")

    def make(template: str | None = None) -> str:
        name = f"catalogue_{next(numbers)}"
        copied = f" TEMPLATE {template.rpartition('/')[2]}" if template else ""
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}{copied}"))
        databases.in_use.append(postgres + name)
        return postgres + name

    yield make
    engine.dispose()


@pytest.fixture(autouse=True)
def _take_back_databases(databases: Databases) -> Iterator[None]:
    """Take back what a test made; fixtures that outlive it made theirs before."""
    kept = len(databases.in_use)
    yield
    while databases.in_use[kept:]:
        databases.take_back(databases.in_use.pop())


def _empty(url: str) -> bool:
    """Delete every row of a catalogue on our own server; return False if its tables are not those of today."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            others = "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity {others}"))
            connection.execute(text("SET LOCAL session_replication_role = replica"))  # foreign keys are not checked
            connection.exec_driver_sql("".join(f"DELETE FROM {table.name};" for table in Base.metadata.sorted_tables))
            connection.execute(text("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"))
            versions = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
        return versions == [HEAD]
    except DBAPIError:
        return False
    finally:
        engine.dispose()


def _drop(url: str) -> None:
    server, _, name = url.rpartition("/")
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


def end_leases(url: str) -> None:
    """Let every lease run out, as if a minute had gone by since a worker was killed."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE training_run SET expires_at = started_at WHERE status = 'running'"))
    engine.dispose()


def differences(url: str) -> list[Any]:
    """Return what Alembic would still change to make the database at `url` match `tables.py`."""
    options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    engine = make_engine(url, timeout=30)
    try:
        with engine.connect() as connection:
            return list(compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata))
    finally:
        engine.dispose()
