"""A new trunk: pretrained or trained from random weights, and all live branches grown on it at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from torch import nn

from ..catalog import Catalog
from ..errors import ConfigError, PluginError, TrainingError
from ..nn.sources import RANDOM, find_weights
from ..nn.trunk import Backbone, TrunkSpec, build_backbone
from ..plugins import LoadedPlugins
from ..registry.trees import save_trunk
from ..reports import PROMOTED, Action, Result
from ..settings.models import BranchSettings, Settings
from ..settings.recipes import outcome_settings
from ..training.checkpoint import Checkpoints
from ..training.data import Samples
from ..training.donors import Donor
from ..training.progressive import BACKBONE, BranchSetup, GrowingTree, learn_trunk
from .branch import Claim, GatedBranch, Job, StoredTrunk, attempt, grow_gated
from .plan import broken_owner, trunk_differences
from .promote import Live, commit


@dataclass(frozen=True, eq=False)
class NewTrunk:
    """A trunk that no branch is live on. If it was trained: how that went, and the checkpoints it was made with.

    Until a branch is live on it, a broken sync finds it in its checkpoints alone.
    """

    stored: StoredTrunk
    trained: dict[str, Any] | None = None
    checkpoints: Checkpoints | None = None


def require_trunk(catalog: Catalog, settings: Settings, plugins: LoadedPlugins) -> None:
    """Raise TrunkError if the next training needs a new trunk, and the backbone cannot be cut or has no such weights.

    Nothing is downloaded and no weights are read: a hub that cannot be reached is found out by the sync.
    """
    live = catalog.registry.live()
    if live and not trunk_differences(live.trunk.spec, settings.trunk_identity()):
        return
    spec = TrunkSpec(**settings.trunk.model_dump())
    find_weights(spec.backbone, spec.weights, plugins)
    build_backbone(spec, load_weights=False)


def make_trunk(job: Job, names: Sequence[str]) -> NewTrunk:
    """Return the configured trunk, trained on the attributes `names` if its weights are random."""
    backbone = job.data.backbone()
    if job.data.spec.weights != RANDOM:
        return NewTrunk(_store(job, GrowingTree.on(backbone, Donor(BACKBONE, backbone.upper))))
    return _learn(job, backbone, names)


def _store(job: Job, tree: GrowingTree) -> StoredTrunk:
    record = save_trunk(job.data.store, tree.backbone)
    weights = job.data.settings.trunk_identity()["weights"]  # a file below the project is named relative to it
    return StoredTrunk(replace(record, spec={**record.spec, "weights": weights}), tree)


def _learn(job: Job, backbone: Backbone, names: Sequence[str]) -> NewTrunk:
    """Train the trunk on all of `names` that can be trained; the others fail later, each by itself."""
    start, data = time.monotonic(), job.data
    label_sets = {name: data.catalog.labels.label_set(name) for name in names}
    pictures = data.decode_all(label_sets, backbone.transform)
    setups, samples, failed = dict[str, BranchSetup](), dict[str, Samples](), dict[str, str]()
    for name, labels in label_sets.items():
        try:
            pixels, setup = data.pixels(labels, pictures), data.setup(labels.attribute, backbone)
            setup.head()  # a bad one is told before any work
        except (TrainingError, PluginError, ConfigError) as error:
            failed[name] = str(error)
        else:
            samples[name], setups[name] = pixels, setup

    def checkpoints_of(recipe: BranchSettings, heads: Mapping[str, nn.Module]) -> Checkpoints:
        return data.checkpoints(
            "trunk",
            trunk=data.settings.trunk_identity(),
            recipe=outcome_settings(recipe),
            labels={name: samples[name].labels.fingerprint for name in heads},
            heads={name: repr(head) for name, head in heads.items()},
            losses={name: data.recipes.of(name).loss for name in heads},
            executor=job.executor.name,
        )

    trained, checkpoints = learn_trunk(
        backbone,
        setups,
        samples,
        data.recipes.together,
        checkpoints_of=checkpoints_of,
        failed=failed,
        executor=job.executor,
        progress=data.progress,
    )
    told = {
        "attributes": list(trained.heads),
        "epochs": trained.epochs,
        "seconds": round(time.monotonic() - start, 3),
        "macro_f1": {name: round(f1, 4) for name, f1 in trained.macro_f1.items()},
    }
    return NewTrunk(_store(job, GrowingTree.on(trained.backbone, trained.donor)), told, checkpoints)


def move_tree(job: Job, trunk: StoredTrunk, live: Live, actions: Sequence[Action]) -> tuple[list[Result], Live]:
    """Grow a branch of each action on a new trunk, and promote them together if none that is live was lost.

    Returns the results and the tree that is live then.
    """
    data, tree = job.data, trunk.tree
    results, grown = dict[str, Result](), dict[str, GatedBranch]()
    for action in actions:
        result, gated = attempt(job, action, partial(_grow, job, tree, live), hold=True)
        results[result.attribute] = result
        if gated and gated.passed:
            grown[result.attribute] = gated
            if gated.trained.branch.on_trunk:
                tree = replace(tree, with_units=tree.with_units | {result.attribute})
    orphans = _orphans(job, live)
    lost = sorted(live.branches.keys() - grown.keys() - orphans)
    if lost or not grown:
        why = f"the new trunk has no good branch for {', '.join(lost)}; the tree on the old trunk stays live"
        return list((results | {name: gated.reject(data, why) for name, gated in grown.items()}).values()), live
    reason = f"a new trunk, without the orphaned {', '.join(sorted(orphans))}" if orphans else "a new trunk"
    records = [gated.trained.store(data, trunk.record.digest) for gated in grown.values()]
    finished = [gated.trained.finished(PROMOTED) for gated in grown.values()]
    probe = next(reversed(grown.values())).probe
    now, proof = commit(data, live, trunk.record, records, reason, probe, finished=finished)
    for name, gated in grown.items():
        gated.checkpoints.forget()
        branch = now.branches[name].id
        results[name] = gated.trained.result(PROMOTED, branch, proof)
    return list(results.values()), now


def _grow(job: Job, tree: GrowingTree, live: Live, claim: Claim) -> tuple[Result, GatedBranch]:
    gated = grow_gated(job, claim, tree, live)
    if not gated.passed:
        return gated.reject(job.data), gated
    return gated.trained.result(PROMOTED), gated


def _orphans(job: Job, live: Live) -> set[str]:
    """Return the live attributes that no plugin declares any more, and none that is broken did."""
    plugins = job.data.plugins
    catalogued = job.data.catalog.labels.attributes()
    gone = live.branches.keys() - plugins.attributes.keys()
    return {name for name in gone if not broken_owner(catalogued[name], plugins.problems)}
