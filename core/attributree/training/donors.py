"""Donors: whose weights a new branch starts from, decided by a linear probe."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from ..answers import Floats
from ..errors import TrainingError
from ..schema import Labels
from .data import Samples
from .metrics import score

#: Donors are compared on at most so many training images.
PROBE_IMAGES = 1500


@dataclass(frozen=True, eq=False)
class Donor:
    """Units that a branch may start from; `name` is an attribute, or "backbone" for the pretrained stages."""

    name: str
    units: Mapping[str, nn.Module]


@dataclass(frozen=True, eq=False)
class Probe:
    """The chosen donor, and each candidate's validation macro-F1 (0..1) under a linear probe."""

    donor: Donor
    scores: dict[str, float]


def choose_donor(
    donors: list[Donor], train: Samples, val: Samples, device: torch.device, rng: np.random.Generator
) -> Probe:
    """Return the donor whose pooled features best separate the attribute's values. The earlier one wins a tie.

    `train` and `val` are unambiguous samples of trunk features; without any to train on, the first donor is taken.
    Raises TrainingError without a donor.
    """
    if not donors:
        raise TrainingError("there is no branch and no pretrained stage to start from")
    if len(donors) == 1 or not len(train):
        return Probe(donors[0], {})
    few = train.few(PROBE_IMAGES, rng)
    scores = {donor.name: probe(donor, few, val, device) for donor in donors}
    return Probe(max(donors, key=lambda donor: scores[donor.name]), scores)


def probe(donor: Donor, train: Samples, val: Samples, device: torch.device) -> float:
    """Return the macro-F1 on `val` of a logistic regression on the donor's pooled features of `train`."""
    labels = train.labels.attribute.labels
    features, wanted = pooled(donor, train, device), train.labels.target
    predicted = _regress(labels, features, wanted, pooled(donor, val, device))
    return score(labels, predicted, val.labels.target).macro_f1


def _regress(labels: Labels, features: Floats, target: Floats, unseen: Floats) -> Floats:
    """Return the probabilities (M, C) that logistic regressions give the `unseen` features (M, F)."""
    regression = LogisticRegression(C=0.1, max_iter=200, class_weight="balanced")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # donors are ranked, the last digit does not matter
        return _fit_regressions(regression, labels, features, target, unseen)


def _fit_regressions(
    regression: LogisticRegression, labels: Labels, features: Floats, target: Floats, unseen: Floats
) -> Floats:
    if labels.kind != "multi":
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


@torch.inference_mode()
def pooled(donor: Donor, samples: Samples, device: torch.device) -> Floats:
    """Return the donor's features averaged over the map (N, F), for view 0 of `samples`."""
    out = []
    for inputs, _, _ in samples.batches(128):
        top = inputs.to(device).float()  # (B, C, H, W)
        for unit in donor.units.values():
            top = unit.eval()(top)
        out.append(top.mean(dim=(2, 3)).cpu())
    pooled: Floats = torch.cat(out).numpy()
    return pooled
