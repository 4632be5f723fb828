"""The engine of progressive growing: who may be a donor, who may be an exit, and a trunk without what fails."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attributree.errors import TrainingError
from attributree.heads import LinearHead, new_head
from attributree.nn.heads import HeadFactory
from attributree.nn.sources import HUB, RANDOM
from attributree.nn.tree import Branch, digest_of, weights_of
from attributree.nn.trunk import MAPS, PIXELS, PYRAMID, Backbone, Trunk, TrunkSpec
from attributree.schema import Attribute, SingleLabel
from attributree.settings.models import EXIT, NETWORK, BranchSettings
from attributree.training.checkpoint import Checkpoints
from attributree.training.data import Samples
from attributree.training.donors import Donor
from attributree.training.guard import GuardedLoss, HeadError
from attributree.training.progressive import BranchSetup, GrowingTree, grow_branch, learn_trunk

NECKLINE = Attribute("neckline", SingleLabel(("crew", "v_neck", "boat")))


def backbone(weights: str = RANDOM) -> Backbone:
    torch.manual_seed(0)
    trunk = Trunk({"stem": nn.Conv2d(3, 8, 3, padding=1)}, (0.5,) * 3, (0.3,) * 3, ["stem"]).eval()
    upper = {"top": nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()).eval()}
    return Backbone(TrunkSpec("toy", "top", 16, weights), trunk, upper, {MAPS: (8, 2, 2), PYRAMID: (160,)}, 8)


def tree(weights: str = RANDOM) -> GrowingTree:
    base = backbone(weights)
    return GrowingTree.on(base, Donor("backbone", base.upper))


def setup(recipe: BranchSettings, attribute: Attribute = NECKLINE, loss: Any = None) -> BranchSetup:
    head = HeadFactory(attribute, 8)
    return BranchSetup(attribute, recipe, head, head, loss)


def test_a_branch_with_units_is_a_donor_and_one_without_is_none() -> None:
    begun = tree()
    assert begun.digest == digest_of(weights_of(begun.backbone.trunk))
    grown = begun.with_branch("hem", Branch(begun.backbone.upper, LinearHead(8, 3)))
    assert [donor.name for donor in grown.donors] == ["backbone", "hem"]
    assert grown.donors[0].digests == grown.donors[1].digests != ()  # equal units have equal names
    as_exit = grown.with_branch("tone", Branch({}, LinearHead(8, 2)))
    assert as_exit.donors == grown.donors
    assert as_exit.with_units == {"hem"}


@pytest.mark.parametrize("depth", ["auto", EXIT, "head", "block", "stage"])
@pytest.mark.parametrize("weights", [RANDOM, HUB])
def test_the_last_branch_with_units_on_a_random_trunk_keeps_them(depth: str, weights: str) -> None:
    recipe = BranchSettings.model_validate({"depth": depth})
    begun = tree(weights)
    alone = begun.with_branch("neckline", Branch(begun.backbone.upper, LinearHead(8, 3)))
    beside = begun.with_branch("hem", Branch(begun.backbone.upper, LinearHead(8, 3)))
    told = [found.may_exit("neckline", recipe) for found in (begun, alone, beside)]
    if depth == "auto" and weights == RANDOM:
        assert told == [False, False, True]
    else:
        assert told == [depth in ("auto", EXIT)] * 3


def test_a_growth_reads_what_its_depth_may_need(recipe: BranchSettings) -> None:
    def of(depth: str) -> frozenset[str]:
        return frozenset(setup(recipe.model_copy(update={"depth": depth})).reads())

    assert (of("auto"), of("head"), of(EXIT)) == ({MAPS, PYRAMID, PIXELS}, {MAPS}, {MAPS})
    assert of(NETWORK) == {MAPS, PIXELS}
    on_pyramid = replace(setup(recipe), exit_head=HeadFactory(NECKLINE, 8, pyramid=160))
    assert replace(on_pyramid, recipe=recipe.model_copy(update={"depth": EXIT})).reads() == {PYRAMID}


def test_a_branch_is_gated_against_the_live_one_if_there_is_one(
    make_samples: Callable[..., Samples], recipe: BranchSettings
) -> None:
    samples = {MAPS: make_samples()}
    settings = recipe.model_copy(update={"depth": "head"})
    grown, verdict = grow_branch(samples, tree().donors, setup(settings), may_exit=False)
    assert verdict.promoted
    assert "the commonest answer alone has" in verdict.reason
    val = samples[MAPS].part("val", labelled_only=True)
    best = val.labels.target  # the live branch is always right
    again, verdict = grow_branch(samples, tree().donors, setup(settings), may_exit=False, live=lambda: best)
    assert "the live branch has 1.000" in verdict.reason
    assert [digest_of(part) for part in again.branch.parts()] == [digest_of(part) for part in grown.branch.parts()]


@pytest.mark.parametrize("what", ["loss", "loss of all", "strict"])
def test_a_trunk_is_learnt_without_the_attributes_that_fail(
    what: str, make_samples: Callable[..., Samples], recipe: BranchSettings, tmp_path: Path, monkeypatch: Any
) -> None:
    asked: list[list[str]] = []

    def train(base: Backbone, samples: Any, heads: Any, *_: Any, losses: Any, **__: Any) -> list[str]:
        asked.append(list(samples))
        for loss in losses.values():
            loss(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1), value_weight=None, smoothing=0.0)
        return list(heads)

    def loss(*_: Any, **__: Any) -> Tensor:
        raise ValueError("too many")

    monkeypatch.setattr("attributree.training.progressive.train_trunk", train)
    names = ["hem", "neckline", "tone"]
    samples = {name: make_samples() for name in names}
    bad = names if what == "loss of all" else ["neckline"]
    setups = {name: setup(recipe, loss=GuardedLoss(name, loss) if name in bad else None) for name in names}

    def learn(**options: Any) -> Any:
        kept = lambda *_: Checkpoints(tmp_path, "trunk", {})  # noqa: E731
        return learn_trunk(backbone(), setups, samples, lambda _: recipe, checkpoints_of=kept, **options)

    if what == "strict":
        with pytest.raises(HeadError, match="too many"):
            learn(strict=True)
    elif what == "loss of all":
        with pytest.raises(TrainingError, match=r"train the trunk \(fit: no label; hem: its loss raised"):
            learn(failed={"fit": "no label"})
    else:
        trained, _ = learn()
        assert trained == ["hem", "tone"]
        assert asked == [names, ["hem", "tone"]]


@pytest.mark.parametrize(
    ("depth", "name", "mirrors"),
    [
        ("exit", "linear", False),
        ("head", "linear", False),
        ("head", "attention", True),
        ("exit", "attention", True),
        ("block", "linear", True),
        ("auto", "attention", False),
        ("network", "linear", False),  # pixels are mirrored when they are read
    ],
)
def test_mirrored_features_are_read_unless_the_head_alone_is_learnt_and_solved(
    depth: str, name: str, mirrors: bool, recipe: BranchSettings
) -> None:
    def head() -> nn.Module:
        return new_head(name, NECKLINE, 8)

    grown = BranchSetup(NECKLINE, recipe.model_copy(update={"depth": depth, "flip": True}), head, head)
    assert grown.mirrors() is mirrors
    assert not replace(grown, recipe=grown.recipe.model_copy(update={"flip": False})).mirrors()
