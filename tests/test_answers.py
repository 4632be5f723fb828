"""From probabilities to answers in today's words."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attributree.answers import Floats, answer, answer_today, heirs, translate
from attributree.schema import MultiLabel, Ordinal, SingleLabel, Value

NECKLINE = SingleLabel(("crew", "v_neck", "boat"))
DETAILS = MultiLabel(("bow", "lace", "zip"))


def floats(*rows: list[float]) -> Floats:
    return np.array(rows, dtype=np.float32)


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels", [NECKLINE, Ordinal(("mini", "midi", "maxi"))])
def test_the_most_probable_value_is_said(labels: SingleLabel) -> None:
    answers = answer(labels, floats([0.1, 0.7, 0.2], [0.5, 0.1, 0.4]))
    assert answers.said.tolist() == [[False, True, False], [True, False, False]]
    assert answers.confidence == pytest.approx([0.7, 0.5])


def test_exactly_one_value_is_said_in_a_tie() -> None:
    assert answer(NECKLINE, floats([1 / 3, 1 / 3, 1 / 3])).said.sum() == 1


def test_multi_label_says_every_value_of_one_half_or_more() -> None:
    answers = answer(DETAILS, floats([0.9, 0.5, 0.2], [0.1, 0.1, 0.1]))
    assert answers.said.tolist() == [[True, True, False], [False, False, False]]
    assert answers.confidence == pytest.approx([0.9 * 0.5 * 0.8, 0.9**3])


def test_no_images_are_no_answers() -> None:
    for labels in (NECKLINE, DETAILS):
        answers = answer(labels, np.zeros((0, 3), dtype=np.float32))
        assert answers.said.shape == (0, 3)
        assert answers.confidence.shape == (0,)


def test_an_answer_is_right_if_it_is_the_labelled_one() -> None:
    answers = answer(NECKLINE, floats([0.1, 0.7, 0.2], [0.5, 0.1, 0.4]))
    assert answers.right(floats([0, 1, 0], [0, 0, 1])).tolist() == [True, False]


def test_a_multi_label_answer_is_judged_by_what_is_known() -> None:
    answers = answer(DETAILS, floats([0.9, 0.9, 0.1], [0.9, 0.9, 0.1]))
    assert answers.right(floats([1, math.nan, 0], [1, 0, math.nan])).tolist() == [True, False]


# -- translation -----------------------------------------------------------------------------------


def test_unchanged_keys_need_no_translation() -> None:
    probabilities = floats([0.2, 0.3, 0.5])
    assert translate(probabilities, NECKLINE.keys, NECKLINE) is probabilities


def test_a_renamed_value_keeps_its_probability() -> None:
    today = SingleLabel((Value("round", formerly=("crew",)), "v_neck", "boat"))
    assert translate(floats([0.2, 0.3, 0.5]), NECKLINE.keys, today) == pytest.approx(floats([0.2, 0.3, 0.5]))


def test_former_keys_are_compared_as_everything_else_is() -> None:
    today = SingleLabel((Value("plunge", formerly=("V-Neck",)), "crew", "boat"))
    assert translate(floats([0.2, 0.3, 0.5]), NECKLINE.keys, today) == pytest.approx(floats([0.3, 0.2, 0.5]))


def test_merged_values_add_up() -> None:
    today = SingleLabel((Value("round", formerly=("crew", "boat")), "v_neck"))
    assert translate(floats([0.2, 0.3, 0.5]), NECKLINE.keys, today) == pytest.approx(floats([0.7, 0.3]))


def test_a_merge_can_change_the_answer() -> None:
    today = SingleLabel((Value("collarless", formerly=("crew", "v_neck")), "boat"))
    merged = translate(floats([0.3, 0.3, 0.4]), NECKLINE.keys, today)
    assert answer(today, merged).said.tolist() == [[True, False]]


def test_merged_multi_label_values_take_the_larger_probability() -> None:
    today = MultiLabel((Value("trim", formerly=("bow", "lace")), "zip"))
    assert translate(floats([0.6, 0.7, 0.2]), DETAILS.keys, today) == pytest.approx(floats([0.7, 0.2]))


def test_retired_values_are_dropped_and_the_rest_is_rescaled() -> None:
    today = SingleLabel(("crew", "boat"))
    assert translate(floats([0.2, 0.5, 0.3]), NECKLINE.keys, today) == pytest.approx(floats([0.4, 0.6]))
    assert translate(floats([0.2, 0.9, 0.3]), DETAILS.keys, MultiLabel(("bow", "zip"))) == pytest.approx(
        floats([0.2, 0.3])
    )


def test_an_image_whose_whole_probability_was_retired_is_answered_without_confidence() -> None:
    today = SingleLabel(("crew", "boat"))
    translated = translate(floats([0.0, 1.0, 0.0]), NECKLINE.keys, today)
    assert translated.tolist() == [[0.0, 0.0]]
    assert answer(today, translated).confidence.tolist() == [0.0]


def test_a_value_that_the_branch_never_learnt_has_probability_zero_and_order_does_not_matter() -> None:
    today = SingleLabel(("halter", "boat", "crew", "v_neck"))
    assert translate(floats([0.2, 0.3, 0.5]), NECKLINE.keys, today) == pytest.approx(floats([0.0, 0.5, 0.2, 0.3]))


# -- split -----------------------------------------------------------------------------------------

#: boat was split after the branch had learnt it.
BOATS = SingleLabel(("crew", Value("slash", formerly=("boat",)), "v_neck", Value("bateau", formerly=("boat",))))


def test_heirs_of_a_split_value_share_its_probability() -> None:
    assert heirs(NECKLINE.keys, BOATS) == [(0,), (2,), (1, 3)]
    assert translate(floats([0.2, 0.3, 0.5]), NECKLINE.keys, BOATS) == pytest.approx(floats([0.2, 0.25, 0.3, 0.25]))


def test_an_answer_that_was_split_names_all_heirs_and_is_undecided() -> None:
    answers = answer_today(BOATS, floats([0.2, 0.3, 0.5], [0.6, 0.3, 0.1]), NECKLINE.keys)
    assert answers.said.tolist() == [[False, True, False, True], [True, False, False, False]]
    assert answers.confidence == pytest.approx([0.5, 0.6])
    assert answers.undecided is not None
    assert answers.undecided.tolist() == [True, False]


def test_what_was_merged_and_retired_beside_a_split_is_still_added_up_and_left_out() -> None:
    today = SingleLabel((Value("a1", formerly=("a",)), Value("a2", formerly=("a",)), Value("bc", formerly=("b", "c"))))
    answers = answer_today(today, floats([0.3, 0.2, 0.2, 0.3], [0.0, 0.0, 0.0, 1.0]), ("a", "b", "c", "gone"))
    assert answers.said[0].tolist() == [False, False, True]
    assert answers.confidence == pytest.approx([0.4 / 0.7, 0.0])


def test_a_split_value_of_several_is_undecided_where_it_is_present() -> None:
    today = MultiLabel((Value("tie", formerly=("bow",)), Value("big_bow", formerly=("bow",)), "lace", "zip"))
    answers = answer_today(today, floats([0.9, 0.8, 0.1], [0.2, 0.8, 0.1]), DETAILS.keys)
    assert answers.said.tolist() == [[True, True, True, False], [False, False, True, False]]
    assert answers.undecided is not None
    assert answers.undecided.tolist() == [True, False]


def test_without_a_split_nothing_is_undecided() -> None:
    assert answer_today(NECKLINE, floats([0.2, 0.3, 0.5]), NECKLINE.keys).undecided is None


def test_translating_does_not_change_its_input() -> None:
    probabilities = floats([0.2, 0.5, 0.3])
    translate(probabilities, NECKLINE.keys, SingleLabel(("crew", "boat")))
    assert probabilities.tolist() == floats([0.2, 0.5, 0.3]).tolist()


@settings(deadline=None)
@given(
    st.lists(st.floats(0.01, 1), min_size=5, max_size=5),
    st.lists(st.integers(0, 3), min_size=5, max_size=5),
)
def test_translated_single_labels_sum_to_one_whatever_was_merged(weights: list[float], heirs: list[int]) -> None:
    keys = [f"old_{k}" for k in range(5)]
    values = tuple(
        Value(f"new_{c}", formerly=tuple(key for key, heir in zip(keys, heirs, strict=True) if heir == c))
        for c in range(3)
    )  # heir 3: retired
    own = floats([w / sum(weights) for w in weights])
    total = translate(own, keys, SingleLabel(values)).sum()
    assert total == pytest.approx(0.0 if set(heirs) == {3} else 1.0, abs=1e-5)
