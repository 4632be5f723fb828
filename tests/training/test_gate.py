"""The gate: whether a trained branch is good enough to answer."""

import numpy as np
import pytest
from torch import nn

from attributree.answers import Floats
from attributree.config import BranchSettings
from attributree.nn import Branch
from attributree.schema import MultiLabel, SingleLabel
from attributree.training import Grown, Scores, gate_new, gate_retrained
from attributree.training.calibrate import Calibration

NECKLINE = SingleLabel(("crew", "v_neck"))


def grown(macro_f1: float, floor: float = 0.4) -> Grown:
    scores = Scores(100, macro_f1, macro_f1, 0.0, 0.0, None, {})
    branch = Branch({}, nn.Identity())
    return Grown(branch, "head", "backbone", {}, {}, Calibration(1.0, None, False), {"val": scores}, floor)


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
    ("macro_f1", "max_loss", "promoted"),
    [(0.95, 0.5, True), (0.90, 0.0, True), (0.896, 0.5, True), (0.894, 0.5, False), (0.85, 5.5, True)],
)
def test_a_retrained_branch_may_lose_a_little_to_the_live_one(macro_f1: float, max_loss: float, promoted: bool) -> None:
    said, target = answers(90)
    verdict = gate_retrained(NECKLINE, grown(macro_f1), said, target, BranchSettings(max_loss=max_loss))
    assert verdict.promoted is promoted
    assert "the live branch has 0.900" in verdict.reason


def test_a_value_that_the_live_branch_never_learnt_counts_against_it() -> None:
    target = np.eye(3, dtype=np.float32)[[0, 1, 2] * 10]
    live = target * np.array([1, 1, 0], dtype=np.float32)  # probability 0 for the new value
    three = SingleLabel(("crew", "v_neck", "boat"))
    assert gate_retrained(three, grown(0.75), live, target, BranchSettings()).promoted
    assert not gate_retrained(three, grown(0.50), live, target, BranchSettings()).promoted


def test_multi_label_branches_are_compared_over_what_is_known() -> None:
    target = np.array([[1, np.nan], [0, 1]] * 10, dtype=np.float32)
    live = np.array([[0.9, 0.9], [0.1, 0.9]] * 10, dtype=np.float32)
    labels = MultiLabel(("bow", "lace"))
    assert gate_retrained(labels, grown(1.0), live, target, BranchSettings()).promoted
    assert not gate_retrained(labels, grown(0.99), live, target, BranchSettings()).promoted
