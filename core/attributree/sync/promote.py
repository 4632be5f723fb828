"""Promotion: the next tree is built from artifacts, proved not to move what it did not train, and made live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..errors import TrainingError
from ..jsonable import jsonable
from ..registry.records import BranchRecord, FinishedRun, NewVersion, TrunkRecord
from ..registry.trees import LoadedTree, Proof, load_tree, prove_unchanged, unchanged_branches
from .actor import actor, made_with
from .data import TrainingData


@dataclass(frozen=True, eq=False)
class Live:
    """The live tree as it was when a piece of training began, or as that left it."""

    version: int
    loaded: LoadedTree

    @property
    def branches(self) -> dict[str, BranchRecord]:
        """The live branches by attribute, loaded or not."""
        return self.loaded.branches


def load_live(data: TrainingData) -> Live | None:
    """Return the live tree, None if nothing is live yet."""
    version = data.catalog.registry.live()
    if version is None:
        return None
    return Live(version.id, load_tree(data.store, version.trunk, version.branches, data.plugins))


def commit(
    data: TrainingData,
    live: Live | None,
    trunk: TrunkRecord,
    new: Sequence[BranchRecord],
    reason: str,
    probe: npt.NDArray[np.uint8],
    *,
    promote: bool = True,
    finished: Sequence[FinishedRun] = (),
) -> tuple[Live, Proof]:
    """Store the tree of `trunk`, the `new` branches, and the live ones beside them if they stand on that trunk.

    The proof, on the pixels `probe` (P, S, S, 3), comes before the promotion; the `finished` runs are closed with it,
    all in one transaction. Raises TrainingError if a branch cannot be loaded back or a logit of another moved by one
    bit; OvertakenError if another worker promoted a tree meanwhile; LeaseError if a run was taken over.
    """
    kept = live.branches if live and live.loaded.trunk.digest == trunk.digest else {}
    names = {record.attribute for record in new}
    branches = {**kept, **{record.attribute: record for record in new}}
    loaded = load_tree(data.store, trunk, branches, data.plugins)
    for name in sorted(names & loaded.missing.keys()):
        raise TrainingError(f"{name}: the new branch cannot be loaded back: {loaded.missing[name]}")
    proof = _prove(live, loaded, probe)
    version = data.catalog.registry.commit_version(
        NewVersion(
            trunk=trunk,
            branches=tuple(branches.values()),
            parent=live.version if live else None,
            reason=f"{', '.join(sorted(names))}: {reason}",
            actor=actor(),
            proof=jsonable(proof),
            promote=promote,
            finished=tuple(finished),
            made_with=made_with(data.plugins),
        )
    )
    return Live(version.id, replace(loaded, branches=version.branches)), proof


def _prove(live: Live | None, new: LoadedTree, probe: npt.NDArray[np.uint8]) -> Proof:
    """Compare the branches that stand in both trees. Raises TrainingError if one bit differs."""
    if live is None:
        return Proof((), len(probe), 0.0)
    old = live.loaded
    both = unchanged_branches(old.branches, new.branches)
    served = [name for name in both if name in old.tree.branches and name in new.tree.branches]
    proof = prove_unchanged(old.tree.cpu(), new.tree.cpu(), served, probe)
    if proof.max_abs_diff != 0.0:
        raise TrainingError(f"logits of {', '.join(served)} moved by {proof.max_abs_diff}; nothing was promoted")
    return proof
