"""Attributes and their values by id and key: what rows of labels, branches and predictions refer to."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ..database.tables import AttributeRow, AttributeValue, FormerName, ValueHeir
from ..errors import UnknownNameError
from ..schema import Attribute


def attribute_id(connection: Connection, name: str) -> int:
    """Return the id of the attribute; a former name is followed, since a worker may have begun under it.

    Raises UnknownNameError, naming those that are there.
    """
    ids: dict[str, int] = {row.name: row.id for row in connection.execute(select(AttributeRow.name, AttributeRow.id))}
    if name not in ids:
        former = connection.execute(select(FormerName.attribute_id).where(FormerName.name == name)).scalar()
        if former is not None:
            return former
        there = ", ".join(sorted(ids)) or "none"
        raise UnknownNameError(f"attribute {name!r} is not in the catalogue (there: {there}); run sync-catalog first")
    return ids[name]


def stored_schema(connection: Connection, row_id: int) -> Attribute:
    """Return the schema of a registered attribute as it was declared."""
    row = connection.execute(select(AttributeRow.schema).where(AttributeRow.id == row_id)).scalar_one()
    return Attribute.from_json(row)


def value_ids(connection: Connection, attribute: int) -> dict[str, int]:
    """Return the id of every value the attribute ever had, by key."""
    query = select(AttributeValue.key, AttributeValue.id).where(AttributeValue.attribute_id == attribute)
    return {row.key: row.id for row in connection.execute(query)}


def todays_keys(connection: Connection, attribute: int) -> dict[int, tuple[str, ...]]:
    """Return, for the id of every value, the keys that stand for it today, several if it was split.

    Replacements are followed; a retired value stands for itself.
    """
    keys = {value_id: key for key, value_id in value_ids(connection, attribute).items()}
    query = (
        select(ValueHeir.value_id, ValueHeir.heir_id)
        .join(AttributeValue, AttributeValue.id == ValueHeir.value_id)
        .where(AttributeValue.attribute_id == attribute)
        .order_by(ValueHeir.value_id, ValueHeir.heir_id)
    )
    heirs: dict[int, list[int]] = {}
    for row in connection.execute(query):
        heirs.setdefault(row.value_id, []).append(row.heir_id)

    def ends(value_id: int, seen: frozenset[int]) -> dict[str, None]:
        after = [heir for heir in heirs.get(value_id, ()) if heir not in seen]
        if not after:
            return {keys[value_id]: None}
        return {key: None for heir in after for key in ends(heir, seen | {heir})}

    return {value_id: tuple(ends(value_id, frozenset({value_id}))) for value_id in keys}
