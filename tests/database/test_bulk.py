"""Many rows at once, on each database by its own statement."""

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import Connection, delete, select
from sqlalchemy.exc import IntegrityError

from attributree.database.bulk import insert_numbered, insert_rows
from attributree.database.engine import make_engine
from attributree.database.tables import LabelColumn, Product

COLUMNS = ("sku", "article_type", "title", "description", "split")
REST = ("top", "", "Cotton\tand\nwool\\N", "train")


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    engine = make_engine(url, timeout=5)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def add(connection: Connection, *skus: str) -> Sequence[int]:
    return insert_numbered(connection, Product, COLUMNS, [(sku, *REST) for sku in skus])


@pytest.mark.parametrize("rows", [1, 7, 2500])
def test_rows_go_in_once_and_have_their_ids_in_order(connection: Connection, rows: int) -> None:
    skus = [f"sku-{i}" for i in reversed(range(rows))]
    ids = add(connection, *skus)
    stored = connection.execute(select(Product.id, Product.sku).order_by(Product.id)).all()
    assert [tuple(row) for row in stored] == list(zip(ids, skus, strict=True))


def test_ids_are_those_of_the_rows_also_where_rows_are_gone(connection: Connection) -> None:
    first = add(connection, "a", "b", "c")
    connection.execute(delete(Product).where(Product.sku.in_(["a", "c"])))
    ids = add(connection, "d", "e")
    found = connection.execute(select(Product.sku, Product.id)).all()
    assert {row.sku: row.id for row in found} == {"b": first[1], "d": ids[0], "e": ids[1]}


def test_no_rows_have_no_ids(connection: Connection) -> None:
    assert add(connection) == []
    insert_rows(connection, LabelColumn, ["name"], [])


@pytest.mark.parametrize("rows", [1, 2500])
def test_rows_without_numbers_go_in_verbatim(connection: Connection, rows: int) -> None:
    odd = ["a\"b'c\\d", "{}[],:", "ärmel \U0001f457", "null", "\\N", " ", "%_", "\u2028\n", "\t"]
    names = [*odd, *(f"other-{i}" for i in range(rows))]
    insert_rows(connection, LabelColumn, ["observations", "name"], [*enumerate(names)])
    found = connection.execute(select(LabelColumn.name).order_by(LabelColumn.observations)).scalars().all()
    assert found == names


def test_a_row_that_is_there_twice_is_an_error_like_any_others(connection: Connection) -> None:
    with pytest.raises(IntegrityError), connection.begin_nested():
        insert_rows(connection, LabelColumn, ["name", "observations"], [("hem", 0)] * 2)
