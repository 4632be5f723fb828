"""Donors: whose weights a new branch starts from, decided by a linear probe on their features averaged over the map."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..answers import Floats
from ..errors import TrainingError
from ..nn.tree import KeyedBranch
from .data import Samples
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


#: Where donors' top features come from: of a donor and samples of trunk features it makes samples of the donor's,
#: averaged over the map: (F, 1, 1), float16.
DonorFeatures = Callable[[Donor, Samples], Samples]


def pooled_features(donor: Donor, samples: Samples, device: torch.device) -> Samples:
    """Return a donor's top features, computed on the spot into scratch space; see `DonorFeatures`."""
    return run_frozen(donor.units, samples, device, average)


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
    last = reduce or nn.Identity()
    return samples.through(lambda maps: last(stack(maps.float())), device, _BATCH)


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
    labels, target = train.labels.attribute.labels, train.labels.target
    known, unseen = (_vectors(features(donor, part)) for part in (train, val))
    if not labels.exclusive:
        there = np.nan_to_num(target) > 0
        guesses = [_regress(known, column, unseen, 2)[:, 1] for column in there.astype(int).T]
        return score(labels, np.stack(guesses, axis=1), val.labels.target).macro_f1
    return score(labels, _regress(known, target.argmax(axis=1), unseen, labels.size), val.labels.target).macro_f1


def _vectors(pooled: Samples) -> Floats:
    """Return view 0 of pooled features as float32 (N, F)."""
    return np.asarray(pooled.inputs[0][pooled.rows[:, 0]], dtype=np.float32).reshape(len(pooled), -1)


def _regress(features: Floats, classes: npt.NDArray[np.int64], unseen: Floats, count: int) -> Floats:
    """Return the probabilities (M, count) of the `unseen` features (M, F), from the `classes` (N,) of others."""
    # Here, because it takes as long to import as torch, and a sync with one donor never asks.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    out = np.zeros((len(unseen), count), dtype=np.float32)
    if (classes == classes[0]).all():  # one class needs no regression, and scikit-learn refuses it
        out[:, classes[0]] = 1.0
        return out
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200, class_weight="balanced"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # donors are ranked, the last digit does not matter
        model.fit(features, classes)
    out[:, model.classes_] = model.predict_proba(unseen)
    return out
