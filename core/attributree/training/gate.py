"""The gate: whether what was trained is good enough to answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..answers import Floats, answer
from ..schema import Labels
from ..settings.models import BranchSettings
from .grow import Grown
from .metrics import score

#: Resamples of the paired bootstrap.
ROUNDS = 1000
#: An attribute passes unless this share of the resamples says that it lost more than it may. With few validation labels
#: a point lost and a point won look alike; at one half, every second branch that is as good as the live one would fail.
RISK = 0.8
_CELLS = 20_000_000  # of a matrix of resamples in memory at once


@dataclass(frozen=True)
class Difference:
    """By how much macro-F1 changed, in -1..1: its `mean` and 95 % interval, and the `risk` of too large a loss."""

    mean: float
    low: float
    high: float
    risk: float


@dataclass(frozen=True)
class Verdict:
    """Whether a branch is promoted, and why, in words."""

    promoted: bool
    reason: str
    difference: Difference | None = None


def gate_new(grown: Grown, recipe: BranchSettings) -> Verdict:
    """Let a first branch in if it beats the commonest answer alone by more than `recipe.min_gain` points."""
    f1, needed = grown.scores["val"].macro_f1, grown.floor + recipe.min_gain / 100
    if f1 > needed:
        return Verdict(True, f"macro-F1 {f1:.3f} on validation, the commonest answer alone has {grown.floor:.3f}")
    return Verdict(
        False, f"macro-F1 {f1:.3f} on validation does not beat {needed:.3f}, what the commonest answer needs"
    )


def gate_replaced(labels: Labels, live: Floats, new: Floats, target: Floats, recipe: BranchSettings) -> Verdict:
    """Let a branch replace the live one if it did not, as far as can be told, lose over `recipe.max_loss` points.

    `live` and `new` (N, C) are both branches' probabilities, in today's values, of the same unambiguous validation
    images, whose labels are `target` (N, C).
    """
    before, after = score(labels, live, target).macro_f1, score(labels, new, target).macro_f1
    change = paired_bootstrap(labels, live, new, target, margin=recipe.max_loss / 100, seed=recipe.seed)
    return Verdict(
        change.risk <= RISK,
        f"macro-F1 {after:.3f} on validation, the live branch has {before:.3f} (95 % interval of the difference "
        f"{100 * change.low:+.1f} to {100 * change.high:+.1f} points)",
        change,
    )


def paired_bootstrap(
    labels: Labels, before: Floats, after: Floats, target: Floats, *, margin: float, seed: int, rounds: int = ROUNDS
) -> Difference:
    """Return how macro-F1 differs between two sets of answers to the same N images, by resampling the images.

    `before`, `after` and `target` (N, C). `risk` is the share of the resamples in which `after` lost more than
    `margin` (0..1). Raises ValueError without an image.
    """
    if not len(target):
        raise ValueError("no labelled image to compare on")
    counts = [(contributions(labels, probabilities, target), slice(None)) for probabilities in (before, after)]
    draws = resampled_f1(counts, len(target), seed, rounds)  # (2, rounds)
    change = draws[1] - draws[0]
    low, high = np.quantile(change, (0.025, 0.975))
    # Equal answers lose nothing; rounding must not say otherwise.
    return Difference(float(change.mean()), float(low), float(high), float((change < -margin - 1e-9).mean()))


def resampled_f1(
    counted: Sequence[tuple[npt.NDArray[np.float32], slice | npt.NDArray[np.int64]]], n: int, seed: int, rounds: int
) -> npt.NDArray[np.float64]:
    """Return the macro-F1 of each of A sets of answers in each resample of `n` images: (A, rounds).

    A set is what `contributions` makes of it (M, 3, C), and which M of the images it answers.
    """
    rng, step = np.random.default_rng(seed), max(1, _CELLS // n)
    blocks = []
    for start in range(0, rounds, step):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(step, rounds - start)).astype(np.float32)  # (R, n)
        blocks.append([_drawn_f1(counts, drawn[:, images]) for counts, images in counted])
    return np.concatenate(blocks, axis=1)


def _drawn_f1(counts: npt.NDArray[np.float32], drawn: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Return the macro-F1 (R,) of each resample `drawn` (R, M): how often it has each image of `counts` (M, 3, C)."""
    hits, given, support = np.moveaxis(np.tensordot(drawn, counts, axes=1), 1, 0)  # (R, C) each
    f1, present = 2 * hits / np.maximum(given + support, 1), support > 0
    return np.asarray((f1 * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1), dtype=np.float64)


def contributions(labels: Labels, probabilities: Floats, target: Floats) -> npt.NDArray[np.float32]:
    """Return what each image adds to hits, answers and labels of each value: (N, 3, C)."""
    known = ~np.isnan(target)
    said = answer(labels, probabilities).said & known
    wanted = np.nan_to_num(target) > 0
    return np.stack([said & wanted, said, wanted], axis=1).astype(np.float32)
