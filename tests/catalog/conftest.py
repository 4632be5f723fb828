"""Catalogues to test on: SQLite always, PostgreSQL where its server programs are installed."""

import csv
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from attributree.catalog import Catalog, upgrade


class Shop:
    """A folder with small pictures and label files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, name: str, size: tuple[int, int] = (8, 8)) -> Path:
        """Write a small picture."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, "teal").save(path)
        return path

    def labels(
        self, header: str | list[str], *rows: str | list[str], name: str = "labels.csv", images: bool = True
    ) -> Path:
        """Write a CSV file, of comma-separated texts or of lists of cells, and the pictures that it names."""
        columns = header.split(",") if isinstance(header, str) else header
        cells = [row.split(",") if isinstance(row, str) else row for row in rows]
        if images:
            for row in cells:
                self.image(row[columns.index("image")])
        path = self.folder / name
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *cells])
        return path


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    folder = tmp_path / "shop"
    folder.mkdir()
    return Shop(folder)


def _server_programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A server of our own on loopback, as a URL that ends where the database's name goes."""
    programs = _server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server here: initdb is neither on PATH nor in /usr/lib/postgresql/*/bin")
    # It refuses to run as root.
    run_as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="attributree-pg-"))
    if run_as:
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(folder / "data")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off -c full_page_writes=off"

    def call(*command: str) -> None:
        subprocess.run([*run_as, *command], check=True, capture_output=True, cwd="/", timeout=120)

    call(f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    call(f"{programs}/pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/"
    finally:
        call(f"{programs}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)


_numbers = count()


def _create_database(server: str, template: str | None = None) -> str:
    """Make a database on `server` and return its URL."""
    name = f"catalogue_{next(_numbers)}"
    engine = create_engine(server + "postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else "")))
    engine.dispose()
    return server + name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "catalogue.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> tuple[str, str]:
    url = _create_database(postgres)
    upgrade(url)
    return postgres, url.rpartition("/")[2]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes URLs of databases that nothing is in."""
    if request.param == "sqlite":
        numbers = count()
        return lambda: f"sqlite:///{tmp_path}/empty_{next(numbers)}.db"
    server = request.getfixturevalue("postgres")
    return lambda: _create_database(server)


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """An empty catalogue in SQLite."""
    shutil.copy(sqlite_template, tmp_path / "catalogue.db")
    return f"sqlite:///{tmp_path}/catalogue.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty catalogue in each database."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return _create_database(*request.getfixturevalue("postgres_template"))


@pytest.fixture
def catalog(url: str) -> Iterator[Catalog]:
    with Catalog.open(url, timeout=5) as catalog:
        yield catalog
