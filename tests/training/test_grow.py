"""Growing a branch: donor, depths, calibration, scores, and that nothing else moves."""

import importlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attributree.errors import TrainingError
from attributree.heads import LinearHead, MultiscaleHead, PyramidHead, spatial_pyramid
from attributree.nn.tree import Branch
from attributree.nn.trunk import MAPS, PYRAMID
from attributree.schema import Labels, MultiLabel, Ordinal, SingleLabel
from attributree.settings.models import EXIT, BranchSettings
from attributree.training.checkpoint import Fit
from attributree.training.data import Samples
from attributree.training.donors import Donor, run_frozen
from attributree.training.fit import BranchTask
from attributree.training.gate import gate_new
from attributree.training.grow import Grown, grow
from attributree.training.linear import MOST_LAYERS

grow_module = importlib.import_module("attributree.training.grow")
Make = Callable[..., Samples]
MakeDonor = Callable[..., Donor]


def grown(samples: Samples, donors: list[Donor], recipe: BranchSettings, **changes: Any) -> Grown:
    outputs = samples.labels.attribute.labels.outputs
    return grow({MAPS: samples}, donors, lambda: LinearHead(8, outputs), recipe.model_copy(update=changes))


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def pretend(monkeypatch: pytest.MonkeyPatch, fit: Callable[..., Fit]) -> None:
    """Let `fit` stand in for what trains a branch: the loop, and what solves heads that are linear."""
    monkeypatch.setattr(grow_module, "run_loop", fit)
    monkeypatch.setattr(grow_module, "solve", fit)


# -- what is learnt --------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", ["head", "block", "stage"])
def test_a_separable_attribute_is_learnt_at_every_depth(
    depth: str, make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    longer = recipe.model_copy(update={"epochs": 25, "learning_rate": 0.2})
    branch = grown(make_samples(n=200, views=2), [make_donor()], longer, depth=depth)
    assert branch.depth == depth
    assert list(branch.depths) == [depth]
    assert branch.scores["val"].accuracy > 0.9
    assert branch.scores["test"].accuracy > 0.9
    assert branch.calibration.calibrated
    assert branch.scores["val"].n == branch.scores["test"].n == 40


@pytest.mark.parametrize(
    "labels",
    [Ordinal(("short", "long")), Ordinal(("mini", "knee", "midi", "maxi")), MultiLabel(("bow", "lace", "zip"))],
    ids=["two steps", "four steps", "multi"],
)
def test_every_kind_is_learnt(
    labels: Labels, make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    branch = grown(make_samples(labels, n=200), [make_donor()], recipe, depth="stage", learning_rate=0.2)
    assert branch.scores["val"].macro_f1 > 0.9
    assert gate_new(branch, recipe).promoted


def test_an_open_world_attribute_can_be_learnt_and_passes_its_gate(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples(MultiLabel(("bow", "lace", "zip", "frill"), closed_world=False), n=200)
    target = samples.labels.target
    target[np.arange(200), np.arange(200) % 4] = 1  # an image says at least one value
    target[:, 1:][np.random.default_rng(0).random((200, 3)) < 0.5] = 0
    target[target == 0] = math.nan
    some = np.flatnonzero(~np.isnan(target).all(axis=1))
    branch = grown(Samples(samples.inputs, samples.rows[some], samples.labels.take(some)), [make_donor()], recipe)
    assert branch.floor < branch.scores["val"].macro_f1
    assert gate_new(branch, recipe).promoted
    assert not branch.calibration.calibrated


def test_ambiguous_images_are_learnt_from_and_never_scored(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples(n=200)
    labels = samples.labels
    wrong = (labels.target.argmax(axis=1) + 1 + np.arange(200) % 2) % 3
    ambiguous = (labels.split == 0) | (np.arange(200) % 10 == 3)
    labels.target[ambiguous, wrong[ambiguous]] = 1
    only = replace(samples, labels=replace(labels, ambiguous=ambiguous))
    branch = grown(only, [make_donor(), make_donor("sleeve", 1)], recipe)
    assert branch.scores["val"].n == 20
    assert branch.scores["val"].accuracy > 0.9
    assert branch.donor == "backbone"
    assert branch.probe == {}


# -- determinism -----------------------------------------------------------------------------------


def test_the_same_seed_and_data_give_equal_weights(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    def once(seed: int) -> Grown:
        return grown(
            make_samples(views=2), [make_donor(), make_donor("sleeve", 1)], recipe, seed=seed, epochs=3, depth="stage"
        )

    first = once(0)
    torch.randn(17)  # how often generators were used before must not matter
    np.random.default_rng().random(3)
    second, other = once(0), once(1)
    assert equal(weights(first.branch), weights(second.branch))
    assert (first.depth, first.donor, first.probe, first.calibration) == (
        second.depth,
        second.donor,
        second.probe,
        second.calibration,
    )
    assert not equal(weights(first.branch), weights(other.branch))


def test_donors_are_not_changed(make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings) -> None:
    donors = [make_donor(), make_donor("sleeve", 1)]
    before = [weights(nn.ModuleDict(dict(donor.units))) for donor in donors]
    grown(make_samples(), donors, recipe)
    assert all(equal(old, weights(nn.ModuleDict(dict(donor.units)))) for old, donor in zip(before, donors, strict=True))


# -- depth -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("depth", "shared"), [("head", 2), ("block", 1), ("stage", 0)])
def test_units_below_the_depth_stay_the_donor_s_bit_by_bit(
    depth: str, shared: int, make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    donor = make_donor()
    branch = grown(make_samples(), [donor], recipe, depth=depth).branch
    same = [
        equal(weights(mine), weights(theirs))
        for mine, theirs in zip(branch.units.values(), donor.units.values(), strict=True)
    ]
    assert same == [True] * shared + [False] * (2 - shared)
    assert branch.frozen == shared
    assert not branch.training


@pytest.mark.parametrize(
    ("scores", "chosen"),
    [
        ({"head": 0.90, "block": 0.95, "stage": 0.99}, "stage"),
        ({"head": 0.90, "block": 0.981, "stage": 0.99}, "block"),
        ({"head": 0.985, "block": 0.981, "stage": 0.99}, "head"),
        ({"head": 0.98, "block": 0.90, "stage": 0.80}, "head"),
        ({"head": 0.99}, "head"),
        ({"head": 0.90, "block": 0.995}, "block"),
    ],
)
def test_auto_picks_the_cheapest_depth_within_one_point_of_the_best_there_can_be(
    scores: dict[str, float],
    chosen: str,
    make_samples: Make,
    make_donor: MakeDonor,
    recipe: BranchSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter(scores.values())
    pretend(monkeypatch, lambda *_, **__: Fit(1, 1, next(left), 0.1))
    branch = grown(make_samples(), [make_donor()], recipe)
    assert branch.depth == chosen
    assert {depth: fitted.score for depth, fitted in branch.depths.items()} == scores
    assert branch.branch.frozen == {"head": 2, "block": 1, "stage": 0}[chosen]


def test_auto_tries_the_stage_even_if_the_last_block_gained_nothing(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On drawn garments a stage gained eight points of macro-F1 where the block alone had gained none."""
    fits = iter([Fit(5, 4, 0.7, 0.1), Fit(3, 0, 0.7, 0.1), Fit(3, 2, 0.9, 0.1)])
    pretend(monkeypatch, lambda *_, **__: next(fits))
    branch = grown(make_samples(), [make_donor()], recipe)
    assert list(branch.depths) == ["head", "block", "stage"]
    assert branch.depth == "stage"


def test_each_depth_starts_from_the_probed_head_and_changes_no_other_candidate(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[float] = []

    def fit(trained: BranchTask | LinearHead, *_: object, **__: object) -> Fit:
        head: Any = trained.module.head if isinstance(trained, BranchTask) else trained
        bias = head.linear.bias
        starts.append(bias[0].item())
        nn.init.constant_(bias, float(len(starts)))
        return Fit(1, 1, 0.9, 0.1)

    pretend(monkeypatch, fit)
    branch = grown(make_samples(), [make_donor()], recipe)
    assert starts[1:] == [1.0, 1.0]
    assert branch.depth == "head"
    assert branch.branch.head.linear.bias.tolist() == [1.0, 1.0, 1.0]


def test_a_stage_of_one_unit_is_not_measured_twice(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda *_, **__: Fit(1, 1, 0.5, 0.1))
    assert list(grown(make_samples(), [make_donor(count=1)], recipe, epochs=1).depths) == ["head", "stage"]
    assert list(grown(make_samples(), [make_donor(count=1)], recipe, epochs=1, depth="block").depths) == ["block"]


def test_cached_and_whole_branches_agree(make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings) -> None:
    """The frozen units' output is cached in float16; the branch that is served computes it anew."""
    samples = make_samples(views=2)
    branch = Branch(make_donor().units, LinearHead(8, 3), frozen=1).eval()
    parts = [samples.part("train"), samples.part("val")]
    below = [run_frozen({"layer4_0": branch.frozen_units()[0]}, part, torch.device("cpu")) for part in parts]
    upper = grow_module._Upper(branch).eval()
    for part, cached in zip(parts, below, strict=True):
        for view in (0, 1):
            index = np.arange(len(part))
            whole = branch(torch.from_numpy(part._gather(index, np.full(len(part), view))))
            halves = upper(torch.from_numpy(cached._gather(index, np.full(len(part), view))))
            assert torch.allclose(whole, halves, atol=0.01)
        assert np.array_equal(cached.labels.target, part.labels.target)


# -- exits -----------------------------------------------------------------------------------------


def exit_head() -> nn.Module:
    return MultiscaleHead(8, 3, grids=(1, 3), dropout=0.5)


def make_pyramid(samples: Samples) -> Samples:
    """The same images as a trunk's pyramid of one stage has them."""
    return run_frozen({}, samples, torch.device("cpu"), lambda maps: spatial_pyramid(maps, ((1, 1), (2, 2))))


def test_an_exit_may_read_the_pyramid_and_needs_no_maps_then(make_samples: Make, recipe: BranchSettings) -> None:
    exits = recipe.model_copy(update={"depth": EXIT, "epochs": 25})
    pyramid = make_pyramid(make_samples(n=200, views=2))

    def head() -> nn.Module:
        return PyramidHead(pyramid.inputs[0].shape[1], 3)

    branch = grow({PYRAMID: pyramid}, [], head, exits, new_exit=head)
    assert (branch.depth, branch.branch.reads) == (EXIT, PYRAMID)
    assert branch.scores["test"].accuracy > 0.9


def test_an_exit_on_the_pyramid_is_measured_beside_what_is_deeper(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow_module, "_is_enough", lambda _: False)
    maps, short = make_samples(), recipe.model_copy(update={"epochs": 2})
    pyramid = make_pyramid(maps)

    def exit_on_it() -> nn.Module:
        return PyramidHead(pyramid.inputs[0].shape[1], 3)

    both = {MAPS: maps, PYRAMID: pyramid}
    branch = grow(both, [make_donor()], lambda: LinearHead(8, 3), short, new_exit=exit_on_it)
    without = grow({MAPS: maps}, [make_donor()], lambda: LinearHead(8, 3), short)
    assert {depth: fitted for depth, fitted in branch.depths.items() if depth != EXIT} == without.depths
    assert branch.scores["val"].n == without.scores["val"].n


@pytest.mark.parametrize("head", [exit_head, lambda: LinearHead(8, 3)], ids=["multiscale", "linear"])
def test_an_exit_is_learnt_from_the_trunk_s_features_without_any_donor(
    head: Callable[[], nn.Module], make_samples: Make, recipe: BranchSettings
) -> None:
    exits = recipe.model_copy(update={"depth": EXIT, "epochs": 25})
    branch = grow({MAPS: make_samples(n=200, views=2)}, [], head, exits, new_exit=head)
    assert (branch.depth, branch.donor, branch.probe, list(branch.depths)) == (EXIT, None, {}, [EXIT])
    assert not branch.branch.units
    assert len(branch.branch.parts()) == 1
    assert branch.scores["test"].accuracy > 0.9


def test_nothing_deeper_is_probed_or_tried_where_an_exit_is_as_good_as_can_be(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda *_, **__: Fit(1, 1, 0.99, 0.1))
    monkeypatch.setattr(grow_module, "choose_donor", lambda *_: pytest.fail("a donor was looked for"))
    branch = grow({MAPS: make_samples()}, [make_donor()], lambda: LinearHead(8, 3), recipe, new_exit=exit_head)
    assert list(branch.depths) == [EXIT]


@pytest.mark.parametrize(("exit_score", "chosen"), [(0.891, EXIT), (0.889, "head")])
def test_an_exit_is_taken_within_one_point_of_the_best(
    exit_score: float,
    chosen: str,
    make_samples: Make,
    make_donor: MakeDonor,
    recipe: BranchSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = iter([exit_score, 0.9, 0.9, 0.9])
    pretend(monkeypatch, lambda *_, **__: Fit(1, 1, next(left), 0.1))
    branch = grow({MAPS: make_samples()}, [make_donor()], lambda: LinearHead(8, 3), recipe, new_exit=exit_head)
    assert list(branch.depths) == [EXIT, "head", "block", "stage"]
    assert (branch.depth, branch.donor) == (chosen, None if chosen == EXIT else "backbone")


def test_an_exit_changes_nothing_of_what_deeper_depths_come_to(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow_module, "_is_enough", lambda _: False)
    short = recipe.model_copy(update={"epochs": 2})
    without = grow({MAPS: make_samples()}, [make_donor()], lambda: LinearHead(8, 3), short)
    beside = grow({MAPS: make_samples()}, [make_donor()], lambda: LinearHead(8, 3), short, new_exit=exit_head)
    again = grow({MAPS: make_samples()}, [make_donor()], lambda: LinearHead(8, 3), short, new_exit=exit_head)
    assert {depth: fitted for depth, fitted in beside.depths.items() if depth != EXIT} == without.depths
    assert beside.depths == again.depths
    assert equal(weights(beside.branch), weights(again.branch))


def test_an_exit_without_a_head_for_it_and_a_depth_without_a_donor_are_errors(
    make_samples: Make, recipe: BranchSettings
) -> None:
    with pytest.raises(TrainingError, match='neckline: depth = "exit" needs a head for the trunk'):
        grown(make_samples(), [], recipe, depth=EXIT)
    stage = recipe.model_copy(update={"depth": "stage"})
    with pytest.raises(TrainingError, match="no branch and no pretrained stage to start from"):
        grow({MAPS: make_samples()}, [], lambda: LinearHead(8, 3), stage, new_exit=exit_head)


# -- donors and reports ----------------------------------------------------------------------------


def test_the_report_says_which_donor_and_why(make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings) -> None:
    blank = {"layer4_0": nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8))}
    nn.init.zeros_(blank["layer4_0"][0].weight)
    branch = grown(make_samples(), [Donor("backbone", blank), make_donor("sleeve")], recipe, epochs=2)
    assert branch.donor == "sleeve"
    assert branch.probe["sleeve"] > branch.probe["backbone"]


def test_progress_names_each_depth_and_epoch(make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings) -> None:
    seen: list[tuple[str, int, int]] = []
    short = recipe.model_copy(update={"epochs": 2})
    deep = short.model_copy(update={"depth": "stage"})
    grow(
        {MAPS: make_samples()}, [make_donor()], lambda: LinearHead(8, 3), deep, progress=lambda *args: seen.append(args)
    )
    solved = [done for depth, done, of in seen if depth == "head" and of == MOST_LAYERS]
    assert solved == list(range(1, len(solved) + 1))
    assert [args for args in seen[len(solved) :] if args[1]] == [("stage", epoch, 2) for epoch in (1, 2)]


def test_under_the_needed_labels_a_branch_is_uncalibrated(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    branch = grown(make_samples(), [make_donor()], recipe, depth="head", min_calibration_labels=101)
    assert (branch.calibration.temperature, branch.calibration.cut, branch.calibration.calibrated) == (1.0, None, False)
    assert branch.scores["val"].coverage == 0.0


# -- edges -----------------------------------------------------------------------------------------


def test_a_value_without_a_label_is_no_obstacle(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    branch = grown(make_samples(classes=2), [make_donor(), make_donor("sleeve", 1)], recipe)
    assert set(branch.scores["val"].per_value) == {"crew", "v_neck"}
    assert branch.scores["val"].accuracy > 0.9


def test_one_value_in_validation_is_trained_and_its_gate_says_that_nothing_was_shown(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples(n=200)
    keep = np.flatnonzero((samples.labels.split == 0) | (samples.labels.target[:, 0] > 0))
    most = samples.labels.target[:, 0] > 0  # and it is the commonest in training
    keep = keep[most[keep] | (keep % 2 == 0)]
    branch = grown(Samples(samples.inputs, samples.rows[keep], samples.labels.take(keep)), [make_donor()], recipe)
    assert branch.floor == 1.0
    assert not gate_new(branch, recipe).promoted


def test_without_a_test_split_there_is_no_test_score(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples()
    keep = np.flatnonzero(samples.labels.split != 2)
    branch = grown(Samples(samples.inputs, samples.rows[keep], samples.labels.take(keep)), [make_donor()], recipe)
    assert set(branch.scores) == {"val"}


@pytest.mark.parametrize("lacking", ["train", "val", "unambiguous val"])
def test_nothing_to_train_or_to_validate_on_is_an_error(
    lacking: str, make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples()
    labels = samples.labels
    if lacking == "unambiguous val":
        samples = replace(samples, labels=replace(labels, ambiguous=labels.split == 1))
    else:
        keep = np.flatnonzero(labels.split != ("train", "val").index(lacking))
        samples = Samples(samples.inputs, samples.rows[keep], labels.take(keep))
    with pytest.raises(TrainingError, match=r"neckline: \d+ images to train on and \d+ unambiguous ones to validate"):
        grown(samples, [make_donor()], recipe)


def test_two_training_images_and_one_to_validate_are_enough(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples(SingleLabel(("crew", "v_neck")), n=5)
    samples.labels.target[:2] = np.eye(2)
    keep = np.array([0, 1, 3])
    branch = grown(Samples(samples.inputs, samples.rows[keep], samples.labels.take(keep)), [make_donor()], recipe)
    assert branch.scores["val"].n == 1


def test_labels_that_all_say_the_same_are_an_error_that_says_what_to_do(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples()
    samples.labels.target[samples.labels.split == 0] = (1, 0, 0)
    with pytest.raises(TrainingError, match="neckline: every label in the train split says the same; label images"):
        grown(samples, [make_donor()], recipe)


def test_a_value_that_only_the_test_split_knows_is_scored_as_missed(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    samples = make_samples(classes=2)
    samples.labels.target[samples.labels.split == 2] = (0, 0, 1)
    branch = grown(samples, [make_donor()], recipe)
    assert branch.scores["test"].accuracy < 0.2
    assert branch.scores["val"].accuracy > 0.9
