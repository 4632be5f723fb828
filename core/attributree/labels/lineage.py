"""What became of former keys and names, through every change that the catalogue remembers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from ..errors import CatalogError
from ..schema import Attribute, fold


def follow(attribute: Attribute, heirs: Mapping[str, Sequence[str]], names: Iterable[str] = ()) -> Attribute:
    """Return `attribute` with every former key and name it stands for, also those that it does not list itself.

    `heirs` says of each replaced key which keys took its place, and `names` are the attribute's former names. A key of
    whose heirs one is not in the schema any more stands for nothing.
    """
    links = {fold(key): tuple(map(fold, replaced_by)) for key, replaced_by in heirs.items()}
    values = {value.key: value for value in attribute.labels.values}
    for key in heirs:
        if not attribute.labels.read(key):
            for heir in _today(attribute, fold(key), links, frozenset()):
                values[heir] = replace(values[heir], formerly=(*values[heir].formerly, key))
    more = tuple(name for name in dict.fromkeys(names) if name not in attribute.columns)
    if tuple(values.values()) == attribute.labels.values and not more:
        return attribute
    labels = replace(attribute.labels, values=tuple(values.values()))
    return replace(attribute, labels=labels, formerly=(*attribute.formerly, *more))


def _today(attribute: Attribute, key: str, links: Mapping[str, Sequence[str]], seen: frozenset[str]) -> dict[str, None]:
    """Return the keys of today's values that a former key stands for, none if one of its heirs is gone."""
    if found := attribute.labels.read(key):
        return {value.key: None for value in found}
    out: dict[str, None] = {}
    for heir in links.get(key, ()):
        part = {} if heir in seen else _today(attribute, heir, links, seen | {key})
        if not part:
            return {}
        out |= part
    return out


def predecessor(attribute: Attribute, known: Mapping[str, Iterable[str]]) -> str | None:
    """Return the name under which the catalogue knows `attribute`, today's or a former one; None if it is new.

    `known` are the attributes of the catalogue with their former names. Raises CatalogError, with the way out, if
    `attribute` would take the place of two, or takes a name that another one had.
    """
    claimed = set(attribute.columns)
    owners = [name for name, former in known.items() if claimed & {name, *former}]
    if len(owners) > 1:
        both = " and ".join(map(repr, sorted(owners)))
        raise CatalogError(
            f"attribute {attribute.name!r}: the catalogue knows {both} as attributes of their own, and they cannot "
            "become one; leave the name of the other out of formerly"
        )
    if owners and owners[0] != attribute.name and not {owners[0], *known[owners[0]]} & set(attribute.formerly):
        raise CatalogError(
            f"attribute {attribute.name!r} is called {owners[0]!r} now; declare it so, or to give it its former name "
            f"back, with formerly=({owners[0]!r},)"
        )
    return owners[0] if owners else None


def refuse_kind(old: str, new: Attribute) -> str | None:
    """Return why an attribute that branches were trained for as `old` cannot have another kind, or None if it can.

    Single-label and ordinal branches give one distribution over the values, so one may answer for the other until it is
    replaced. From or to multi-label, what a cell `a|b` says changes from either to both, or back.
    """
    if old == new.labels.kind or "multi" not in (old, new.labels.kind):
        return None
    return (
        f"branches were trained for it as {old}, it cannot become {new.labels.kind}, since a cell a|b would mean "
        f"something else; declare it under another name, such as {new.name}_2, and ingest its labels in a column of "
        "that name"
    )


def describe_change(old: Attribute, new: Attribute) -> str:
    """Return in words what became of a schema."""
    heirs: dict[str, list[str]] = {}
    for value in new.labels.values:
        for former in value.formerly:
            heirs.setdefault(fold(former), []).append(value.key)
    before, after = set(old.labels.keys), set(new.labels.keys)
    left = [key for key in old.labels.keys if key not in after]
    changes = [f"{old.name} is now {new.name}"] if old.name != new.name else []
    for key in left:
        match heirs.get(fold(key), []):
            case [heir]:
                changes.append(f"{key} is now {heir}")
            case [_, *_] as several:
                changes.append(f"{key} is split into {', '.join(several)}")
    gone = [key for key in left if fold(key) not in heirs]
    took_over = {heir for key in left for heir in heirs.get(fold(key), [])}
    came = [key for key in new.labels.keys if key not in before and key not in took_over]
    if came:
        changes.append(f"new: {', '.join(came)}")
    if gone:
        changes.append(f"retired: {', '.join(gone)}")
    if old.labels.kind != new.labels.kind:
        changes.append(f"kind {old.labels.kind} -> {new.labels.kind}")
    if old.applies_to != new.applies_to:
        changes.append(f"applies to {', '.join(new.applies_to) or 'everything'}")
    if old.normalized_by != new.normalized_by:
        changes.append(f"unknown texts are read by {new.normalized_by or 'nobody'}")
    if columns := [name for name in new.formerly if name not in old.columns]:
        changes.append(f"reads {', '.join(columns)} too")
    if dropped := [name for name in old.formerly if name not in new.columns]:
        changes.append(f"lists {', '.join(dropped)} no more, which is still read")
    return "; ".join(changes) or "spellings or order of its values changed"
