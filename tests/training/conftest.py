"""Toy data and toy networks, small enough that a branch trains in a tenth of a second."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from attributree.heads import LinearHead
from attributree.label_set import LabelSet
from attributree.schema import Attribute, Labels, SingleLabel
from attributree.settings.models import BranchSettings
from attributree.training.data import Samples
from attributree.training.donors import Donor

CHANNELS = 8


def _samples(
    labels: Labels | None = None, n: int = 100, *, classes: int | None = None, seed: int = 0, views: int = 1
) -> Samples:
    """Return n samples of features (8, 2, 2) whose channel c says that value c holds: trivially separable.

    Of five images one validates and one tests. `classes`: so many of the values occur.
    """
    labels = labels or SingleLabel(("crew", "v_neck", "boat"))
    rng = np.random.default_rng(seed)
    target = np.zeros((n, labels.size), dtype=np.float32)
    if labels.kind == "multi":
        target[:] = rng.random(target.shape) < 0.5
    else:
        target[np.arange(n), rng.integers(classes or labels.size, size=n)] = 1
    inputs = []
    for _ in range(views):
        features = rng.normal(0, 0.3, (n, CHANNELS, 2, 2))
        features[:, : labels.size] += 3 * target[:, :, None, None]
        inputs.append(features.astype(np.float16))
    label_set = LabelSet(
        Attribute("neckline", labels),
        1,
        np.arange(n),
        np.choose(np.arange(n) % 5, [0, 0, 0, 1, 2]).astype(np.int8),
        target,
        np.zeros(n, dtype=np.bool_),
        np.ones(n, dtype=np.float32),
    )
    return Samples(tuple(inputs), np.repeat(np.arange(n)[:, None], views, axis=1), label_set)


def _units(seed: int = 0, count: int = 2) -> dict[str, nn.Module]:
    """Return blocks of convolution, BatchNorm and ReLU that keep the shape of the toy features."""
    torch.manual_seed(seed)
    return {
        f"layer4_{i}": nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU())
        for i in range(count)
    }


@pytest.fixture
def make_samples() -> Callable[..., Samples]:
    return _samples


@pytest.fixture
def make_units() -> Callable[..., dict[str, nn.Module]]:
    return _units


@pytest.fixture
def make_donor() -> Callable[..., Donor]:
    return lambda name="backbone", seed=0, count=2: Donor(name, _units(seed, count))


@pytest.fixture
def new_head() -> Callable[..., nn.Module]:
    return lambda outputs=3: LinearHead(CHANNELS, outputs, dropout=0.1)


@pytest.fixture
def recipe() -> BranchSettings:
    return BranchSettings(epochs=8, batch_size=16, learning_rate=0.08, min_calibration_labels=50, device="cpu")
