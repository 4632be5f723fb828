"""Donors: whose weights a new branch starts from, decided by a linear probe."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
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

if TYPE_CHECKING:
    from .tops import Tops

#: Donors are compared on at most so many training images.
PROBE_IMAGES = 1500


@dataclass(frozen=True, eq=False)
class Donor:
    """Units that a branch may start from; `name` is an attribute, or "backbone" for the pretrained stages.

    `digests` name the content of each unit, in order; without them a donor is like no other.
    """

    name: str
    units: Mapping[str, nn.Module]
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Probe:
    """The chosen donor, and each candidate's validation macro-F1 (0..1) under a linear probe."""

    donor: Donor
    scores: dict[str, float]


def choose_donor(donors: list[Donor], train: Samples, val: Samples, tops: Tops, seed: int) -> Probe:
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
    scores = {donor.name: probe(donor, few, val, tops) for donor in candidates}
    return Probe(max(candidates, key=lambda donor: scores[donor.name]), scores)


def probe(donor: Donor, train: Samples, val: Samples, tops: Tops) -> float:
    """Return the macro-F1 on `val` of a logistic regression on the donor's pooled features of `train`."""
    labels = train.labels.attribute.labels
    known, unseen = (_vectors(tops.pooled(donor, part)) for part in (train, val))
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
