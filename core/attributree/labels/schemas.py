"""Attributes as rows: registered, evolved, renamed, orphaned and revived."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from ..database.leases import held
from ..database.mapping import record_of
from ..database.tables import (
    AttributeRow,
    AttributeValue,
    Branch,
    CoverageRow,
    FormerName,
    Revision,
    SchemaChangeRow,
    ValueHeir,
)
from ..errors import CatalogError
from ..schema import Attribute, fold
from .annotations import SOURCES, active_sources, derive, new_revision
from .lineage import describe_change, predecessor, refuse_kind
from .records import CatalogAttribute, CatalogValue, SchemaChange
from .resolve import Sources
from .values import attribute_id, stored_schema, todays_keys, value_ids


@dataclass(frozen=True)
class Declarer:
    """Who declares an attribute: a distribution or plugin, its version if it has one, and on whose behalf."""

    declared_by: str
    plugin_version: str | None = None
    actor: str = ""


def attributes(connection: Connection) -> dict[str, CatalogAttribute]:
    """Return every registered attribute, orphans too, by name."""
    rows = connection.execute(select(AttributeValue).order_by(AttributeValue.class_index)).all()
    keys = {row.id: row.key for row in rows}
    heirs: dict[int, list[str]] = {}
    for link in connection.execute(select(ValueHeir).order_by(ValueHeir.value_id, ValueHeir.heir_id)):
        heirs.setdefault(link.value_id, []).append(keys[link.heir_id])
    values: dict[int, list[CatalogValue]] = {}
    for row in rows:
        value = CatalogValue(row.key, row.class_index, row.state, tuple(heirs.get(row.id, ())))
        values.setdefault(row.attribute_id, []).append(value)
    former = _former_names(connection)
    return {
        row.name: record_of(
            CatalogAttribute,
            row,
            schema=Attribute.from_json(row.schema),
            digest=row.schema_digest,
            values=tuple(values.get(row.id, ())),
            former_names=former.get(row.id, ()),
        )
        # Not by the database, whose order may be that of a language.
        for row in sorted(connection.execute(select(AttributeRow)), key=attrgetter("name"))
    }


def _former_names(connection: Connection) -> dict[int, tuple[str, ...]]:
    """Return the former names of attributes, by id."""
    out: dict[int, tuple[str, ...]] = {}
    for row in sorted(connection.execute(select(FormerName)), key=attrgetter("name")):
        out[row.attribute_id] = (*out.get(row.attribute_id, ()), row.name)
    return out


def known_as(connection: Connection, attribute: Attribute) -> str | None:
    """Return the name under which the catalogue knows `attribute`; see `lineage.predecessor`. Raises CatalogError."""
    former = _former_names(connection)
    names = connection.execute(select(AttributeRow.name, AttributeRow.id))
    return predecessor(attribute, {row.name: former.get(row.id, ()) for row in names})


def as_read(connection: Connection, attribute: Attribute) -> Attribute:
    """Return `attribute`, declared or still to be, with what the catalogue remembers of former keys and names."""
    try:
        name = known_as(connection, attribute)
    except CatalogError:  # it will not be declared like this, and declaring it says why
        name = None
    return attribute if name is None else attributes(connection)[name].bring_up(attribute)


def declare(
    connection: Connection, attribute: Attribute, declared_by: str, version: str | None = None, *, actor: str = ""
) -> int:
    """Register `attribute`, or evolve what is stored into it; return the revision where its schema last changed.

    An attribute that the catalogue knows under a former name keeps its id, and with it labels, branches and
    predictions. All observations are read again under the new schema. If only titles or the plugin changed, nothing
    else is touched. `declared_by` is a distribution or plugin, of that `version` if it has one; `actor` runs it.
    Raises CatalogError if the kind changes from or to multi-label although a branch was trained, or if its names clash
    with another attribute's.
    """
    by = Declarer(declared_by, version, actor)
    former = known_as(connection, attribute)
    row = connection.execute(select(AttributeRow).where(AttributeRow.name == former)).one_or_none()
    columns: dict[str, Any] = {
        "title": attribute.title,
        "declared_by": by.declared_by,
        "schema": attribute.to_json(),
        "state": "declared",
    }
    if row is not None and row.schema_digest == attribute.digest and row.state == "declared":
        connection.execute(update(AttributeRow).where(AttributeRow.id == row.id).values(columns))
        return int(row.revision)
    if row is not None:
        _refuse_other_kind(connection, row.id, row.kind, attribute)
    detail = _describe(row, attribute, by)
    revision = new_revision(connection, "declare", f"{attribute.name}: {detail}")
    columns |= {"kind": attribute.labels.kind, "schema_digest": attribute.digest}
    if row is None:
        new = insert(AttributeRow).values(name=attribute.name, revision=revision, **columns)
        row_id = connection.execute(new.returning(AttributeRow.id)).scalar_one()
    else:
        row_id = row.id
        if row.name != attribute.name:
            _require_untrained_now(connection, row.name, attribute)
            columns["name"] = attribute.name
        if row.schema_digest != attribute.digest:
            columns["revision"] = revision
        connection.execute(update(AttributeRow).where(AttributeRow.id == row_id).values(columns))
    _remember_names(connection, row_id, attribute, () if row is None else (row.name,))
    keys = todays_keys(connection, row_id)
    heirs = {key: keys[value_id] for key, value_id in value_ids(connection, row_id).items()}
    _evolve_values(connection, row_id, attribute)
    # A revived orphan too: what was said in its absence was not read.
    derive(connection, row_id, attributes(connection)[attribute.name].today, revision, former=heirs)
    change = "register" if row is None or row.state == "orphaned" else "evolve"
    _record(connection, row_id, revision, change, detail, attribute, by)
    return revision if row is None else int(columns.get("revision", row.revision))


def _describe(row: Any, attribute: Attribute, by: Declarer) -> str:
    """Return in words what declaring `attribute` does to what is stored."""
    if row is None:
        return f"declared by {by.declared_by}"
    old = Attribute.from_json(row.schema)
    back = f"{by.declared_by} is back" if row.state == "orphaned" else ""
    changed = describe_change(old, attribute) if old.digest != attribute.digest else ""
    return "; ".join(filter(None, (back, changed))) or "attributree was upgraded: what was said is read again"


def _record(
    connection: Connection,
    row_id: int,
    revision: int,
    change: str,
    detail: str,
    attribute: Attribute,
    by: Declarer,
) -> None:
    connection.execute(
        insert(SchemaChangeRow).values(
            attribute_id=row_id,
            revision=revision,
            change=change,
            detail=detail,
            attributree=metadata.version("attributree"),
            **vars(by),
            schema=attribute.to_json(),
            schema_digest=attribute.digest,
        )
    )


def changes(connection: Connection, name: str | None = None) -> list[SchemaChange]:
    """Return what became of an attribute, or of all, oldest first. A former name is followed."""
    query = (
        select(SchemaChangeRow, AttributeRow.name.label("attribute"), Revision.created_at)
        .join(AttributeRow, AttributeRow.id == SchemaChangeRow.attribute_id)
        .join(Revision, Revision.id == SchemaChangeRow.revision)
        .order_by(SchemaChangeRow.id)
    )
    if name is not None:
        query = query.where(AttributeRow.id == attribute_id(connection, name))
    return [
        record_of(SchemaChange, row, schema=Attribute.from_json(row.schema), digest=row.schema_digest)
        for row in connection.execute(query)
    ]


def _require_untrained_now(connection: Connection, name: str, attribute: Attribute) -> None:
    if owner := held(connection).get(name):
        raise CatalogError(
            f"attribute {name!r} cannot become {attribute.name!r} while {owner} trains it; "
            "run sync-catalog again when that is done, or see `attributree runs`"
        )


def _remember_names(connection: Connection, row_id: int, attribute: Attribute, more: Iterable[str]) -> None:
    """Keep the names that the attribute had, and give back the one that it has now."""
    connection.execute(delete(FormerName).where(FormerName.name == attribute.name))
    known = _former_names(connection).get(row_id, ())
    names = dict.fromkeys((*attribute.formerly, *more))
    fresh = [name for name in names if name not in known and name != attribute.name]
    if fresh:
        connection.execute(insert(FormerName), [{"name": name, "attribute_id": row_id} for name in fresh])
        connection.execute(delete(CoverageRow).where(CoverageRow.attribute.in_(fresh)))


def _refuse_other_kind(connection: Connection, row_id: int, kind: str, attribute: Attribute) -> None:
    why = refuse_kind(kind, attribute)
    if why and connection.execute(select(func.count()).where(Branch.attribute_id == row_id)).scalar_one():
        raise CatalogError(f"attribute {attribute.name!r}: {why}")


def _evolve_values(connection: Connection, row_id: int, attribute: Attribute) -> None:
    """Append new values and mark those that were replaced, split or are gone."""
    query = select(AttributeValue).where(AttributeValue.attribute_id == row_id)
    known = {row.key: row for row in connection.execute(query)}
    index = max((row.class_index for row in known.values()), default=-1)
    ids = {}
    for value in attribute.labels.values:
        if value.key in known:
            ids[value.key] = known[value.key].id
            _settle_value(connection, ids[value.key], "active", title=value.title)
            continue
        index += 1
        new = insert(AttributeValue).values(
            attribute_id=row_id, key=value.key, title=value.title, class_index=index, state="active"
        )
        ids[value.key] = connection.execute(new.returning(AttributeValue.id)).scalar_one()
    heirs: dict[str, dict[int, None]] = {}
    for value in attribute.labels.values:
        for former in value.formerly:
            heirs.setdefault(fold(former), {})[ids[value.key]] = None
    for key, row in known.items():
        if key in ids:
            continue
        if fold(key) in heirs:
            _settle_value(connection, row.id, "replaced", heirs[fold(key)])
        elif row.state != "replaced":  # else it still stands for its heirs, whose own fate is followed from there
            _settle_value(connection, row.id, "retired")


def _settle_value(connection: Connection, value_id: int, state: str, heirs: Iterable[int] = (), **columns: str) -> None:
    """Give a value its state, and the heirs that took its place."""
    here = update(AttributeValue).where(AttributeValue.id == value_id)
    connection.execute(here.values(state=state, **columns))
    connection.execute(delete(ValueHeir).where(ValueHeir.value_id == value_id))
    if rows := [{"value_id": value_id, "heir_id": heir} for heir in heirs]:
        connection.execute(insert(ValueHeir), rows)


def orphan(connection: Connection, name: str, *, actor: str = "") -> None:
    """Mark an attribute whose plugin is gone; its labels, branches and predictions stay."""
    row_id = attribute_id(connection, name)
    marked = connection.execute(
        update(AttributeRow).where(AttributeRow.id == row_id, AttributeRow.state == "declared").values(state="orphaned")
    )
    if marked.rowcount:
        revision = new_revision(connection, "orphan", name)
        owner = connection.execute(select(AttributeRow.declared_by).where(AttributeRow.id == row_id)).scalar_one()
        detail = f"{owner} is gone; branch and predictions are kept"
        schema = stored_schema(connection, row_id)
        _record(connection, row_id, revision, "orphan", detail, schema, Declarer(owner, actor=actor))


def declared(connection: Connection) -> dict[str, tuple[int, Attribute]]:
    """Return (id, schema as it is read) of the attributes that a plugin declares now, by name."""
    query = select(AttributeRow.name, AttributeRow.id).where(AttributeRow.state == "declared")
    known = attributes(connection)
    return {row.name: (row.id, known[row.name].today) for row in connection.execute(query)}


def follow_sources(connection: Connection, sources: Sources | None) -> None:
    """Read all observations again if the annotations follow another precedence than `sources`; None is no other.

    That is a revision like any other change: annotations that mean something else now count as new labels.
    """
    if sources is None or not active_sources(connection).changes(sources):
        return
    revision = new_revision(connection, SOURCES, json.dumps(sources.to_json()))
    for row_id, attribute in declared(connection).values():
        derive(connection, row_id, attribute, revision)
