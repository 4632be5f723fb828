"""Label sets: the supervision of one attribute as arrays."""

import math
from dataclasses import replace

import numpy as np
import pytest

from attributree.label_set import LabelSet
from attributree.schema import Attribute, Labels, MultiLabel, SingleLabel

NECKLINE = SingleLabel(("crew", "v_neck", "boat"))


def label_set(target: list[list[float]], ambiguous: list[bool], labels: Labels = NECKLINE) -> LabelSet:
    n = len(target)
    return LabelSet(
        Attribute("neckline", labels),
        7,
        np.arange(10, 10 + n),
        (np.arange(n) % 3).astype(np.int8),
        np.array(target, dtype=np.float32).reshape(n, labels.size),
        np.array(ambiguous, dtype=np.bool_),
        np.ones(n, dtype=np.float32),
    )


@pytest.fixture
def labels() -> LabelSet:
    return label_set(
        [[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0], [0, 1, 0]], [False, False, True, True, False, False]
    )


def test_a_part_holds_the_images_of_its_split(labels: LabelSet) -> None:
    assert labels.part("train").image_ids.tolist() == [10, 13]
    assert labels.part("val").image_ids.tolist() == [11, 14]
    assert labels.part("test").image_ids.tolist() == [12, 15]


def test_ambiguous_images_can_be_left_out_of_a_part(labels: LabelSet) -> None:
    train = labels.part("train", labelled_only=True)
    assert train.image_ids.tolist() == [10]
    assert not train.ambiguous.any()
    assert labels.part("test", labelled_only=True).image_ids.tolist() == [15]


def test_a_part_knows_the_products_of_its_images(labels: LabelSet) -> None:
    assert labels.part("val").product_ids is None
    told = replace(labels, product_ids=np.array([1, 1, 2, 2, 3, 3])).part("val").product_ids
    assert told is not None
    assert told.tolist() == [1, 3]


def test_a_part_without_images_keeps_its_width(labels: LabelSet) -> None:
    empty = labels.take(np.array([0])).part("val")
    assert len(empty) == 0
    assert empty.target.shape == (0, 3)
    assert empty.counts() == {"crew": 0, "v_neck": 0, "boat": 0}


def test_rows_are_taken_by_index_or_by_mask_in_all_arrays(labels: LabelSet) -> None:
    by_index = labels.take(np.array([3, 1]))
    assert by_index.image_ids.tolist() == [13, 11]
    assert by_index.target.tolist() == [[0, 1, 1], [0, 1, 0]]
    assert by_index.ambiguous.tolist() == [True, False]
    assert by_index.revision == labels.revision
    assert labels.take(labels.image_ids > 13).image_ids.tolist() == [14, 15]


def test_counts_leave_ambiguous_images_out(labels: LabelSet) -> None:
    assert labels.counts() == {"crew": 2, "v_neck": 2, "boat": 0}


def test_counts_take_unknown_values_for_nothing() -> None:
    tags = MultiLabel(("bow", "lace"), closed_world=False)
    assert label_set([[1, math.nan], [math.nan, 1], [1, 1]], [False] * 3, tags).counts() == {"bow": 2, "lace": 2}


# -- fingerprints ----------------------------------------------------------------------------------


def test_equal_label_sets_have_equal_fingerprints_whatever_the_revision(labels: LabelSet) -> None:
    assert labels.take(np.arange(6)).fingerprint == labels.fingerprint
    assert replace(labels, revision=8).fingerprint == labels.fingerprint


@pytest.mark.parametrize("field", ["image_ids", "split", "target", "ambiguous", "weight"])
def test_any_change_of_what_is_trained_on_changes_the_fingerprint(field: str, labels: LabelSet) -> None:
    changed = getattr(labels, field).copy()
    changed[0] = not changed[0] if field == "ambiguous" else changed[0] + 1
    assert replace(labels, **{field: changed}).fingerprint != labels.fingerprint


def test_another_schema_has_another_fingerprint(labels: LabelSet) -> None:
    other = Attribute("neckline", SingleLabel(("crew", "v_neck", "halter")))
    assert replace(labels, attribute=other).fingerprint != labels.fingerprint


def test_unknown_and_absent_have_different_fingerprints() -> None:
    tags = MultiLabel(("bow", "lace"))
    unknown, absent = ([[1, math.nan]], [[1, 0]])
    assert label_set(unknown, [False], tags).fingerprint != label_set(absent, [False], tags).fingerprint
    assert label_set(unknown, [False], tags).fingerprint == label_set(unknown, [False], tags).fingerprint


def test_none_of_them_counts_as_an_answer_of_its_own() -> None:
    tags = MultiLabel(("bow", "lace"))
    assert label_set([[1, 0], [1, 0]], [False] * 2, tags).different() == 1
    assert label_set([[1, 0], [0, 0]], [False] * 2, tags).different() == 2
    assert label_set([[0, 0], [0, 0]], [False] * 2, tags).different() == 1
    assert label_set([[1, math.nan], [math.nan, 1]], [False] * 2, tags).different() == 2
