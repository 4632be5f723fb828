"""Promotion: the next tree is built from artifacts, proved not to move what it did not train, and made live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..errors import TrainingError
from ..registry.records import BranchRecord, FinishedRun, NewVersion, TreeVersion, TrunkRecord
from ..registry.trees import LoadedTree, Proof, load_tree, prove_unchanged, unchanged_branches
from .actor import actor, made_with
from .ground import Ground


@dataclass(frozen=True, eq=False)
class Live:
    """The live tree as it was when a piece of training began, or as that left it."""

    version: int
    loaded: LoadedTree

    @property
    def branches(self) -> dict[str, BranchRecord]:
        """The live branches by attribute, loaded or not."""
        return self.loaded.branches


def load_live(ground: Ground) -> Live | None:
    """Return the live tree, None if nothing is live yet."""
    version = ground.catalog.registry.live()
    if version is None:
        return None
    return Live(version.id, load_tree(ground.store, version.trunk, version.branches, ground.plugins))


def commit(
    ground: Ground,
    live: Live | None,
    trunk: TrunkRecord,
    new: Sequence[BranchRecord],
    reason: str,
    *,
    promote: bool = True,
    finished: Sequence[FinishedRun] = (),
) -> tuple[Live, TreeVersion, Proof]:
    """Store the tree of `trunk`, the `new` branches, and the live ones beside them if they stand on that trunk.

    The proof comes before the promotion; the `finished` runs are closed with it, all in one transaction. Raises
    TrainingError if a branch cannot be loaded back or a logit of another moved by one bit; OvertakenError if somebody
    else promoted a tree meanwhile; LeaseError if a run was taken over.
    """
    kept = live.branches if live and live.loaded.trunk.digest == trunk.digest else {}
    names = {record.attribute for record in new}
    branches = {**kept, **{record.attribute: record for record in new}}
    loaded = load_tree(ground.store, trunk, branches, ground.plugins)
    for name in sorted(names & loaded.missing.keys()):
        raise TrainingError(f"{name}: the new branch cannot be loaded back: {loaded.missing[name]}")
    proof = prove(ground, live, loaded)
    version = ground.catalog.registry.commit_version(
        NewVersion(
            trunk=trunk,
            branches=tuple(branches.values()),
            parent=live.version if live else None,
            reason=f"{', '.join(sorted(names))}: {reason}",
            actor=actor(),
            proof=proof.to_json(),
            promote=promote,
            finished=tuple(finished),
            made_with=made_with(ground.plugins),
        )
    )
    return Live(version.id, replace(loaded, branches=version.branches)), version, proof


def prove(ground: Ground, live: Live | None, new: LoadedTree) -> Proof:
    """Compare the branches that stand in both trees. Raises TrainingError if one bit differs."""
    assert ground.probe is not None
    if live is None or live.loaded.trunk.digest != new.trunk.digest:
        return Proof((), len(ground.probe), 0.0)
    old = live.loaded
    both = unchanged_branches(old.branches, new.branches)
    served = [name for name in both if name in old.tree.branches and name in new.tree.branches]
    proof = prove_unchanged(old.tree.cpu(), new.tree.cpu(), served, ground.probe)
    if proof.max_abs_diff != 0.0:
        raise TrainingError(f"logits of {', '.join(served)} moved by {proof.max_abs_diff}; nothing was promoted")
    return proof
