"""Donors: whose weights a new branch starts from, decided by a linear probe on their features averaged over the map."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from ..answers import Floats
from ..errors import TrainingError
from ..nn.tree import KeyedBranch
from ..schema import Labels
from .data import Samples, scratch
from .metrics import score

#: Donors are compared on at most so many training images.
PROBE_IMAGES = 1500
_BATCH = 128


@dataclass(frozen=True, eq=False)
class Donor:
    """Units that a branch may start from; `name` is an attribute, or "backbone" for the pretrained stages.

    `digests` name the content of each unit, in order; without them a donor is like no other.
    """

    name: str
    units: Mapping[str, nn.Module]
    digests: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, keyed: KeyedBranch) -> Donor:
        """Return the units of a tree's branch."""
        return cls(name, keyed.branch.named_units(), keyed.keys)


class DonorFeatures(Protocol):
    """Where the top features of a donor's frozen units come from."""

    def pooled(self, donor: Donor, samples: Samples) -> Samples:
        """Return `samples` of trunk features as samples of the donor's, averaged over the map: (F, 1, 1), float16."""


class ComputedFeatures:
    """Computes top features where they are asked for, into scratch space."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def pooled(self, donor: Donor, samples: Samples) -> Samples:
        """Return `samples` as samples of the donor's top features; see `DonorFeatures`."""
        return run_frozen(donor.units, samples, self._device, average)


@torch.inference_mode()
def run_frozen(
    units: Mapping[str, nn.Module],
    samples: Samples,
    device: torch.device,
    reduce: Callable[[Tensor], Tensor] | None = None,
) -> Samples:
    """Return `samples` with the output of frozen `units` as inputs, all views, in scratch space.

    The output is a map (C, H, W) in float16, or what `reduce` makes of the maps (B, C, H, W) of a batch.
    """
    stack = nn.Sequential(*units.values()).to(device).eval()
    inputs = []
    for view, source in enumerate(samples.inputs):
        out = None
        for start in range(0, len(samples), _BATCH):
            block = torch.from_numpy(np.ascontiguousarray(source[samples.rows[start : start + _BATCH, view]]))
            maps = stack(block.to(device).float())  # (B, C, H, W)
            top = (reduce(maps) if reduce else maps).half().cpu().numpy()
            if out is None:
                out = scratch((len(samples), *top.shape[1:]), np.float16)
            out[start : start + len(top)] = top
        assert out is not None
        inputs.append(out)
    rows = np.repeat(np.arange(len(samples))[:, None], len(inputs), axis=1)
    return Samples(tuple(inputs), rows, samples.labels)


def average(maps: Tensor) -> Tensor:
    """Return the averages (B, C, 1, 1) of feature maps (B, C, H, W)."""
    return maps.mean(dim=(2, 3), keepdim=True)


@dataclass(frozen=True, eq=False)
class Probe:
    """The chosen donor, and each candidate's validation macro-F1 (0..1) under a linear probe."""

    donor: Donor
    scores: dict[str, float]


def choose_donor(donors: list[Donor], train: Samples, val: Samples, features: DonorFeatures, seed: int) -> Probe:
    """Return the donor whose pooled features best separate the attribute's values. The earlier one wins a tie.

    `train` and `val` are unambiguous samples of trunk features; without any to train on, the first donor is taken.
    Donors of equal content are probed once. Raises TrainingError without a donor.
    """
    if not donors:
        raise TrainingError("there is no branch and no pretrained stage to start from")
    different = {donor.digests or donor.name: donor for donor in reversed(donors)}
    candidates = [donor for donor in donors if different[donor.digests or donor.name] is donor]
    if len(candidates) == 1 or not len(train):
        return Probe(candidates[0], {})
    few = train.few(PROBE_IMAGES, np.random.default_rng(seed))
    scores = {donor.name: probe(donor, few, val, features) for donor in candidates}
    return Probe(max(candidates, key=lambda donor: scores[donor.name]), scores)


def probe(donor: Donor, train: Samples, val: Samples, features: DonorFeatures) -> float:
    """Return the macro-F1 on `val` of a logistic regression on the donor's pooled features of `train`."""
    labels = train.labels.attribute.labels
    known, unseen = (_vectors(features.pooled(donor, part)) for part in (train, val))
    return score(labels, _regress(labels, known, train.labels.target, unseen), val.labels.target).macro_f1


def _vectors(pooled: Samples) -> Floats:
    """Return view 0 of pooled features as float32 (N, F)."""
    return np.asarray(pooled.inputs[0][pooled.rows[:, 0]], dtype=np.float32).reshape(len(pooled), -1)


def _regress(labels: Labels, features: Floats, target: Floats, unseen: Floats) -> Floats:
    """Return the probabilities (M, C) that logistic regressions give the `unseen` features (M, F)."""
    regression = LogisticRegression(C=0.1, max_iter=200, class_weight="balanced")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # donors are ranked, the last digit does not matter
        return _fit_regressions(regression, labels, features, target, unseen)


def _fit_regressions(
    regression: LogisticRegression, labels: Labels, features: Floats, target: Floats, unseen: Floats
) -> Floats:
    if labels.exclusive:
        classes = target.argmax(axis=1)
        out = np.zeros((len(unseen), labels.size), dtype=np.float32)
        if (classes == classes[0]).all():  # one value needs no regression, and scikit-learn refuses it
            out[:, classes[0]] = 1.0
            return out
        model = make_pipeline(StandardScaler(), regression).fit(features, classes)
        out[:, model.classes_] = model.predict_proba(unseen)
        return out
    wanted = np.nan_to_num(target) > 0
    mixed = wanted.any(axis=0) & ~wanted.all(axis=0)  # a value that is always or never there needs no regression
    out = np.broadcast_to(wanted.mean(axis=0), (len(unseen), labels.size)).astype(np.float32)
    if mixed.any():
        model = make_pipeline(StandardScaler(), MultiOutputClassifier(regression)).fit(features, wanted[:, mixed])
        out[:, mixed] = np.stack([p[:, 1] for p in model.predict_proba(unseen)], axis=1)
    return out
