"""The two databases that catalogues are tested in: the option, the fixture `backend`, and what makes databases."""

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count

import pytest
from sqlalchemy import create_engine, text

from attributree.database.migrate import upgrade

BACKENDS = ("sqlite", "postgresql")
NewDatabase = Callable[..., str]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=(*BACKENDS, "both"),
        default="both",
        help="the database that catalogues are tested in (default: both)",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Ask each test that has a catalogue in each database that `--database` names, SQLite first."""
    if "backend" in metafunc.fixturenames:
        asked = metafunc.config.getoption("--database")
        sqlite_only = metafunc.definition.get_closest_marker("sqlite_only")
        backends = [name for name in BACKENDS if asked in (name, "both") and not (sqlite_only and name != "sqlite")]
        metafunc.parametrize("backend", backends, indirect=True, scope="session")


@pytest.fixture(scope="session")
def backend(request: pytest.FixtureRequest) -> str:
    """The database of catalogues, sqlite or postgresql: a test that has one is run once in each.

    A test that says nothing about the database, or is about SQLite's, is marked `sqlite_only`, with the reason.
    """
    return str(request.param)


@pytest.fixture(scope="session")
def own_database(backend: str, request: pytest.FixtureRequest) -> NewDatabase | None:
    """Makes the databases of projects; None if each has a file in its folder."""
    return request.getfixturevalue("new_database") if backend == "postgresql" else None


@pytest.fixture(scope="session")
def new_catalogue(own_database: NewDatabase | None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes catalogues that nothing is in and returns their URLs."""
    if own_database is not None:
        template = own_database()
        upgrade(template)
        return partial(own_database, template)
    folder, numbers = tmp_path_factory.mktemp("catalogues"), count()
    upgrade(f"sqlite:///{folder}/empty.db")
    return lambda: f"sqlite:///{shutil.copy(folder / 'empty.db', folder / f'{next(numbers)}.db')}"


@pytest.fixture(scope="session")
def databases() -> list[str]:
    """The URLs of the databases on the shared server."""
    return []


@pytest.fixture(scope="session")
def new_database(postgres: str, databases: list[str]) -> Iterator[NewDatabase]:
    """Makes databases on our own server, copies of the one at the URL `template` if given, and returns their URLs."""
    numbers = count()
    engine = create_engine(postgres + "postgres", isolation_level="AUTOCOMMIT")

    def make(template: str | None = None) -> str:
        name = f"catalogue_{next(numbers)}"
        copied = f" TEMPLATE {template.rpartition('/')[2]}" if template else ""
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}{copied}"))
        databases.append(postgres + name)
        return postgres + name

    yield make
    engine.dispose()


@pytest.fixture(autouse=True)
def _drop_databases(databases: list[str]) -> Iterator[None]:
    """Drop what a test made, ten megabytes each; fixtures that outlive it made theirs before."""
    kept = len(databases)
    yield
    if databases[kept:]:
        server, _, _ = databases[kept].rpartition("/")
        engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            while databases[kept:]:
                _, _, name = databases.pop().rpartition("/")
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        engine.dispose()
