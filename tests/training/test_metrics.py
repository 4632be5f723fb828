"""Scores of one attribute on labelled images."""

import math

import numpy as np
import pytest

from attributree.answers import Floats
from attributree.schema import MultiLabel, Ordinal, SingleLabel
from attributree.training.metrics import majority_macro_f1, score

NECKLINE = SingleLabel(("crew", "v_neck", "boat"))
DETAILS = MultiLabel(("bow", "lace", "zip"))
TAGS = MultiLabel(("bow", "lace", "zip"), closed_world=False)
NAN = math.nan


def floats(*rows: list[float]) -> Floats:
    return np.array(rows, dtype=np.float32)


def one_hot(*classes: int, size: int = 3) -> Floats:
    return np.eye(size, dtype=np.float32)[list(classes)]


def test_single_label_scores_are_those_of_the_confusion_matrix() -> None:
    said = one_hot(0, 0, 0, 1, 1, 0) * 0.8 + 0.1 * (1 - one_hot(0, 0, 0, 1, 1, 0))
    scores = score(NECKLINE, said, one_hot(0, 0, 1, 1, 1, 0))
    assert scores.n == 6
    assert scores.accuracy == pytest.approx(5 / 6)
    assert scores.per_value["crew"] == pytest.approx({"precision": 3 / 4, "recall": 1.0, "f1": 6 / 7, "n": 3})
    assert scores.per_value["v_neck"] == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 4 / 5, "n": 3})
    assert scores.macro_f1 == pytest.approx((6 / 7 + 4 / 5) / 2)


def test_values_that_do_not_occur_in_the_labels_are_no_part_of_macro_f1() -> None:
    scores = score(NECKLINE, one_hot(0, 1, 2), one_hot(0, 1, 1))
    assert set(scores.per_value) == {"crew", "v_neck"}
    assert scores.macro_f1 == pytest.approx((1 + 2 / 3) / 2)


def test_one_class_in_the_labels_is_scored() -> None:
    assert score(NECKLINE, one_hot(0, 0), one_hot(0, 0)).macro_f1 == 1.0
    assert score(NECKLINE, one_hot(1, 1), one_hot(0, 0)).macro_f1 == 0.0


def test_one_image_is_scored() -> None:
    scores = score(NECKLINE, floats([0.7, 0.2, 0.1]), one_hot(0))
    assert (scores.n, scores.accuracy, scores.macro_f1) == (1, 1.0, 1.0)


def test_an_ordinal_attribute_of_two_values_is_scored() -> None:
    length = Ordinal(("short", "long"))
    scores = score(length, floats([0.9, 0.1], [0.4, 0.6], [0.2, 0.8]), one_hot(0, 0, 1, size=2))
    assert scores.accuracy == pytest.approx(2 / 3)


def test_a_score_of_nothing_is_an_error_and_not_zero() -> None:
    with pytest.raises(ValueError, match="no labelled image"):
        score(NECKLINE, np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32))


# -- multi-label -----------------------------------------------------------------------------------


def test_unknown_values_count_neither_for_nor_against() -> None:
    said = floats([0.9, 0.9, 0.1], [0.9, 0.1, 0.9])
    scores = score(DETAILS, said, floats([1, NAN, 0], [NAN, 0, 1]))
    assert scores.accuracy == 1.0
    assert scores.macro_f1 == 1.0
    assert scores.per_value["bow"]["n"] == 1
    assert "lace" not in scores.per_value


def test_a_multi_label_attribute_of_one_value_is_scored() -> None:
    scores = score(MultiLabel(("bow",)), floats([0.9], [0.8], [0.1], [0.2]), floats([1], [0], [1], [0]))
    assert scores.per_value == {"bow": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 2}}
    assert scores.accuracy == 0.5


def test_a_multi_label_attribute_without_any_presence_has_no_f1_to_average() -> None:
    scores = score(DETAILS, np.full((2, 3), 0.1, np.float32), np.zeros((2, 3), np.float32))
    assert (scores.accuracy, scores.macro_f1, scores.per_value) == (1.0, 0.0, {})


# -- confidence ------------------------------------------------------------------------------------


def test_a_calibrated_answer_has_no_calibration_error() -> None:
    said = np.tile(floats([0.75, 0.25, 0.0]), (4, 1))
    assert score(NECKLINE, said, one_hot(0, 0, 0, 1)).ece == pytest.approx(0.0, abs=1e-6)


def test_an_overconfident_answer_has_its_gap_as_calibration_error() -> None:
    said = np.tile(floats([0.95, 0.05, 0.0]), (4, 1))
    assert score(NECKLINE, said, one_hot(0, 0, 1, 1)).ece == pytest.approx(0.45, abs=1e-6)


def test_multi_label_calibration_is_measured_decision_by_decision_over_known_values() -> None:
    said = floats([0.8, 0.2, 0.99], [0.8, 0.2, 0.99], [0.8, 0.2, 0.99], [0.8, 0.2, 0.99], [0.8, 0.2, 0.99])
    target = floats([1, 0, NAN], [1, 0, NAN], [1, 0, NAN], [1, 0, NAN], [0, 1, NAN])
    assert score(DETAILS, said, target).ece == pytest.approx(0.0, abs=1e-6)


def test_coverage_is_the_share_of_answers_at_or_above_the_cut() -> None:
    said = floats([0.9, 0.1, 0], [0.8, 0.2, 0], [0.6, 0.4, 0], [0.5, 0.3, 0.2])
    scores = score(NECKLINE, said, one_hot(0, 1, 0, 0), cut=float(np.float32(0.8)))
    assert scores.coverage == 0.5
    assert scores.accepted_accuracy == 0.5


@pytest.mark.parametrize("cut", [None, 1.0])
def test_without_a_cut_or_an_answer_above_it_nothing_is_accepted(cut: float | None) -> None:
    scores = score(NECKLINE, floats([0.9, 0.1, 0]), one_hot(0), cut=cut)
    assert (scores.coverage, scores.accepted_accuracy) == (0.0, None)


def test_scores_are_rounded_for_reports() -> None:
    data = score(NECKLINE, floats([0.7, 0.2, 0.1], [0.7, 0.2, 0.1], [0.7, 0.2, 0.1]), one_hot(0, 0, 1)).to_json()
    assert data["accuracy"] == 0.6667
    assert data["accepted_accuracy"] is None
    assert data["per_value"]["crew"]["precision"] == 0.6667


# -- the floor -------------------------------------------------------------------------------------


def test_the_floor_is_the_score_of_always_giving_the_commonest_value() -> None:
    floor = majority_macro_f1(NECKLINE, one_hot(0, 0, 1), one_hot(0, 0, 1, 2))
    assert floor == pytest.approx((2 / 3 + 0 + 0) / 3)


def test_the_commonest_value_is_that_of_training_and_not_of_validation() -> None:
    assert majority_macro_f1(NECKLINE, one_hot(2, 2, 1), one_hot(0, 0, 0)) == 0.0


def test_there_is_a_floor_without_any_training_label() -> None:
    assert majority_macro_f1(NECKLINE, np.zeros((0, 3), np.float32), one_hot(0, 1)) == pytest.approx(1 / 3)


def test_the_floor_of_multi_label_says_what_holds_of_half_the_images() -> None:
    train = floats([1, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0])
    assert majority_macro_f1(DETAILS, train, floats([1, 1, 0], [1, 0, 0])) == pytest.approx(1 / 2)


def test_in_an_open_world_the_floor_is_not_yes_to_everything() -> None:
    """Only presence is known there, so that answer would be right about every known value."""
    train = floats([1, NAN, NAN], [1, NAN, NAN], [1, 1, NAN], [NAN, 1, NAN], [NAN, NAN, 1])
    assert majority_macro_f1(TAGS, train, floats([1, NAN, NAN], [NAN, 1, NAN])) == pytest.approx(1 / 2)
