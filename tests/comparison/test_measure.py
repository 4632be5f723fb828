"""Resampled scores: an image is drawn with all of its labels, and the same images for every arm."""

from typing import Any

import numpy as np
import pytest

from attributree import Attribute, SingleLabel
from attributree.comparison.measure import Answered, resampled
from attributree.label_set import LabelSet
from attributree.training.calibrate import Calibration
from attributree.training.data import Samples


def answered(name: str, ids: list[int], truth: list[int], said: list[int]) -> Answered:
    """Return an attribute of two values as it is answered on the test images `ids`."""
    target, probabilities = (np.eye(2, dtype=np.float32)[values] for values in (truth, said))
    n = len(ids)
    labels = LabelSet(
        Attribute(name, SingleLabel(("a", "b"))),
        1,
        np.array(ids, dtype=np.int64),
        np.full(n, 2, dtype=np.int8),
        target.reshape(n, 2),
        np.zeros(n, dtype=np.bool_),
        np.ones(n, dtype=np.float32),
    )
    part = Samples((np.empty(0),), np.zeros((n, 1), dtype=np.int64), labels)
    report: dict[str, Any] = {"macro_f1": None}
    calibration = Calibration(1.0, None, calibrated=False)
    return Answered({"val": part, "test": part}, {"test": probabilities.reshape(n, 2)}, calibration, report)


def test_right_answers_score_one_in_every_resample() -> None:
    arm = {"x": answered("x", [1, 2, 3, 4], [0, 1, 0, 1], [0, 1, 0, 1])}
    draws = resampled(arm, seed=0, rounds=50)
    assert draws.shape == (50,)
    assert draws.tolist() == [1.0] * 50


def test_resamples_scatter_around_the_score() -> None:
    truth, said = [0, 1] * 20, [0, 1, 1, 1] * 10
    draws = resampled({"x": answered("x", list(range(40)), truth, said)}, seed=0, rounds=400)
    f1 = (2 * 10 / 30 + 2 * 20 / 50) / 2
    assert draws.mean() == pytest.approx(f1, abs=0.02)
    assert 0.04 < draws.std() < 0.12


def test_an_image_is_drawn_with_all_of_its_labels() -> None:
    truth, said = [0, 1] * 20, [0, 1, 1, 1] * 10
    together = {name: answered(name, list(range(40)), truth, said) for name in ("x", "y")}
    apart = {**together, "y": answered("y", list(range(100, 140)), truth, said)}
    one = resampled({"x": together["x"]}, seed=0, rounds=400)
    assert resampled(together, seed=0, rounds=400) == pytest.approx(one)
    assert resampled(apart, seed=0, rounds=400).std() < 0.85 * one.std()


def test_a_memory_bound_changes_nothing_but_the_order_of_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    arm = {"x": answered("x", list(range(40)), [0, 1] * 20, [0, 1, 1, 1] * 10)}
    whole = resampled(arm, seed=0, rounds=100)
    monkeypatch.setattr("attributree.training.gate._CELLS", 400)
    assert resampled(arm, seed=0, rounds=100) == pytest.approx(whole)


def test_without_a_test_image_nothing_is_drawn() -> None:
    assert not len(resampled({"x": answered("x", [], [], [])}, seed=0))
