"""Temperature and confidence cut: when an answer may be accepted without a look."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attributree.nn.losses import probabilities
from attributree.schema import Labels, MultiLabel, Ordinal, SingleLabel
from attributree.training.calibrate import Calibration, calibrate, confidence_cut, fit_temperature

NECKLINE = SingleLabel(("crew", "v_neck", "boat"))
LENGTH = Ordinal(("mini", "knee", "maxi"))
DETAILS = MultiLabel(("bow", "lace", "zip"))
KINDS: list[Labels] = [NECKLINE, LENGTH, Ordinal(("short", "long")), DETAILS]


def drawn(labels: Labels, n: int = 4000) -> tuple[Tensor, Tensor]:
    """Return logits (N, K), and targets (N, C) drawn from the probabilities that they stand for."""
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(n, labels.outputs, generator=random) * 1.5
    p = probabilities(labels.kind, logits)
    if labels.kind == "multi":
        return logits, torch.bernoulli(p, generator=random)
    return logits, torch.eye(labels.size)[torch.multinomial(p, 1, generator=random)[:, 0]]


@pytest.mark.parametrize("labels", KINDS, ids=lambda labels: f"{labels.kind}-{labels.size}")
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_a_known_scaling(labels: Labels, scale: float) -> None:
    logits, target = drawn(labels)
    assert fit_temperature(labels, logits * scale, target) == pytest.approx(scale, rel=0.1)


def test_unknown_values_do_not_move_the_temperature() -> None:
    logits, target = drawn(DETAILS, 500)
    half_known = torch.cat([target, torch.full_like(target, math.nan)])
    both = torch.cat([logits, -7 * logits])
    assert fit_temperature(DETAILS, both, half_known) == pytest.approx(fit_temperature(DETAILS, logits, target))


@pytest.mark.parametrize("size", [1.0, 5.0, 1e4])
def test_answers_that_are_always_or_never_right_give_a_temperature_in_its_bounds(size: float) -> None:
    target = torch.eye(3).repeat(20, 1)
    for logits in (target * size, -target * size, torch.zeros_like(target)):
        assert 0.05 <= fit_temperature(NECKLINE, logits, target) <= 20.0


def test_one_image_gives_a_temperature_in_its_bounds() -> None:
    assert 0.05 <= fit_temperature(NECKLINE, torch.tensor([[2.0, 1.0, 0.0]]), torch.eye(3)[:1]) <= 20.0


# -- the cut ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(34, 100), st.booleans()), min_size=1, max_size=60),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_what_lies_above_a_cut_has_its_precision(images: list[tuple[int, bool]], precision: float) -> None:
    confidence = np.array([percent for percent, _ in images], dtype=np.float32) / 100
    rest = (1 - confidence)[:, None] / 2
    probs = np.concatenate([confidence[:, None], rest, rest], axis=1)
    right = np.array([ok for _, ok in images])
    target = np.eye(3, dtype=np.float32)[np.where(right, 0, 1)]
    cut = confidence_cut(NECKLINE, probs, target, precision)
    if cut is not None:
        accepted = confidence >= cut
        assert accepted.any()
        assert right[accepted].mean() >= precision


def test_the_cut_is_the_lowest_that_keeps_its_precision() -> None:
    confidence = np.linspace(0.99, 0.40, 60, dtype=np.float32)
    probs = np.stack([confidence, 1 - confidence, np.zeros(60, np.float32)], axis=1)
    probs[:, 1] = np.minimum(probs[:, 1], 0.39)
    target = np.eye(3, dtype=np.float32)[[0] * 40 + [1] * 20]
    # 40 right of n: the lower end of Wilson's interval is .802 at n = 47 and .782 at n = 48
    assert confidence_cut(NECKLINE, probs, target, 0.8) == pytest.approx(confidence[46])


def test_a_handful_of_lucky_images_justifies_no_cut() -> None:
    probs = np.tile(np.array([[0.9, 0.1, 0.0]], dtype=np.float32), (5, 1))
    assert confidence_cut(NECKLINE, probs, np.eye(3, dtype=np.float32)[[0] * 5], 0.9) is None
    assert confidence_cut(NECKLINE, probs, np.eye(3, dtype=np.float32)[[1] * 5], 0.5) is None


def test_on_other_images_a_cut_is_hardly_ever_two_points_below_what_was_asked() -> None:
    """The lowest cut that looks good on a few hundred images is a lucky one; what it is for are other images."""
    held = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        confidence = rng.uniform(0.5, 1.0, 300).astype(np.float32)
        target = np.eye(3, dtype=np.float32)[(rng.random(300) > confidence).astype(int)]
        probs = np.stack([confidence, 1 - confidence, np.zeros(300, np.float32)], axis=1)
        cut = confidence_cut(NECKLINE, probs, target, 0.85)
        held.append(cut is None or (1 + cut) / 2 >= 0.83)  # answers above a cut are right (1 + cut) / 2 of the time
    assert np.mean(held) >= 0.95


def test_answers_of_one_confidence_are_accepted_or_refused_together() -> None:
    probs = np.tile(np.array([[0.9, 0.1, 0.0]], dtype=np.float32), (40, 1))
    target = np.eye(3, dtype=np.float32)[[0] * 30 + [1] * 10]  # the first thirty alone would do
    assert confidence_cut(NECKLINE, probs, target, 0.9) is None
    assert confidence_cut(NECKLINE, probs, target, 0.65) == pytest.approx(0.9)


# -- both ------------------------------------------------------------------------------------------


def test_calibrated_answers_above_the_cut_are_as_good_as_asked() -> None:
    logits, target = drawn(NECKLINE)
    calibration = calibrate(NECKLINE, logits * 4, target, precision=0.9, enough=True)
    assert calibration.calibrated
    assert calibration.temperature == pytest.approx(4, rel=0.1)
    assert calibration.cut is not None
    p = probabilities("single", logits * 4, calibration.temperature)
    accepted = p.amax(dim=1) >= calibration.cut
    assert 0.1 < accepted.float().mean() < 1
    assert target[torch.arange(len(p)), p.argmax(dim=1)][accepted].mean() >= 0.9


@pytest.mark.parametrize("n", [0, 50])
def test_with_too_few_labels_nothing_is_fitted_and_everything_goes_to_review(n: int) -> None:
    logits, target = torch.randn(n, 3), torch.eye(3).repeat(17, 1)[:n]
    assert calibrate(NECKLINE, logits, target, precision=0.5, enough=n == 0) == Calibration(1.0, None, False)


def test_an_open_world_in_which_nothing_is_known_to_be_absent_cannot_be_calibrated() -> None:
    """Yes to everything would look like perfect precision."""
    target = torch.tensor([[1.0, math.nan, 1.0]]).repeat(300, 1)
    open_world = MultiLabel(("bow", "lace", "zip"), closed_world=False)
    calibration = calibrate(open_world, torch.full((300, 3), 5.0), target, precision=0.5, enough=True)
    assert calibration == Calibration(1.0, None, False)
