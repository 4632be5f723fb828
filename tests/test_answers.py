"""From probabilities to answers in today's words."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attributree.answers import Floats, answer, answer_today, contradiction, heirs, pool, shown_by, translate
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


# -- several pictures of a product -----------------------------------------------------------------

ROWS = st.lists(st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3), min_size=1, max_size=6)


def share(rows: list[list[float]]) -> Floats:
    given_rows = np.array(rows)
    return (given_rows / given_rows.sum(axis=1, keepdims=True)).astype(np.float32)


def test_a_single_picture_answers_for_its_product_as_it_is() -> None:
    rows = share([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.2, 0.6]])
    pooled = pool(NECKLINE, rows, np.array([0, 1, 1]))
    assert pooled[0].tolist() == rows[0].tolist()
    details = floats([0.9, 0.1, 0.3])
    assert pool(DETAILS, details, np.array([0])).tolist() == details.tolist()


@given(ROWS, st.permutations(range(6)))
def test_the_order_of_pictures_does_not_matter(rows: list[list[float]], order: list[int]) -> None:
    order = [i for i in order if i < len(rows)]
    one = np.zeros(len(rows), dtype=np.int64)
    for labels, probabilities in ((NECKLINE, share(rows)), (DETAILS, np.array(rows, dtype=np.float32))):
        pooled = pool(labels, probabilities, one)
        assert pool(labels, probabilities[order], one) == pytest.approx(pooled, abs=1e-5)
        assert ((pooled >= 0) & (pooled <= 1)).all()
    assert pool(NECKLINE, share(rows), one).sum() == pytest.approx(1, abs=1e-5)


def test_pictures_that_agree_are_surer_than_each_and_a_product_does_not_change_another() -> None:
    rows = share([[0.7, 0.2, 0.1]] * 3 + [[0.1, 0.8, 0.1], [0.1, 0.7, 0.2]])
    pooled = pool(NECKLINE, rows, np.array([0, 0, 0, 1, 1]))
    assert pooled[0, 0] > 0.7
    assert pooled[1, 1] > 0.8
    assert pooled[0] == pytest.approx(pool(NECKLINE, rows[:3], np.zeros(3, dtype=np.int64))[0])


def test_a_picture_that_does_not_show_it_hardly_speaks() -> None:
    sure, blind = [0.96, 0.02, 0.02], [0.32, 0.36, 0.32]
    pooled = pool(NECKLINE, share([sure, blind, blind, blind]), np.zeros(4, dtype=np.int64))
    assert pooled[0, 0] > 0.9
    assert share([sure, blind, blind, blind]).mean(axis=0)[0] < 0.5  # what the mean would say


def test_a_value_that_one_picture_shows_and_the_others_lack_is_neither_sure_nor_lost() -> None:
    pooled = pool(DETAILS, floats([0.99, 0.02, 0.5], [0.05, 0.02, 0.5]), np.zeros(2, dtype=np.int64))[0]
    assert 0.5 <= pooled[0] < 0.95
    assert pooled[1] == pytest.approx(0.02, abs=0.001)
    assert pooled[2] == pytest.approx(0.5)


def simulated(rng: np.random.Generator, alike: float, blind: float) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Return calibrated probabilities (4N, 6) of four pictures a product, the products (4N,) and their values (N,).

    `alike` is the share of a picture's noise that all pictures of its product have, `blind` the share of pictures that
    do not show the value.
    """
    n, size, signal, prior = 4000, 6, 2.2, np.array([0.4, 0.2, 0.15, 0.1, 0.1, 0.05])
    value = rng.choice(size, n, p=prior)
    noise = alike**0.5 * rng.normal(size=(n, 1, size)) + (1 - alike) ** 0.5 * rng.normal(size=(n, 4, size))
    seen = (rng.random((n, 4, 1)) >= blind) * signal * np.eye(size)[value][:, None, :] + noise
    likelihood = (1 - blind) * np.exp(signal * seen - signal**2 / 2) + blind
    posterior = prior * likelihood
    posterior /= posterior.sum(axis=2, keepdims=True)
    return posterior.reshape(-1, size).astype(np.float32), np.repeat(np.arange(n), 4), value


@pytest.mark.parametrize(("alike", "blind"), [(0.0, 0.0), (0.3, 0.3), (0.6, 0.0), (0.6, 0.3)])
def test_pooled_answers_are_better_than_the_mean_and_keep_the_precision_of_the_cut(alike: float, blind: float) -> None:
    rows, product, value = simulated(np.random.default_rng(0), alike, blind)
    labels = SingleLabel(tuple("abcdef"))
    single = answer(labels, rows)
    order = np.argsort(-single.confidence)
    right = rows.argmax(axis=1) == value[product]
    precision = right[order].cumsum() / np.arange(1, len(rows) + 1)
    cut = single.confidence[order][np.flatnonzero(precision >= 0.95)[-1]]
    pooled, mean = pool(labels, rows, product), rows.reshape(-1, 4, 6).mean(axis=1)

    def scores(probabilities: Floats) -> tuple[float, float, float]:
        good, sure = probabilities.argmax(axis=1) == value, probabilities.max(axis=1) >= cut
        return good.mean(), sure.mean(), good[sure].mean()

    accuracy, coverage, accepted = scores(pooled)
    assert accuracy > right.mean() + 0.05
    assert accuracy > scores(mean)[0] - 0.005
    assert coverage > max(scores(mean)[1], (single.confidence >= cut).mean()) + 0.1
    assert accepted >= 0.945


def test_the_picture_that_shows_an_answer_is_the_surest_of_it() -> None:
    rows = floats([0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1])
    assert shown_by(NECKLINE, np.array([False, True, False]), rows) == 2
    assert shown_by(NECKLINE, np.array([True, False, True]), rows) == 0  # a value that was split: both heirs
    assert shown_by(DETAILS, np.array([True, True, False]), floats([0.9, 0.2, 0.1], [0.8, 0.7, 0.1])) == 1


def test_two_pictures_that_are_sure_of_different_answers_contradict_each_other() -> None:
    answers = answer(NECKLINE, floats([0.92, 0.04, 0.04], [0.03, 0.95, 0.02], [0.05, 0.91, 0.04], [0.2, 0.2, 0.6]))
    crew, v_neck, boat = np.eye(3, dtype=np.bool_)
    assert contradiction(answers, 0.9, v_neck) == (1, 0)
    assert contradiction(answers, 0.9, crew) == (0, 1)  # what shows the product's answer comes first
    assert contradiction(answers, 0.9, boat) == (1, 0)
    assert contradiction(answers, 0.94, v_neck) is None  # only one is sure
    assert contradiction(answers, None, v_neck) is None  # nothing can be
    agreed = answer(NECKLINE, floats([0.92, 0.04, 0.04], [0.99, 0.005, 0.005]))
    assert contradiction(agreed, 0.9, crew) is None
