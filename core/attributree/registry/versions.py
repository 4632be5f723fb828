"""Trunks, branches, runs, tree versions and promotions as rows. Each function is one step of a transaction."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, insert, select

from ..database.mapping import columns_of, record_of
from ..database.tables import AttributeRow, Branch, PromotionRow, TreeVersionBranch, TreeVersionRow, Trunk
from ..errors import CatalogError, OvertakenError, UnknownNameError
from ..labels.values import attribute_id
from .records import BranchRecord, NewVersion, TreeVersion, TrunkRecord
from .runs import finish_run

# -- trunks and branches ---------------------------------------------------------------------------


def save_trunk(connection: Connection, trunk: TrunkRecord) -> int:
    """Store the trunk unless its digest is there; return its id."""
    found = connection.execute(select(Trunk.id).where(Trunk.digest == trunk.digest)).scalar()
    if found is not None:
        return found
    return connection.execute(insert(Trunk).values(columns_of(Trunk, trunk)).returning(Trunk.id)).scalar_one()


def _save_branch(connection: Connection, branch: BranchRecord, trunk_id: int) -> int:
    columns = columns_of(
        Branch,
        branch,
        attribute_id=attribute_id(connection, branch.attribute),
        trunk_id=trunk_id,
        outputs=branch.values,
    )
    return connection.execute(insert(Branch).values(columns).returning(Branch.id)).scalar_one()


def branches(connection: Connection) -> list[BranchRecord]:
    """Return every stored branch, oldest first."""
    return list(_branches(connection).values())


def _branches(connection: Connection, ids: Iterable[int] | None = None) -> dict[int, BranchRecord]:
    """Return the branches of `ids`, or all of them, by id."""
    query = (
        select(
            Branch, AttributeRow.name.label("attribute"), Trunk.digest.label("trunk"), Branch.outputs.label("values")
        )
        .join(AttributeRow, AttributeRow.id == Branch.attribute_id)
        .join(Trunk, Trunk.id == Branch.trunk_id)
        .order_by(Branch.id)
    )
    if ids is not None:
        query = query.where(Branch.id.in_(list(ids)))
    return {row.id: record_of(BranchRecord, row) for row in connection.execute(query)}


def named_parts(connection: Connection) -> frozenset[str]:
    """Return the digest of every part that a trunk or a branch is made of."""
    trunks = connection.execute(select(Trunk.digest)).scalars()
    parts = connection.execute(select(Branch.parts).distinct()).scalars()
    familiarities = connection.execute(select(Branch.familiarity).distinct()).scalars()
    return frozenset(trunks).union(*parts, filter(None, familiarities))


# -- tree versions ---------------------------------------------------------------------------------


def commit_version(connection: Connection, new: NewVersion) -> TreeVersion:
    """Store a tree version with its new branches and, if asked, make it live.

    Raises CatalogError if its parts do not belong together, and OvertakenError if it should go live and is not made
    from the version that is live by now: another worker was faster, and going on would undo its work. The
    runs that end with it are closed in the same transaction; LeaseError if one of them was taken over.
    """
    for done in new.finished:
        finish_run(connection, done.run, done.status, seconds=done.seconds, metrics=done.metrics)
    _check_version(connection, new)
    trunk_id = save_trunk(connection, new.trunk)
    version_id = connection.execute(
        insert(TreeVersionRow)
        .values(columns_of(TreeVersionRow, new, trunk_id=trunk_id, parent_id=new.parent))
        .returning(TreeVersionRow.id)
    ).scalar_one()
    links = [
        {
            "version_id": version_id,
            "attribute_id": attribute_id(connection, branch.attribute),
            "branch_id": _save_branch(connection, branch, trunk_id) if branch.id is None else branch.id,
        }
        for branch in new.branches
    ]
    if links:
        connection.execute(insert(TreeVersionBranch), links)
    if new.promote:
        return promote(connection, version_id, new.actor, new.reason)
    return version(connection, version_id)


def _check_version(connection: Connection, new: NewVersion) -> None:
    names = [branch.attribute for branch in new.branches]
    if len(set(names)) != len(names):
        raise CatalogError(f"tree version: an attribute has two branches among {', '.join(sorted(names))}")
    stored = _branches(connection, [branch.id for branch in new.branches if branch.id is not None])
    for branch in new.branches:
        if branch.id is not None and branch.id not in stored:
            raise UnknownNameError(f"branch {branch.id} of {branch.attribute!r} is not in the catalogue")
        trunk, name = branch.trunk, branch.attribute
        if branch.id is not None:
            trunk, name = stored[branch.id].trunk, stored[branch.id].attribute
        same = attribute_id(connection, name) == attribute_id(connection, branch.attribute)
        if trunk != new.trunk.digest or not same:
            raise CatalogError(
                f"tree version: the branch of {branch.attribute!r} was trained for {name!r} on trunk {trunk[:12]}, "
                f"not on {new.trunk.digest[:12]}"
            )
    if new.parent is not None:
        version(connection, new.parent)
    live = live_id(connection)
    if new.promote and live != new.parent:
        raise OvertakenError(
            f"tree version {live} went live while one made from {new.parent or 'nothing'} was on its way; "
            "nothing was changed, run sync-catalog again"
        )


def promote(connection: Connection, version_id: int, actor: str, reason: str) -> TreeVersion:
    """Make a stored version live. Raises UnknownNameError."""
    version(connection, version_id)
    connection.execute(insert(PromotionRow).values(version_id=version_id, actor=actor, reason=reason))
    return version(connection, version_id)


def live_id(connection: Connection) -> int | None:
    """Return the id of the live version, or None before the first promotion."""
    return connection.execute(select(PromotionRow.version_id).order_by(PromotionRow.id.desc()).limit(1)).scalar()


def live(connection: Connection) -> TreeVersion | None:
    """Return the live version, or None before the first promotion."""
    version_id = live_id(connection)
    return None if version_id is None else version(connection, version_id)


def version(connection: Connection, version_id: int) -> TreeVersion:
    """Return one version. Raises UnknownNameError."""
    for found in versions(connection, version_id):
        return found
    ids = connection.execute(select(TreeVersionRow.id).order_by(TreeVersionRow.id)).scalars()
    there = ", ".join(map(str, ids)) or "none"
    raise UnknownNameError(f"tree version {version_id} is not in the catalogue (there: {there})")


def versions(connection: Connection, only: int | None = None) -> list[TreeVersion]:
    """Return all versions, oldest first, or the one with id `only`."""
    query = select(TreeVersionRow, TreeVersionRow.parent_id.label("parent"), Trunk.digest, Trunk.spec).join(
        Trunk, Trunk.id == TreeVersionRow.trunk_id
    )
    links = select(TreeVersionBranch.version_id, TreeVersionBranch.branch_id)
    if only is not None:
        query, links = query.where(TreeVersionRow.id == only), links.where(TreeVersionBranch.version_id == only)
    linked: dict[int, list[int]] = {}
    for row in connection.execute(links):
        linked.setdefault(row.version_id, []).append(row.branch_id)
    stored = _branches(connection, None if only is None else linked.get(only, []))
    now_live = live_id(connection)
    return [
        record_of(
            TreeVersion,
            row,
            trunk=record_of(TrunkRecord, row),
            branches={stored[i].attribute: stored[i] for i in sorted(linked.get(row.id, []))},
            live=row.id == now_live,
        )
        for row in connection.execute(query.order_by(TreeVersionRow.id))
    ]
