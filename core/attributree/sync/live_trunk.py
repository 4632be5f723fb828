"""Growing on the live trunk: each branch goes live by itself, beside what other workers promote meanwhile."""

from __future__ import annotations

from contextlib import suppress

from ..errors import ArtifactError, OvertakenError
from ..nn.sources import RANDOM
from ..registry.trees import load_units
from ..reports import PROMOTED, Action, Result
from ..settings.models import NO_DONORS
from ..training.donors import Donor
from ..training.progressive import BACKBONE, GrowingTree
from .branch import Claim, GatedBranch, Job, StoredTrunk, attempt, grow_gated
from .data import TrainingData
from .promote import Live, commit, load_live

#: How often a promotion is begun again because another worker's came first.
_PROMOTIONS = 20


def live_trunk(data: TrainingData, live: Live) -> StoredTrunk:
    """Return the live trunk. If its weights were pretrained, branches may start from the stages above it as well."""
    donors = [Donor(BACKBONE, data.backbone().upper)] if data.spec.weights != RANDOM else []
    return StoredTrunk(live.loaded.trunk, GrowingTree.on(live.loaded.backbone, *donors))


def grow_live(job: Job, trunk: StoredTrunk, live: Live | None, action: Action) -> tuple[Result, Live | None]:
    """Grow one branch on `trunk` and promote it into the `live` tree on it; return the tree that is live then.

    Without a live tree it becomes the first branch of one.
    """

    def train(claim: Claim) -> tuple[Result, Live | None]:
        now = _catch_up(job.data, live, trunk)
        gated = grow_gated(job, claim, _with_branches(job.data, trunk, now), now)
        return _promote(job.data, trunk, now, gated, action.reason) if gated.passed else (gated.reject(job.data), now)

    result, now = attempt(job, action, train)
    return result, now or live


def _with_branches(data: TrainingData, trunk: StoredTrunk, live: Live | None) -> GrowingTree:
    """Return the tree to grow on: `trunk` with the live branches."""
    if live is None:
        return trunk.tree
    tree, loaded = trunk.tree, live.loaded
    for name, keyed in loaded.tree.keyed_branches().items():
        if keyed.branch.on_trunk:
            tree = tree.with_donor(Donor.of(name, keyed))
    for name in sorted(loaded.missing):  # its head is gone or broken, what it learnt below is not
        if loaded.branches[name].depth not in NO_DONORS:
            with suppress(ArtifactError):
                units = load_units(data.store, loaded.branches[name], loaded.backbone)
                tree = tree.with_donor(Donor(name, units, loaded.branches[name].parts[:-1]))
    return tree


def _promote(
    data: TrainingData, trunk: StoredTrunk, live: Live | None, gated: GatedBranch, reason: str
) -> tuple[Result, Live]:
    """Promote one branch, beside whatever other workers have promoted meanwhile."""
    trained = gated.trained
    record, finished = trained.store(data, trunk.record.digest), [trained.finished(PROMOTED)]
    for _ in range(_PROMOTIONS):
        try:
            now, proof = commit(data, live, trunk.record, [record], reason, gated.probe, finished=finished)
        except OvertakenError as error:
            overtaken = error
            live = _catch_up(data, live, trunk)
        else:
            gated.checkpoints.forget()
            branch = now.branches[trained.run.attribute].id
            return trained.result(PROMOTED, branch, proof), now
    raise overtaken


def _catch_up(data: TrainingData, live: Live | None, trunk: StoredTrunk) -> Live | None:
    """Return what is live by now on this trunk. Raises OvertakenError if another worker put the tree on another."""
    now = data.catalog.registry.live()
    if now is None or (live and now.id == live.version):
        return live
    found = load_live(data)
    if found is None or found.loaded.trunk.digest != trunk.record.digest:
        raise OvertakenError(f"tree version {now.id} went live while this was on its way, and stands on another trunk")
    return found
