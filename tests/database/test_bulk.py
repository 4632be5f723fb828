"""Many rows and many texts at once, on each database by its own statement."""

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Connection, delete, select

from attributree.database import bulk
from attributree.database.bulk import insert_numbered, one_of
from attributree.database.engine import make_engine
from attributree.database.tables import Product, Revision
from attributree.labels import ingest, look

REST = {"article_type": "top", "title": "", "description": "", "split": "train"}
OTHERS = {"article_type": "dress", "title": "A dress", "description": "Long.", "split": "val"}
_FIND = select(Product.id, Product.sku).where(one_of(Product.sku, "skus"))


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    engine = make_engine(url, timeout=5)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def add(connection: Connection, *skus: str, many: int = 1, alike: bool = False) -> Sequence[int]:
    """Store products, with the first `many` columns of a value for each and the others of one for all.

    Unless they are `alike`, one in two has `OTHERS` there.
    """
    values = [REST if alike or i % 2 else OTHERS for i in range(len(skus))]
    each = {"sku": list(skus)} | {name: [value[name] for value in values] for name in list(REST)[: many - 1]}
    same = {name: value for name, value in REST.items() if name not in each}
    return insert_numbered(connection, Product, each, **same)


@pytest.mark.parametrize("more", [-1, 0, 1])
@pytest.mark.parametrize("many", [1, 3, 5])
def test_rows_that_fill_statements_or_do_not_go_in_once_and_in_order(
    connection: Connection, more: int, many: int
) -> None:
    full = (bulk._VALUES - (1 + len(REST) - many)) // many
    skus = [f"sku-{i}" for i in reversed(range(2 * full + more))]
    ids = add(connection, *skus, many=many)
    stored = connection.execute(select(Product.id, Product.sku).order_by(Product.id)).all()
    assert [tuple(row) for row in stored] == list(zip(ids, skus, strict=True))
    rest = select(Product.article_type, Product.title, Product.description, Product.split).order_by(Product.id)
    wanted = [[OTHERS, REST][i % 2] for i in range(len(skus))]
    wanted = [REST | {name: row[name] for name in list(REST)[: many - 1]} for row in wanted]
    assert [tuple(row) for row in connection.execute(rest)] == [tuple(row.values()) for row in wanted]
    assert list(add(connection, "last", many=many)) == [ids[-1] + 1]


@pytest.mark.parametrize("rows", [1, 7, 2000])
def test_rows_that_are_given_one_by_one_may_be_alike(connection: Connection, rows: int) -> None:
    revisions = insert_numbered(connection, Revision, {"cause": ["ingest"] * rows, "detail": [""] * rows})
    stored = connection.execute(select(Revision.id, Revision.cause, Revision.detail).order_by(Revision.id)).all()
    assert [tuple(row) for row in stored] == [(number, "ingest", "") for number in revisions]
    skus = [f"sku-{i}" for i in range(rows)]
    ids = add(connection, *skus, many=5, alike=True)
    found = connection.execute(select(Product.id, Product.sku, Product.article_type, Product.split)).all()
    assert sorted(tuple(row) for row in found) == [(i, sku, "top", "train") for i, sku in zip(ids, skus, strict=True)]


def test_ids_rise_behind_the_highest_one_also_where_rows_are_gone(connection: Connection) -> None:
    first = add(connection, "a", "b", "c")
    connection.execute(delete(Product).where(Product.sku.in_(["a", "c"])))
    ids = add(connection, "d", "e")
    found = connection.execute(select(Product.sku, Product.id)).all()
    assert {row.sku: row.id for row in found} == {"b": first[1], "d": ids[0], "e": ids[1]}


def test_no_rows_have_no_ids(connection: Connection) -> None:
    assert add(connection) == []


def test_texts_are_found_verbatim_among_many(connection: Connection) -> None:
    odd = ["a\"b'c\\d", "{}[],:", "ärmel \U0001f457", "null", "1", " ", "%_", "\u2028\n"]
    add(connection, *odd, "a", "A", "01")
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
