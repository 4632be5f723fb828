"""The gate: whether a trained branch is good enough to answer."""

from __future__ import annotations

from dataclasses import dataclass

from ..answers import Floats
from ..config import BranchSettings
from ..schema import Labels
from .grow import Grown
from .metrics import score


@dataclass(frozen=True)
class Verdict:
    """Whether a branch is promoted, and why, in words."""

    promoted: bool
    reason: str


def gate_new(grown: Grown, recipe: BranchSettings) -> Verdict:
    """Let a first branch in if it beats the commonest answer alone by more than `recipe.min_gain` points."""
    f1, needed = grown.scores["val"].macro_f1, grown.floor + recipe.min_gain / 100
    if f1 > needed:
        return Verdict(True, f"macro-F1 {f1:.3f} on validation, the commonest answer alone has {grown.floor:.3f}")
    return Verdict(
        False, f"macro-F1 {f1:.3f} on validation does not beat {needed:.3f}, what the commonest answer needs"
    )


def gate_retrained(labels: Labels, grown: Grown, live: Floats, target: Floats, recipe: BranchSettings) -> Verdict:
    """Let a retrained branch in if it loses at most `recipe.max_loss` points of macro-F1 to the live one.

    `live` (N, C) are the live branch's probabilities, in today's values, of the same unambiguous validation images
    whose labels are `target` (N, C).
    """
    before, after = score(labels, live, target).macro_f1, grown.scores["val"].macro_f1
    return Verdict(
        after >= before - recipe.max_loss / 100, f"macro-F1 {after:.3f} on validation, the live branch has {before:.3f}"
    )
