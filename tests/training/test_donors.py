"""Whose weights a new branch starts from."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attributree.errors import TrainingError
from attributree.schema import MultiLabel, Ordinal, SingleLabel
from attributree.training.data import Samples
from attributree.training.donors import Donor, choose_donor, pooled_features, probe

TOPS = partial(pooled_features, device=torch.device("cpu"))
Make = Callable[..., Samples]


class Blank(nn.Module):
    """A unit whose features say nothing."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.ones_like(features)


def choose(donors: list[Donor], samples: Samples) -> tuple[str, dict[str, float]]:
    train, val = samples.part("train", labelled_only=True), samples.part("val", labelled_only=True)
    chosen = choose_donor(donors, train, val, TOPS, seed=0)
    return chosen.donor.name, chosen.scores


def test_the_donor_whose_features_separate_the_values_is_chosen(
    make_samples: Make, make_donor: Callable[..., Donor]
) -> None:
    donors = [Donor("backbone", {"layer4_0": Blank()}), make_donor("sleeve")]
    name, scores = choose(donors, make_samples())
    assert name == "sleeve"
    assert scores["sleeve"] > 0.9 > scores["backbone"]


def test_the_earlier_donor_wins_a_tie(make_samples: Make, make_donor: Callable[..., Donor]) -> None:
    donors = [make_donor("sleeve"), make_donor("backbone"), make_donor("fit")]
    name, scores = choose(donors, make_samples())
    assert scores == dict.fromkeys(("sleeve", "backbone", "fit"), scores["sleeve"])
    assert name == "sleeve"


def test_donors_of_equal_content_are_probed_once(make_samples: Make, make_donor: Callable[..., Donor]) -> None:
    same = [replace(make_donor(name), digests=("a", "b")) for name in ("backbone", "sleeve")]
    assert choose(same, make_samples()) == ("backbone", {})
    _, scores = choose([*same, replace(make_donor("fit", 1), digests=("a", "c"))], make_samples())
    assert set(scores) == {"backbone", "fit"}


def test_the_only_donor_needs_no_probe(make_samples: Make, make_donor: Callable[..., Donor]) -> None:
    assert choose([make_donor()], make_samples()) == ("backbone", {})


def test_without_a_donor_there_is_nothing_to_start_from(make_samples: Make) -> None:
    with pytest.raises(TrainingError, match="no branch and no pretrained stage"):
        choose([], make_samples())


def test_without_an_unambiguous_image_the_first_donor_is_taken(
    make_samples: Make, make_donor: Callable[..., Donor]
) -> None:
    samples = make_samples()
    ambiguous = replace(samples.labels, ambiguous=samples.labels.split == 0)
    all_ambiguous = replace(samples, labels=ambiguous)
    assert choose([make_donor("backbone"), make_donor("sleeve", 1)], all_ambiguous) == ("backbone", {})


def test_values_that_training_lacks_are_no_obstacle(make_samples: Make, make_donor: Callable[..., Donor]) -> None:
    donors = [make_donor("backbone"), make_donor("sleeve", 1)]
    _, two_of_three = choose(donors, make_samples(classes=2))
    assert all(f1 > 0.7 for f1 in two_of_three.values())
    name, one = choose(donors, make_samples(classes=1))
    assert (name, one) == ("backbone", {"backbone": 1.0, "sleeve": 1.0})


@pytest.mark.parametrize(
    "labels",
    [Ordinal(("short", "long")), MultiLabel(("bow", "lace", "zip")), SingleLabel(("crew", "v_neck"))],
    ids=lambda labels: labels.kind,
)
def test_a_probe_reads_every_kind_of_label(
    labels: SingleLabel, make_samples: Make, make_donor: Callable[..., Donor]
) -> None:
    samples = make_samples(labels)
    assert probe(make_donor(), samples.part("train"), samples.part("val"), TOPS) > 0.8


def test_values_that_always_or_never_hold_need_no_regression(
    make_samples: Make, make_donor: Callable[..., Donor]
) -> None:
    samples = make_samples(MultiLabel(("bow", "lace", "zip"), closed_world=False))
    samples.labels.target[:, 0] = 1
    samples.labels.target[:, 2] = math.nan
    assert probe(make_donor(), samples.part("train"), samples.part("val"), TOPS) > 0.8


def test_pooled_features_are_averages_over_the_map_in_order(
    make_samples: Make, make_donor: Callable[..., Donor]
) -> None:
    samples, donor = make_samples(n=150, views=2), make_donor()
    top = torch.from_numpy(samples.inputs[0]).float()
    with torch.no_grad():
        for unit in donor.units.values():
            top = unit.eval()(top)
    pooled = TOPS(donor, samples)
    assert len(pooled.inputs) == 2
    assert np.allclose(pooled.inputs[0][pooled.rows[:, 0], :, 0, 0], top.mean(dim=(2, 3)).numpy(), atol=0.01)
