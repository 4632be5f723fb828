"""Training a trunk from random weights, end to end on several attributes."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attributree.errors import TrainingError
from attributree.heads import LinearHead
from attributree.label_set import LabelSet
from attributree.nn.sources import RANDOM
from attributree.nn.trunk import Backbone, Trunk, TrunkSpec
from attributree.schema import Attribute, Labels, MultiLabel, SingleLabel
from attributree.settings.models import BranchSettings
from attributree.training.data import Samples
from attributree.training.trunk import TrainedTrunk, train_trunk

joint_module = importlib.import_module("attributree.training.joint")
SIZE = 16
TONE = Attribute("tone", SingleLabel(("dark", "bright")))
HUE = Attribute("hue", SingleLabel(("red", "green", "blue")))


def block(inner: int, outer: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inner, outer, 3, stride=2, padding=1), nn.BatchNorm2d(outer), nn.ReLU())


@pytest.fixture
def make_backbone() -> Callable[..., Backbone]:
    def make(seed: int = 0) -> Backbone:
        torch.manual_seed(seed)
        lower = {"stem": block(3, 8), "stage": block(8, 8)}
        trunk = Trunk(lower, (0.5, 0.5, 0.5), (0.3, 0.3, 0.3), ["stage"]).eval()
        return Backbone(TrunkSpec("toy", "top", SIZE, RANDOM), trunk, {"top": block(8, 12).eval()}, {}, 12)

    return make


def paint(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pictures (n, S, S, 3) of one colour with some noise, their hue and their tone."""
    rng = np.random.default_rng(0)
    hue, tone = rng.integers(3, size=n), rng.integers(2, size=n)
    pixels = rng.integers(0, 30, (n, SIZE, SIZE, 3))
    pixels[np.arange(n), :, :, hue] += (90 + 120 * tone)[:, None, None]
    return pixels.astype(np.uint8), hue, tone


def samples_of(
    attribute: Attribute, pixels: np.ndarray, classes: np.ndarray, ids: np.ndarray, target: np.ndarray | None = None
) -> Samples:
    """Return what `attribute` says of the pictures `ids`; of five, one validates."""
    wanted = np.eye(attribute.labels.size, dtype=np.float32)[classes[ids]] if target is None else target[ids]
    labels = LabelSet(
        attribute,
        1,
        ids,
        (ids % 5 == 3).astype(np.int8),
        wanted,
        np.zeros(len(ids), dtype=np.bool_),
        np.ones(len(ids), dtype=np.float32),
    )
    return Samples((pixels,), ids[:, None], labels)


@pytest.fixture
def samples() -> dict[str, Samples]:
    """Two attributes that speak of overlapping halves of 160 pictures."""
    pixels, hue, tone = paint(160)
    return {
        "tone": samples_of(TONE, pixels, tone, np.arange(100)),
        "hue": samples_of(HUE, pixels, hue, np.arange(60, 160)),
    }


def heads(samples: dict[str, Samples], seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    return {name: LinearHead(12, part.labels.attribute.labels.outputs) for name, part in samples.items()}


@pytest.fixture
def fast(recipe: BranchSettings) -> BranchSettings:
    return recipe.model_copy(update={"epochs": 8, "learning_rate": 0.02})


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_attributes_that_label_different_images_train_one_trunk(
    make_backbone: Callable[..., Backbone], samples: dict[str, Samples], fast: BranchSettings
) -> None:
    backbone, seen = make_backbone(), list[tuple[str, int, int]]()
    before = weights(backbone.trunk)
    trained = train_trunk(backbone, samples, heads(samples), fast, progress=lambda *args: seen.append(args))
    assert min(trained.macro_f1.values()) > 0.9
    assert 1 <= trained.epochs <= 8
    assert not equal(before, weights(backbone.trunk))
    assert not backbone.trunk.training
    assert backbone.trunk(torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8)).dtype == torch.float16
    assert seen[-1][0] == "trunk"


def test_the_units_above_the_trunk_are_a_donor(
    make_backbone: Callable[..., Backbone], samples: dict[str, Samples], fast: BranchSettings
) -> None:
    backbone = make_backbone()
    trained = train_trunk(backbone, samples, heads(samples), fast.model_copy(update={"epochs": 1}))
    assert trained.donor.name == "trunk"
    assert list(trained.donor.units) == list(backbone.upper)
    assert not equal(weights(trained.donor.units["top"]), weights(backbone.upper["top"]))
    assert not trained.donor.units["top"].training


def test_the_same_seed_gives_equal_weights_whatever_the_backbone_held_before(
    make_backbone: Callable[..., Backbone], samples: dict[str, Samples], fast: BranchSettings
) -> None:
    def once(backbone_seed: int, seed: int = 0) -> tuple[dict[str, torch.Tensor], TrainedTrunk]:
        backbone = make_backbone(backbone_seed)
        trained = train_trunk(backbone, samples, heads(samples), fast.model_copy(update={"epochs": 2, "seed": seed}))
        return weights(backbone.trunk), trained

    (first, one), (second, two), (third, _) = once(0), once(5), once(0, seed=1)
    assert equal(first, second)
    assert one.macro_f1 == two.macro_f1
    assert equal(weights(one.donor.units["top"]), weights(two.donor.units["top"]))
    assert not equal(first, third)


def test_the_best_epoch_s_weights_are_kept(
    make_backbone: Callable[..., Backbone],
    samples: dict[str, Samples],
    fast: BranchSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores, seen = iter([0.2, 0.9, 0.5]), list[dict[str, torch.Tensor]]()

    def validate(task: Any) -> tuple[float, float]:
        seen.append(weights(task.module.trunk))
        return next(scores), 1.0

    monkeypatch.setattr(joint_module._JointTask, "validate", validate)
    monkeypatch.setattr(joint_module._JointTask, "macro_f1", lambda task: {"tone": 0.9, "hue": 0.5})
    backbone = make_backbone()
    trained = train_trunk(backbone, samples, heads(samples), fast.model_copy(update={"epochs": 3}))
    assert (trained.epochs, trained.macro_f1) == (2, {"tone": 0.9, "hue": 0.5})
    assert equal(weights(backbone.trunk), seen[1])


def test_silence_is_weight_zero_and_not_a_label() -> None:
    pixels, hue, _ = paint(10)
    part = samples_of(HUE, pixels, hue, np.array([2, 5, 7]))
    target, weight = joint_module._by_row(part, np.arange(10))
    assert weight.tolist() == [0, 0, 1, 0, 0, 1, 0, 1, 0, 0]
    assert np.array_equal(target[[2, 5, 7]].numpy(), part.labels.target)


@pytest.mark.parametrize("closed", [True, False])
def test_a_multi_label_attribute_takes_part(
    closed: bool, make_backbone: Callable[..., Backbone], samples: dict[str, Samples], fast: BranchSettings
) -> None:
    pixels, hue, tone = paint(160)
    labels: Labels = MultiLabel(("bright", "red"), closed_world=closed)
    target = np.stack([tone == 1, hue == 0], axis=1).astype(np.float32)
    target[target == 0] = 0 if closed else np.nan
    ids = np.flatnonzero(~np.isnan(target).all(axis=1))
    both = {**samples, "traits": samples_of(Attribute("traits", labels), pixels, hue, ids, target)}
    trained = train_trunk(make_backbone(), both, heads(both), fast)
    assert trained.macro_f1["traits"] > 0.8


@pytest.mark.parametrize("batch_size", [2, 127, 1000])
def test_any_batch_size_trains_and_a_last_picture_alone_is_left_out(
    batch_size: int, make_backbone: Callable[..., Backbone], samples: dict[str, Samples], fast: BranchSettings
) -> None:
    changes: dict[str, Any] = {"epochs": 1, "batch_size": batch_size}  # 128 training pictures
    trained = train_trunk(make_backbone(), samples, heads(samples), fast.model_copy(update=changes))
    assert set(trained.macro_f1) == {"tone", "hue"}


class Broken(nn.Module):
    """A head whose answers are no numbers from the given call on."""

    def __init__(self, outputs: int, good: int) -> None:
        super().__init__()
        self.linear = LinearHead(12, outputs)
        self.good = good

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.good -= 1
        logits: torch.Tensor = self.linear(features)
        return logits if self.good >= 0 else logits * torch.nan


@pytest.mark.parametrize(("good", "message"), [(0, "trunk: the loss became nan in epoch 1"), (8, "trunk: hue answers")])
def test_what_is_no_number_fails_the_training(
    good: int,
    message: str,
    make_backbone: Callable[..., Backbone],
    samples: dict[str, Samples],
    fast: BranchSettings,
) -> None:
    broken = {**heads(samples), "hue": Broken(3, good)}  # 8 batches of 16 in an epoch
    with pytest.raises(TrainingError, match=f"{message}.*nothing was promoted"):
        train_trunk(make_backbone(), samples, broken, fast)


def test_pictures_are_shifted_a_little_and_mirrored_only_if_asked() -> None:
    pixels = np.zeros((40, SIZE, SIZE, 3), dtype=np.uint8)
    pixels[:, :, : SIZE // 2] = 255  # bright on the left
    plain = joint_module.augment(pixels, np.random.default_rng(0), BranchSettings(flip=False))
    assert plain.shape == pixels.shape
    assert (plain[:, :, 0] == 255).all()
    assert len({picture.tobytes() for picture in plain}) == 3  # shifted by -1, 0 or 1
    mirrored = joint_module.augment(pixels, np.random.default_rng(0), BranchSettings())
    left = (mirrored[:, 0, 0, 0] == 255).sum()
    assert 10 < left < 30
    assert (pixels[:, :, SIZE // 2 :] == 0).all()


def test_pictures_of_lengths_are_not_shifted() -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (8, 32, 32, 3)).astype(np.uint8)
    rng, recipe = np.random.default_rng(0), BranchSettings(flip=False, crop=False)
    assert np.array_equal(joint_module.augment(pixels, rng, recipe), pixels)
    mirrored = joint_module.augment(pixels, rng, recipe.model_copy(update={"flip": True}))
    assert all(
        np.array_equal(new, old) or np.array_equal(new, old[:, ::-1]) for new, old in zip(mirrored, pixels, strict=True)
    )
