"""Trees in and out of the artifact store, and the proof that a new one answers as the old one did."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..errors import ArtifactError, PluginError
from ..heads import HEADS
from ..nn.familiarity import Familiarity
from ..nn.heads import HeadFactory
from ..nn.tree import Branch, KeyedBranch, Tree, weights_of
from ..nn.trunk import MAPS, OWN, PYRAMID, Backbone, Features, Reads, TrunkSpec, build_backbone, own_trunk
from ..plugins import LoadedPlugins
from ..schema import KINDS, Attribute, Value
from ..settings.head_names import EXIT_HEAD
from ..settings.models import EXIT
from .artifacts import ArtifactStore
from .records import BranchRecord, TrunkRecord


def as_trained(record: BranchRecord) -> Attribute:
    """Return the attribute as the branch learnt it: its kind and the values that its outputs stand for."""
    return Attribute(record.attribute, KINDS[record.kind](tuple(Value(key) for key in record.values)))


def save_trunk(store: ArtifactStore, backbone: Backbone) -> TrunkRecord:
    """Store the trunk's weights and return its record."""
    return TrunkRecord(store.put(weights_of(backbone.trunk)), asdict(backbone.spec))


def load_backbone(store: ArtifactStore, record: TrunkRecord) -> Backbone:
    """Return the architecture with the stored trunk's weights; the upper stages hold none worth keeping."""
    backbone = build_backbone(TrunkSpec.recorded(record.spec), load_weights=False)
    backbone.trunk.load_state_dict(store.get(record.digest, backbone.trunk.state_dict()))
    return backbone


def save_branch(store: ArtifactStore, branch: Branch) -> tuple[str, ...]:
    """Store the parts of a branch, units first and its head last, and return their digests.

    A unit that is equal to another branch's has the same digest and is stored, loaded and run once.
    """
    return tuple(store.put(part) for part in branch.parts())


def load_branch(
    store: ArtifactStore,
    record: BranchRecord,
    backbone: Backbone,
    plugins: LoadedPlugins,
    loaded: dict[str, nn.Module] | None = None,
) -> Branch:
    """Return a stored branch. Units whose digest is in `loaded` are taken from there; the others are added.

    Raises ArtifactError if a part does not fit, or its head's plugin is gone; PluginError if that plugin fails.
    """
    new_head = head_factory(record, as_trained(record), backbone, plugins)
    units = load_units(store, record, backbone, loaded)
    head = new_head()
    head.load_state_dict(store.get(record.parts[-1], head.state_dict()))
    return Branch(units, head)


def head_factory(record: BranchRecord, attribute: Attribute, backbone: Backbone, plugins: LoadedPlugins) -> HeadFactory:
    """Return what builds heads of `attribute` like the stored branch's.

    One of attributree's own is built by its name and options, whatever a plugin brings today. Raises ArtifactError if
    the head was a plugin's that is gone.
    """
    in_features = backbone.pyramid_features if record.head == EXIT_HEAD else backbone.width(record.depth != EXIT)
    if record.head in HEADS:
        return HeadFactory(attribute, in_features, plugins, record.head, record.head_options)
    factory = HeadFactory(attribute, in_features, plugins)
    owner, _ = factory.whose()
    if owner != record.head:
        raise ArtifactError(
            f"branch {record.id} of {record.attribute!r} was trained with the head of {record.head}, "
            f"now there is the head of {owner}; install {record.head} again, or retrain: "
            f"attributree sync-catalog --retrain {record.attribute}"
        )
    return factory


def load_units(
    store: ArtifactStore, record: BranchRecord, backbone: Backbone, loaded: dict[str, nn.Module] | None = None
) -> dict[str, nn.Module]:
    """Return a stored branch's units without its head, none at an exit; `loaded` as in `load_branch`.

    Raises ArtifactError if a part does not fit.
    """
    units = backbone.units_of(record.depth)
    if record.depth == EXIT and record.owns_trunk:
        units = {OWN: own_trunk(backbone.trunk, PYRAMID if record.head == EXIT_HEAD else MAPS)}
    if len(record.parts) != len(units) + 1:
        raise ArtifactError(
            f"branch {record.id} of {record.attribute!r} has {len(record.parts)} parts, not {len(units) + 1}"
        )
    loaded = {} if loaded is None else loaded
    for unit, digest in zip(units.values(), record.parts[:-1], strict=True):
        if digest not in loaded:
            fresh = copy.deepcopy(unit)
            fresh.load_state_dict(store.get(digest, fresh.state_dict()))
            loaded[digest] = fresh
    return {name: loaded[digest] for name, digest in zip(units, record.parts[:-1], strict=True)}


@dataclass(frozen=True, eq=False)
class LoadedTree:
    """A tree in memory, with the records it was made from. `missing` says of each branch left out why.

    `familiarities` are those of the branches that know what they have seen.
    """

    trunk: TrunkRecord
    branches: dict[str, BranchRecord]
    backbone: Backbone
    tree: Tree
    missing: dict[str, str]
    familiarities: dict[str, Familiarity] = field(default_factory=dict)

    def reads(self, names: Iterable[str]) -> frozenset[Reads]:
        """Return what the named branches, and their familiarities, read of the trunk's features."""
        names = tuple(names)
        return self.tree.reads(names) | ({PYRAMID} if self.familiarities.keys() & set(names) else set())

    def novelty(self, features: Features, names: Iterable[str]) -> dict[str, npt.NDArray[np.float32]]:
        """Return how novel pictures are to the named branches that can tell: (B,), above 1 if unlike what they know."""
        asked = [name for name in names if name in self.familiarities]
        if not asked:
            return {}
        overall = self.backbone.overall(features[PYRAMID])
        return {name: self.familiarities[name].novelty(overall).numpy() for name in asked}


def load_tree(
    store: ArtifactStore, trunk: TrunkRecord, branches: Mapping[str, BranchRecord], plugins: LoadedPlugins
) -> LoadedTree:
    """Return the tree of a manifest, ready to answer.

    A branch whose plugin is gone or broken, or whose parts are damaged, is left out and named in `missing`; a
    damaged trunk raises ArtifactError, since nothing can answer without it.
    """
    backbone = load_backbone(store, trunk)
    keyed: dict[str, KeyedBranch] = {}
    familiarities: dict[str, Familiarity] = {}
    missing: dict[str, str] = {}
    loaded: dict[str, nn.Module] = {}  # a unit that several branches share is read, kept and run once
    for name, record in sorted(branches.items()):
        try:
            branch = load_branch(store, record, backbone, plugins, loaded)
            if record.familiarity:
                familiarities[name] = _load_familiarity(store, record.familiarity)
            keyed[name] = KeyedBranch(branch, record.parts[:-1])
        except (ArtifactError, PluginError) as error:
            missing[name] = str(error)
    return LoadedTree(trunk, dict(branches), backbone, Tree(backbone.trunk, keyed), missing, familiarities)


def _load_familiarity(store: ArtifactStore, digest: str) -> Familiarity:
    try:
        return Familiarity.from_weights(store.read(digest))
    except TypeError as error:
        raise ArtifactError(f"{store.path(digest)} is no familiarity: {error}") from error


@dataclass(frozen=True)
class Proof:
    """That old attributes did not move: the largest difference of any logit on `images` probe images."""

    attributes: tuple[str, ...]
    images: int
    max_abs_diff: float


def prove_unchanged(before: Tree, after: Tree, names: Iterable[str], pixels: npt.NDArray[np.uint8]) -> Proof:
    """Compare the logits of the named branches of two trees, bit by bit, on `pixels` (B, S, S, 3).

    Both trees are to come from artifacts: what is compared is what will be served.
    """
    names = tuple(names)
    if not names:
        return Proof((), len(pixels), 0.0)
    probe = torch.from_numpy(np.ascontiguousarray(pixels))
    old, new = before(probe, names), after(probe, names)
    worst = 0.0
    for name in names:
        if not torch.equal(old[name], new[name]):
            diff = (old[name] - new[name]).abs().max().item()
            worst = max(worst, float("inf") if np.isnan(diff) else diff)
    return Proof(names, len(pixels), worst)


def unchanged_branches(old: Mapping[str, BranchRecord], new: Mapping[str, BranchRecord]) -> tuple[str, ...]:
    """Return the attributes that are answered by the same weights in both versions."""
    return tuple(sorted(name for name in old if name in new and old[name].path == new[name].path))
