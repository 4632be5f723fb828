"""Many rows and many texts at once, on each database by its own statement."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, select

from attributree.catalog import bulk, ingest, look
from attributree.catalog.bulk import insert_numbered, one_of
from attributree.catalog.engine import make_engine
from attributree.catalog.tables import Product

COLUMNS = ("sku", "article_type", "title", "description", "split")
_FIND = select(Product.id, Product.sku).where(one_of(Product.sku, "skus"))


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    engine = make_engine(url, timeout=5)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def products(*skus: str) -> list[tuple[str, ...]]:
    return [(sku, "top", "", "", "train") for sku in skus]


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_rows_that_fill_statements_or_do_not_go_in_once_and_in_order(connection: Connection, more: int) -> None:
    skus = [f"sku-{i}" for i in reversed(range(2 * (bulk._VALUES // len(COLUMNS)) + more))]
    ids = insert_numbered(connection, Product, COLUMNS, products(*skus))
    stored = connection.execute(select(Product.id, Product.sku).order_by(Product.id)).all()
    assert [tuple(row) for row in stored] == list(zip(ids, skus, strict=True))
    assert insert_numbered(connection, Product, COLUMNS, products("last")) == [ids[-1] + 1]


def test_no_rows_have_no_ids(connection: Connection) -> None:
    assert insert_numbered(connection, Product, COLUMNS, []) == []


def test_texts_are_found_verbatim_among_many(connection: Connection) -> None:
    odd = ["a\"b'c\\d", "{}[],:", "ärmel \U0001f457", "null", "1", " ", "%_", "\u2028\n"]
    insert_numbered(connection, Product, COLUMNS, products(*odd, "a", "A", "01"))
    asked = [*odd, *(f"other-{i}" for i in range(2000))]
    found = connection.execute(_FIND, {"skus": asked}).all()
    assert sorted(row.sku for row in found) == sorted(odd)
    assert connection.execute(_FIND, {"skus": []}).all() == []


@pytest.mark.sqlite_only("asks SQLite's planner")
def test_texts_are_looked_up_in_sqlites_index_and_not_in_every_row(url: str) -> None:
    engine = make_engine(url, timeout=5)
    with engine.connect() as connection:
        for query in (_FIND, ingest._IMAGES, ingest._PRODUCTS, look._KNOWN):
            statement = str(query.compile(dialect=connection.dialect))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", ("[]",) * statement.count("?")).all()
            assert [row[-1] for row in plan if row[-1].startswith("SCAN")] == ["SCAN json_each VIRTUAL TABLE INDEX 1:"]
    engine.dispose()
