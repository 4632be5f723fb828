"""Growing a branch: donor, depths, calibration, scores, and that nothing else moves."""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attributree.errors import TrainingError
from attributree.heads import LinearHead, MultiscaleHead, PyramidHead, spatial_pyramid
from attributree.nn.tree import Branch
from attributree.nn.trunk import MAPS, PIXELS, PYRAMID, Reads, Trunk
from attributree.schema import Labels, MultiLabel, Ordinal, SingleLabel
from attributree.settings.models import EXIT, NETWORK, BranchSettings
from attributree.training.checkpoint import Checkpoints, Fit
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


def pretend(monkeypatch: pytest.MonkeyPatch, scores: Mapping[str, float]) -> list[str]:
    """Let each phase of a growth come to its score without any training; return the phases, as they come."""
    seen: list[str] = []

    def fit(*_: object, phase: str = "", **__: object) -> Fit:
        solved = [depth for depth in (EXIT, "head") if depth in scores and depth not in seen]
        seen.append(phase or solved[0])
        return Fit(1, 1, scores[seen[-1]], 0.1)

    monkeypatch.setattr(grow_module, "run_loop", fit)
    monkeypatch.setattr(grow_module, "solve", fit)
    return seen


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
        ({"head": 0.90, "stage trial": 0.9, "stage": 0.99, "block trial": 0.95, "block": 0.95}, "stage"),
        ({"head": 0.90, "stage trial": 0.9, "stage": 0.99, "block trial": 0.95, "block": 0.981}, "block"),
        ({"head": 0.985, "stage trial": 0.95, "stage": 0.99}, "head"),
        ({"head": 0.98, "stage trial": 0.94, "stage": 0.80}, "head"),
        ({"head": 0.98, "stage trial": 0.92}, "head"),
        ({"head": 0.90, "stage trial": 0.9, "stage": 0.95, "block trial": 0.89}, "stage"),
        ({"head": 0.99}, "head"),
    ],
)
def test_auto_goes_down_from_the_dearest_depth_while_it_gains_and_takes_the_cheapest_within_a_point(
    scores: dict[str, float],
    chosen: str,
    make_samples: Make,
    make_donor: MakeDonor,
    recipe: BranchSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    phases = pretend(monkeypatch, scores)
    branch = grown(make_samples(), [make_donor()], recipe)
    assert phases == list(scores)
    assert branch.depth == chosen
    assert {depth: fitted.score for depth, fitted in branch.depths.items()} == {
        depth: score for depth, score in scores.items() if "trial" not in depth
    }
    assert branch.branch.frozen == {"head": 2, "block": 1, "stage": 0}[chosen]


def test_auto_says_what_it_left_out_after_a_trial_and_what_its_budget_forbids(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, {"head": 0.9, "stage trial": 0.849})
    tried = grown(make_samples(), [make_donor()], recipe)
    assert tried.left_out == {"stage": "scored 0.849 after 2 epochs, others 0.900"}
    phases = pretend(monkeypatch, {"head": 0.9})
    monkeypatch.setattr(grow_module, "seconds_of_step", lambda *_: 10.0)  # 4 steps an epoch, 8 epochs
    frugal = grown(make_samples(), [make_donor()], recipe)
    why = "would take some 5.3 minutes, training -> budget_minutes is 5"
    assert (phases, frugal.left_out) == (["head"], {"stage": why, "block": why})
    assert frugal.depth == "head"


def test_what_the_budget_allows_is_tried_where_something_dearer_is_forbidden(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = pretend(monkeypatch, {"head": 0.8, "block trial": 0.8, "block": 0.9})
    parts = {2: 100.0, 1: 1.0}  # seconds a step, by how many units are trained
    monkeypatch.setattr(grow_module, "seconds_of_step", lambda task, _: parts[len(task.module.units)])
    branch = grown(make_samples(), [make_donor()], recipe)
    assert phases == ["head", "block trial", "block"]
    assert (branch.depth, list(branch.left_out)) == ("block", ["stage"])


def test_each_depth_starts_from_the_probed_head_and_changes_no_other_candidate(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: dict[str, float] = {}
    scores = iter([0.9, 0.9, 0.92, 0.9, 0.92])

    def fit(trained: BranchTask | LinearHead, *_: object, phase: str = "head", **__: object) -> Fit:
        head: Any = trained.module.head if isinstance(trained, BranchTask) else trained
        bias = head.linear.bias
        starts[phase] = bias[0].item()
        nn.init.constant_(bias, float(len(starts)))
        return Fit(1, 1, next(scores), 0.1)

    monkeypatch.setattr(grow_module, "run_loop", fit)
    monkeypatch.setattr(grow_module, "solve", fit)
    branch = grown(make_samples(), [make_donor()], recipe)
    del starts["head"]
    assert starts == {"stage trial": 1.0, "stage": 2.0, "block trial": 1.0, "block": 4.0}  # a trial is gone on with
    assert branch.depth == "block"
    assert branch.branch.head.linear.bias.tolist() == [5.0, 5.0, 5.0]


def test_a_stage_of_one_unit_is_not_measured_twice(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    phases = pretend(monkeypatch, {"head": 0.5, "stage trial": 0.6, "stage": 0.7})
    assert list(grown(make_samples(), [make_donor(count=1)], recipe, epochs=1).depths) == ["head", "stage"]
    assert phases == ["head", "stage trial", "stage"]
    pretend(monkeypatch, {"head": 0.5, "block": 0.6})
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


# -- networks --------------------------------------------------------------------------------------


def make_pictures(samples: Samples) -> tuple[Trunk, dict[Reads, Samples]]:
    """A trunk that sees nothing, its features of pictures whose colour says the value, and the pictures."""
    torch.manual_seed(0)
    trunk = Trunk({"stem": nn.Conv2d(3, 8, 3, stride=4, padding=1)}, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), ["stem"]).eval()
    nn.init.zeros_(trunk.units[0].weight)  # type: ignore[arg-type]
    noise = np.random.default_rng(0).integers(0, 120, (len(samples), 16, 16, 3), dtype=np.uint8)
    pictures = noise + 120 * samples.labels.target.astype(np.uint8)[:, None, None, :]
    pixels = Samples((pictures,), np.arange(len(samples))[:, None], samples.labels)
    maps = pixels.through(lambda photos: trunk.features(photos, (MAPS,))[MAPS], torch.device("cpu"), 64)
    return trunk, {MAPS: maps, PIXELS: pixels}


def test_auto_takes_a_network_of_its_own_where_frozen_features_show_nothing(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    trunk, samples = make_pictures(make_samples(n=200))
    before = weights(trunk)
    branch = grow(samples, [make_donor()], lambda: LinearHead(8, 3), recipe, trunk=trunk)
    assert branch.depth == NETWORK
    assert branch.depths["head"].score < 0.6
    assert branch.scores["test"].accuracy > 0.9
    assert branch.branch.reads == PIXELS
    assert equal(weights(trunk), before)
    assert not branch.branch.training


def test_a_network_is_trained_if_it_is_asked_for_whatever_the_budget(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    trunk, samples = make_pictures(make_samples())
    asked = recipe.model_copy(update={"depth": NETWORK, "budget_minutes": 0.0, "epochs": 1})
    branch = grow(samples, [make_donor()], lambda: LinearHead(8, 3), asked, trunk=trunk)
    assert (branch.depth, list(branch.depths), branch.left_out) == (NETWORK, [NETWORK], {})


def test_a_network_without_a_trunk_to_begin_at_is_an_error(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    _, samples = make_pictures(make_samples())
    asked = recipe.model_copy(update={"depth": NETWORK})
    with pytest.raises(TrainingError, match='depth = "network" needs a trunk to begin at and pixels'):
        grow(samples, [make_donor()], lambda: LinearHead(8, 3), asked)


def test_what_was_begun_is_gone_on_with_however_slow_the_machine_is_by_now(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trunk, samples = make_pictures(make_samples(n=200))

    def once() -> Grown:
        kept = Checkpoints(tmp_path, "branch", {})
        return grow(samples, [make_donor()], lambda: LinearHead(8, 3), recipe, trunk=trunk, checkpoints=kept)

    first = once()
    monkeypatch.setattr(grow_module, "seconds_of_step", lambda *_: 1e6)
    again = once()
    assert again.depths.keys() == first.depths.keys() >= {NETWORK}
    assert equal(weights(again.branch), weights(first.branch))


def test_a_budget_of_nothing_leaves_all_units_alone(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings
) -> None:
    trunk, samples = make_pictures(make_samples())
    frugal = recipe.model_copy(update={"budget_minutes": 0.0})
    branch = grow(samples, [make_donor()], lambda: LinearHead(8, 3), frugal, trunk=trunk)
    assert list(branch.depths) == ["head"]
    assert list(branch.left_out) == [NETWORK, "stage", "block"]


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
    monkeypatch.setattr(grow_module._Growth, "enough", False)
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
    pretend(monkeypatch, {EXIT: 0.99})
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
    pretend(monkeypatch, {EXIT: exit_score, "head": 0.9, "stage trial": 0.9, "stage": 0.9})
    branch = grow({MAPS: make_samples()}, [make_donor()], lambda: LinearHead(8, 3), recipe, new_exit=exit_head)
    assert list(branch.depths) == [EXIT, "head", "stage"]
    assert (branch.depth, branch.donor) == (chosen, None if chosen == EXIT else "backbone")


def test_an_exit_changes_nothing_of_what_deeper_depths_come_to(
    make_samples: Make, make_donor: MakeDonor, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grow_module._Growth, "enough", False)
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
