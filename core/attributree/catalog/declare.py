"""Attributes as rows: registered, evolved, orphaned and revived."""

from __future__ import annotations

import json

from sqlalchemy import Connection, func, insert, select, update

from ..errors import CatalogError
from ..schema import Attribute, fold
from .derive import derive, new_revision
from .records import CatalogAttribute, CatalogValue
from .registry import attribute_id
from .tables import AttributeRow, AttributeValue, Branch


def attributes(connection: Connection) -> dict[str, CatalogAttribute]:
    """Return every registered attribute, orphans too, by name."""
    rows = connection.execute(select(AttributeValue).order_by(AttributeValue.class_index)).all()
    keys = {row.id: row.key for row in rows}
    values: dict[int, list[CatalogValue]] = {}
    for row in rows:
        value = CatalogValue(row.key, row.class_index, row.state, keys.get(row.replaced_by_id))
        values.setdefault(row.attribute_id, []).append(value)
    return {
        row.name: CatalogAttribute(
            name=row.name,
            title=row.title,
            kind=row.kind,
            declared_by=row.declared_by,
            schema=Attribute.from_json(json.loads(row.schema)),
            digest=row.schema_digest,
            state=row.state,
            revision=row.revision,
            values=tuple(values.get(row.id, [])),
        )
        for row in connection.execute(select(AttributeRow).order_by(AttributeRow.name))
    }


def declare(connection: Connection, attribute: Attribute, declared_by: str) -> int:
    """Register `attribute`, or evolve what is stored into it; return the revision where its schema last changed.

    All observations are read again under the new schema. If only titles or the plugin changed, nothing else is
    touched. Raises CatalogError if the kind changes although a branch was trained for the old one.
    """
    row = connection.execute(select(AttributeRow).where(AttributeRow.name == attribute.name)).one_or_none()
    columns: dict[str, str | int] = {
        "title": attribute.title,
        "declared_by": declared_by,
        "schema": json.dumps(attribute.to_json(), sort_keys=True),
        "state": "declared",
    }
    if row is not None and row.schema_digest == attribute.digest and row.state == "declared":
        connection.execute(update(AttributeRow).where(AttributeRow.id == row.id).values(columns))
        return int(row.revision)
    if row is not None and row.kind != attribute.labels.kind:
        _refuse_other_kind(connection, row.id, row.kind, attribute)
    revision = new_revision(connection, "declare", attribute.name)
    columns |= {"kind": attribute.labels.kind, "schema_digest": attribute.digest}
    if row is None:
        new = insert(AttributeRow).values(name=attribute.name, revision=revision, **columns)
        row_id = connection.execute(new.returning(AttributeRow.id)).scalar_one()
    else:
        row_id = row.id
        if row.schema_digest != attribute.digest:
            columns["revision"] = revision
        connection.execute(update(AttributeRow).where(AttributeRow.id == row_id).values(columns))
    _evolve_values(connection, row_id, attribute)
    # A revived orphan too: what was said in its absence was not read.
    derive(connection, row_id, attribute, revision)
    return revision if row is None else int(columns.get("revision", row.revision))


def _refuse_other_kind(connection: Connection, row_id: int, kind: str, attribute: Attribute) -> None:
    if connection.execute(select(func.count()).where(Branch.attribute_id == row_id)).scalar_one():
        raise CatalogError(
            f"attribute {attribute.name!r}: branches were trained for it as {kind}, it cannot become "
            f"{attribute.labels.kind}; declare it under another name, such as {attribute.name + '_2'!r}"
        )


def _evolve_values(connection: Connection, row_id: int, attribute: Attribute) -> None:
    """Append new values and mark those that were replaced or are gone."""
    query = select(AttributeValue).where(AttributeValue.attribute_id == row_id)
    known = {row.key: row for row in connection.execute(query)}
    index = max((row.class_index for row in known.values()), default=-1)
    ids = {}
    for value in attribute.labels.values:
        if value.key in known:
            ids[value.key] = known[value.key].id
            change = {"title": value.title, "state": "active", "replaced_by_id": None}
            connection.execute(update(AttributeValue).where(AttributeValue.id == ids[value.key]).values(change))
            continue
        index += 1
        new = insert(AttributeValue).values(
            attribute_id=row_id, key=value.key, title=value.title, class_index=index, state="active"
        )
        ids[value.key] = connection.execute(new.returning(AttributeValue.id)).scalar_one()
    heirs = {fold(former): ids[value.key] for value in attribute.labels.values for former in value.formerly}
    for key, row in known.items():
        if key in ids:
            continue
        if fold(key) in heirs:
            change = {"state": "replaced", "replaced_by_id": heirs[fold(key)]}
        elif row.state == "replaced":
            continue  # it still stands for its heir, whose own fate is followed from there
        else:
            change = {"state": "retired", "replaced_by_id": None}
        connection.execute(update(AttributeValue).where(AttributeValue.id == row.id).values(change))


def orphan(connection: Connection, name: str) -> None:
    """Mark an attribute whose plugin is gone; its labels, branches and predictions stay."""
    row_id = attribute_id(connection, name)
    marked = connection.execute(
        update(AttributeRow).where(AttributeRow.id == row_id, AttributeRow.state == "declared").values(state="orphaned")
    )
    if marked.rowcount:
        new_revision(connection, "orphan", name)


def declared(connection: Connection) -> dict[str, tuple[int, Attribute]]:
    """Return (id, schema) of the attributes that a plugin declares now, by name."""
    query = select(AttributeRow.id, AttributeRow.schema).where(AttributeRow.state == "declared")
    found = [(row.id, Attribute.from_json(json.loads(row.schema))) for row in connection.execute(query)]
    return {attribute.name: (row_id, attribute) for row_id, attribute in found}
