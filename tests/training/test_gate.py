"""The gate: whether a trained branch is good enough to answer."""

import numpy as np
import pytest
from torch import nn

from attributree.answers import Floats
from attributree.nn.tree import Branch
from attributree.schema import Labels, MultiLabel, SingleLabel
from attributree.settings.models import BranchSettings
from attributree.training.calibrate import Calibration
from attributree.training.gate import (
    Difference,
    contributions,
    gate_new,
    gate_replaced,
    paired_bootstrap,
    resampled_f1,
)
from attributree.training.grow import Grown
from attributree.training.metrics import Scores, score

NECKLINE = SingleLabel(("crew", "v_neck"))
NOTHING = np.zeros((0, 2), dtype=np.float32)


def grown(macro_f1: float, floor: float = 0.4) -> Grown:
    scores = Scores(100, macro_f1, macro_f1, 0.0, 0.0, None, {})
    branch = Branch({}, nn.Identity())
    return Grown(branch, "head", "backbone", {}, {}, Calibration(1.0, None, False), {"val": scores}, floor, NOTHING)


def answers(right: int, of: int = 100) -> tuple[Floats, Floats]:
    """Return probabilities and targets of which `right` agree, half of each value."""
    target = np.eye(2, dtype=np.float32)[np.arange(of) % 2]
    said = target.copy()
    said[right:] = 1 - said[right:]
    return said, target


@pytest.mark.parametrize(
    ("macro_f1", "min_gain", "promoted"),
    [(0.41, 0.0, True), (0.40, 0.0, False), (0.39, 0.0, False), (0.50, 5.0, True), (0.44, 5.0, False)],
)
def test_a_first_branch_must_beat_the_commonest_answer(macro_f1: float, min_gain: float, promoted: bool) -> None:
    verdict = gate_new(grown(macro_f1), BranchSettings(min_gain=min_gain))
    assert verdict.promoted is promoted
    assert f"{macro_f1:.3f}" in verdict.reason
    assert "commonest answer" in verdict.reason


@pytest.mark.parametrize(
    ("right", "max_loss", "promoted"),
    [(95, 0.5, True), (90, 0.0, True), (89, 0.5, True), (85, 0.5, False), (85, 8.0, True)],
)
def test_a_branch_may_lose_to_the_live_one_what_is_little_or_cannot_be_told(
    right: int, max_loss: float, promoted: bool
) -> None:
    (live, target), (new, _) = answers(90), answers(right)
    verdict = gate_replaced(NECKLINE, live, new, target, BranchSettings(max_loss=max_loss))
    assert verdict.promoted is promoted
    assert "the live branch has 0.900" in verdict.reason


def test_equal_answers_differ_by_nothing() -> None:
    said, target = answers(90)
    change = paired_bootstrap(NECKLINE, said, said, target, margin=0.0, seed=0)
    assert change == Difference(0.0, 0.0, 0.0, 0.0)


def test_a_value_that_the_live_branch_never_learnt_counts_against_it() -> None:
    target = np.eye(3, dtype=np.float32)[[0, 1, 2] * 10]
    live = target * np.array([1, 1, 0], dtype=np.float32)  # probability 0 for the new value
    three = SingleLabel(("crew", "v_neck", "boat"))
    assert gate_replaced(three, live, target, target, BranchSettings()).promoted
    assert not gate_replaced(three, target, live, target, BranchSettings()).promoted


def test_multi_label_branches_are_compared_over_what_is_known() -> None:
    target = np.array([[1, np.nan], [0, 1]] * 10, dtype=np.float32)
    live = np.array([[0.9, 0.9], [0.1, 0.9]] * 10, dtype=np.float32)
    blind = np.array([[0.9, 0.1], [0.1, 0.1]] * 10, dtype=np.float32)
    labels = MultiLabel(("bow", "lace"))
    assert gate_replaced(labels, live, live * 0.99, target, BranchSettings()).promoted
    assert not gate_replaced(labels, live, blind, target, BranchSettings()).promoted


@pytest.mark.parametrize("labels", [SingleLabel(("a", "b", "c")), MultiLabel(("a", "b", "c"))], ids=lambda x: x.kind)
def test_a_resample_s_macro_f1_is_that_of_the_images_drawn(labels: Labels) -> None:
    rng = np.random.default_rng(0)
    n, rounds = 40, 5
    said = rng.random((n, 3)).astype(np.float32)
    target = np.eye(3, dtype=np.float32)[rng.integers(3, size=n)]
    if labels.kind == "multi":
        target = (rng.random((n, 3)) < 0.5).astype(np.float32)
    drawn = np.random.default_rng(7).multinomial(n, np.full(n, 1 / n), size=rounds)
    found = resampled_f1([(contributions(labels, said, target), slice(None))], n, seed=7, rounds=rounds)[0]
    for f1, counts in zip(found, drawn, strict=True):
        rows = np.repeat(np.arange(n), counts)
        assert f1 == pytest.approx(score(labels, said[rows], target[rows]).macro_f1)


def test_the_interval_holds_the_difference_and_narrows_with_more_images() -> None:
    few, many = ((answers(80, n)[0], answers(90, n)[0], answers(80, n)[1]) for n in (100, 100))
    small = paired_bootstrap(NECKLINE, *few, margin=0.0, seed=0)
    before, after, target = (np.tile(part, (20, 1)) for part in many)
    large = paired_bootstrap(NECKLINE, before, after, target, margin=0.0, seed=0)
    assert small.low < 0.1 < small.high
    assert large.low < 0.1 < large.high
    assert large.high - large.low < 0.4 * (small.high - small.low)


def test_without_an_image_there_is_no_difference_to_tell() -> None:
    with pytest.raises(ValueError, match="no labelled image"):
        paired_bootstrap(NECKLINE, NOTHING, NOTHING, NOTHING, margin=0.0, seed=0)
