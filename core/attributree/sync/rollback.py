"""Moving the live pointer by hand: to a stored version, one step back, or one step back for one attribute."""

from __future__ import annotations

from ..catalog import Catalog
from ..errors import ArtifactError, CatalogError, UnknownNameError
from ..plugins import LoadedPlugins
from ..registry.artifacts import ArtifactStore
from ..registry.records import BranchRecord, TreeVersion
from ..registry.trees import load_backbone
from ..settings.models import Settings
from .actor import actor
from .data import TrainingData, probe_of
from .promote import commit, load_live


def promote_version(catalog: Catalog, settings: Settings, version_id: int, reason: str) -> TreeVersion:
    """Make a stored version live after every part of it was read and found whole.

    Raises UnknownNameError for an unknown version and ArtifactError if a part is missing or damaged; what is live
    stays live then.
    """
    with catalog.sync_lock():
        version = catalog.registry.version(version_id)
        _require_parts(ArtifactStore(settings.catalog.artifacts), version)
        return catalog.registry.promote(version.id, actor(), reason)


def roll_back(catalog: Catalog, settings: Settings, reason: str) -> TreeVersion:
    """Make the version live that the live one was made from. Raises CatalogError if there is none."""
    live = _live(catalog)
    if live.parent is None:
        raise CatalogError(f"tree version {live.id} was made from none; there is nothing to go back to")
    return promote_version(catalog, settings, live.parent, reason)


def roll_back_branch(
    catalog: Catalog, settings: Settings, plugins: LoadedPlugins, name: str, reason: str
) -> TreeVersion:
    """Put the former branch of one attribute back into the live tree; every other branch stays, which is proved.

    Raises UnknownNameError for an attribute that is not live, CatalogError if it has no former branch on this trunk.
    """
    with catalog.sync_lock():
        live = _live(catalog)
        former = _former_branch(catalog, live, name)
        data = TrainingData(catalog, settings, plugins)
        loaded = load_live(data)
        assert loaded is not None
        ids = catalog.labels.label_set(name).image_ids[:64].tolist()
        probe = probe_of(ids, data.decode(ids, loaded.loaded.backbone.transform))
        now, _ = commit(data, loaded, live.trunk, [former], f"back to branch {former.id}, {reason}", probe)
        return catalog.registry.version(now.version)


def _live(catalog: Catalog) -> TreeVersion:
    live = catalog.registry.live()
    if live is None:
        raise CatalogError("no tree is live yet; run: attributree sync-catalog")
    return live


def _former_branch(catalog: Catalog, live: TreeVersion, name: str) -> BranchRecord:
    if name not in live.branches:
        there = ", ".join(live.branches) or "none"
        raise UnknownNameError(f"attribute {name!r} has no branch in tree version {live.id} (there: {there})")
    version, stored = live, {found.id: found for found in catalog.registry.versions()}
    while version.parent is not None:
        version = stored[version.parent]
        branch = version.branches.get(name)
        if branch is None or branch.id == live.branches[name].id:
            continue
        if version.trunk.digest != live.trunk.digest:
            raise CatalogError(
                f"the former branch of {name} stands on another trunk; go back with the whole tree: "
                f"attributree promote {version.id}"
            )
        return branch
    raise CatalogError(f"{name} has had one branch only; there is nothing to go back to")


def _require_parts(store: ArtifactStore, version: TreeVersion) -> None:
    """Raise ArtifactError, naming what it belongs to, if a part of the version is missing or damaged."""
    load_backbone(store, version.trunk)
    for name, branch in version.branches.items():
        for digest in branch.stored:
            try:
                store.check(digest)
            except ArtifactError as error:
                raise ArtifactError(f"tree version {version.id} cannot go live: {name}: {error}") from error
