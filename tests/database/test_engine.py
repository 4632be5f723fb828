"""Locks, transactions and everything a database can refuse, as one clear line."""

import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import IntegrityError

from attributree import Attribute, MultiLabel
from attributree.catalog import Catalog
from attributree.database import bulk
from attributree.database.engine import Database, make_engine, shown, take_lock
from attributree.database.migrate import upgrade
from attributree.errors import CatalogError
from attributree.labels import readers
from attributree.settings.urls import quote_path
from support.catalogues import Shop

COLOUR = Attribute("colour", MultiLabel(("red", "green", "blue")))
DANGLING = "INSERT INTO image (product_id, root_id, path, state) VALUES (77, 77, 'a', 'ok')"


@contextmanager
def somebody_writing(url: str) -> Iterator[None]:
    """Hold the lock that writers wait for."""
    engine = make_engine(url, timeout=5).execution_options(attributree_begin="BEGIN IMMEDIATE")
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            take_lock(connection, "write", 5)
        yield
    engine.dispose()


def one_line(error: pytest.ExceptionInfo[CatalogError]) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


def test_foreign_keys_hold(url: str) -> None:
    database = Database(url)
    with pytest.raises(IntegrityError):  # a bug, so it keeps its traceback
        database.write(lambda connection: connection.execute(text(DANGLING)))
    database.close()


def test_a_failure_in_the_middle_leaves_no_trace(url: str, catalog: Catalog) -> None:
    database = Database(url)

    def work(connection: Any) -> None:
        connection.execute(text("INSERT INTO revision (cause, detail) VALUES ('test', '')"))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        database.write(work)
    database.close()
    assert catalog.labels.revision() == 0


def test_a_locked_catalogue_is_said_in_one_line_and_can_still_be_read(url: str) -> None:
    with Catalog.open(url, timeout=0.2) as catalog, somebody_writing(url):
        with pytest.raises(CatalogError, match=r"another process has been writing for more than 0\.2 s") as caught:
            catalog.labels.declare(COLOUR, "p")
        one_line(caught)
        assert catalog.labels.attributes() == {}


def test_writers_wait_for_each_other(url: str, shop: Shop) -> None:
    files = [shop.labels("image,colour", f"{i}.png,red", "same.png,red", name=f"{i}.csv") for i in range(4)]

    def work(file: Path) -> None:
        with Catalog.open(url, timeout=30) as catalog:
            catalog.labels.ingest(file, source=file.stem)

    threads = [threading.Thread(target=work, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Catalog.open(url) as catalog:
        counts = catalog.labels.counts()
    assert (counts.images, counts.observations, counts.revision) == (5, 8, 4)


def test_a_reader_sees_one_state_while_others_write(url: str, shop: Shop) -> None:
    file = shop.labels("image", "a.png")
    database = Database(url)

    def count_twice(connection: Any) -> tuple[int, int]:
        count = text("SELECT count(*) FROM image")
        before = connection.execute(count).scalar_one()
        with Catalog.open(url) as catalog:
            catalog.labels.ingest(file)
        return before, connection.execute(count).scalar_one()

    assert database.read(count_twice) == (0, 0)
    assert database.read(count_twice) == (1, 1)
    database.close()


def test_a_read_only_catalogue_is_said_in_one_line(url: str) -> None:
    read_only = url + "?options=-c%20default_transaction_read_only%3Don"
    if url.startswith("sqlite"):
        read_only = url.replace("sqlite:///", "sqlite:///file:") + "?mode=ro&uri=true"
    with Catalog.open(read_only) as catalog:
        assert catalog.labels.attributes() == {}
        with pytest.raises(CatalogError, match="is read-only; make the file and its folder writable") as caught:
            catalog.labels.declare(COLOUR, "p")
    assert url.rpartition("/")[2] in one_line(caught)


def test_a_server_that_is_not_there_is_said_in_one_line_without_the_password() -> None:
    with pytest.raises(
        CatalogError, match=r"catalogue postgresql\+psycopg://mia:\*\*\*@127\.0\.0\.1:9/shop: "
    ) as caught:
        Catalog.open("postgresql+psycopg://mia:secret@127.0.0.1:9/shop")
    assert "secret" not in one_line(caught)


@pytest.mark.parametrize(
    "rest",
    [
        "mia:sec@ret@host/shop",
        "mia:sec/ret@x@host/shop",
        "mia:sec@re?t@host/shop",
        "mia:sec@ret:1@host/shop",
        "mia:sec@[ret@host/shop",
        "mia/x:secret@host/shop",
        "mia:secret/shop",
        "mia:secret",
        "host/shop?user=mia&password=sec@ret",
    ],
)
def test_a_password_that_could_be_read_in_two_ways_is_refused_without_a_part_of_it(rest: str) -> None:
    with pytest.raises(CatalogError, match=r"write %40 for @, %2F for /") as caught:
        Catalog.open(f"postgresql+psycopg://{rest}")
    assert not re.search("sec|ret", one_line(caught))


@pytest.mark.parametrize(
    "rest", ["mia:sec%40r%2Fet@127.0.0.1:9/shop", "mia:sec/ret:x@127.0.0.1:9/shop", "127.0.0.1:9/shop?password=secret"]
)
def test_a_password_with_any_character_is_read_and_not_shown(rest: str) -> None:
    with pytest.raises(CatalogError, match=r"catalogue postgresql\+psycopg://.*127\.0\.0\.1:9/shop: ") as caught:
        Catalog.open(f"postgresql+psycopg://{rest}", timeout=2)
    assert not re.search("sec|ret|%40", one_line(caught))


def test_an_option_that_the_driver_does_not_know_is_said_in_one_line() -> None:
    with pytest.raises(CatalogError, match='invalid connection option "colour"') as caught:
        Catalog.open("postgresql+psycopg://127.0.0.1:9/shop?colour=red")
    one_line(caught)


def test_a_url_of_sqlite_is_shown_as_it_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "größe #1 what? a%20b"
    folder.mkdir()
    url = f"sqlite:///{quote_path(str(folder))}/a.db"
    assert shown(url) == url
    upgrade(url)
    assert (folder / "a.db").is_file()
    with pytest.raises(CatalogError, match=r"options begin at the \?; in the name of a file or folder write it %3F"):
        upgrade(f"sqlite:///{folder}/a.db")


def test_a_file_that_is_no_database_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"image,neckline\n" * 500)
    with pytest.raises(CatalogError, match="is damaged or not a SQLite file") as caught:
        Catalog.open(f"sqlite:///{tmp_path}/a.db")
    one_line(caught)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("catalogue.db", "is not a URL; write sqlite:///"),
        ("sqlite://", "a catalogue needs a file"),
        ("sqlite:///:memory:", "a catalogue needs a file"),
        ("mysql://host/shop", "mysql is not supported; use sqlite or postgresql"),
        ("postgresql+nodriver://host/shop", r"pip install 'attributree\[postgresql\]'"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        Catalog.open(url)


def test_one_sync_at_a_time(url: str) -> None:
    order = []
    with Catalog.open(url) as first, Catalog.open(url) as second:

        def wait() -> None:
            with second.sync_lock():
                order.append("second")

        waiting = threading.Thread(target=wait)
        with first.sync_lock():
            waiting.start()
            waiting.join(0.3)
            order.append("first")
        waiting.join(20)
        assert order == ["first", "second"]


def test_waiting_for_a_sync_can_be_limited(url: str) -> None:
    said = []
    with Catalog.open(url) as first, Catalog.open(url) as second:

        def give_up() -> None:
            try:
                with second.sync_lock(timeout=0.2):
                    said.append("entered")
            except CatalogError as error:
                said.append(str(error))

        with first.sync_lock():
            waiting = threading.Thread(target=give_up)
            waiting.start()
            waiting.join(20)
        with second.sync_lock(timeout=1):
            said.append("free again")
    assert len(said) == 2
    assert "another process has held the sync lock of this catalogue for more than 0.2 s" in said[0]


def test_an_error_under_the_sync_lock_releases_it(url: str) -> None:
    with Catalog.open(url) as catalog:
        with pytest.raises(RuntimeError), catalog.sync_lock():
            raise RuntimeError("training failed")
        with catalog.sync_lock(timeout=1):
            assert catalog.registry.live() is None


def test_writing_under_the_sync_lock_is_possible(url: str) -> None:
    with Catalog.open(url, timeout=1) as catalog, catalog.sync_lock():
        catalog.labels.declare(COLOUR, "p")
    with Catalog.open(url) as catalog:
        assert list(catalog.labels.attributes()) == ["colour"]


def _end_sessions(url: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        connection.execute(text(others + " AND pid <> pg_backend_pid()"))
    engine.dispose()


def test_a_lost_connection_begins_the_work_again_without_duplicates(
    new_database: Callable[..., str], shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = new_database()
    upgrade(url)
    monkeypatch.setattr(readers, "CHUNK", 2)
    file = shop.labels("image,colour", *(f"{i}.png,red" for i in range(6)))
    begun: list[int] = []
    insert = bulk.insert_numbered

    def cut_the_line_once(connection: Connection, table: Any, columns: Any, rows: Any) -> Sequence[int]:
        begun.append(len(rows))
        if len(begun) == 3:
            _end_sessions(url)
        return insert(connection, table, columns, rows)

    monkeypatch.setattr("attributree.labels.ingest.insert_numbered", cut_the_line_once)
    with Catalog.open(url) as catalog:
        catalog.labels.declare(COLOUR, "p")
        summary = catalog.labels.ingest(file)
        assert begun == [2, 2, 2] + [2, 2] * 3  # products and images, three chunks of them
        assert summary.observations_new == catalog.labels.counts().observations == 6
        assert catalog.labels.coverage(COLOUR).labelled == 6
        _end_sessions(url)
        assert catalog.labels.revision() == summary.revision


@pytest.mark.sqlite_only("PostgreSQL locks no whole database")
def test_readers_do_not_wait_for_a_long_write(url: str) -> None:
    writer = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    with Catalog.open(url, timeout=0.2) as catalog:
        assert catalog.labels.counts().images == 0
    writer.execute("ROLLBACK")
    writer.close()
