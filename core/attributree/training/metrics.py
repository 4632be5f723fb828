"""Scores of one attribute on labelled images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..answers import Answers, Floats, answer
from ..schema import Labels

_BINS = 15
_SHARES = ("accuracy", "macro_f1", "ece", "coverage", "accepted_accuracy")
#: What stands in a report in place of `Scores.to_json` where there is no label.
NO_SCORES: Final[Mapping[str, Any]] = {"n": 0, **dict.fromkeys(_SHARES), "per_value": {}}


@dataclass(frozen=True)
class Scores:
    """How an attribute does on `n` labelled images; every share in 0..1.

    `accuracy`: share of right answers (multi-label: the whole set right). `macro_f1`: mean F1 over the values
    that occur in the labels. `ece`: expected calibration error, 15 bins of equal width. `coverage`: share of
    answers at or above the confidence cut; 0 if there is none. `accepted_accuracy`: accuracy of those, None if
    there are none.
    """

    n: int
    accuracy: float
    macro_f1: float
    ece: float
    coverage: float
    accepted_accuracy: float | None
    per_value: dict[str, dict[str, float]]

    @property
    def merit(self) -> float:
        """What trainings are chosen by: the mean of accuracy and macro-F1.

        Macro-F1 alone would pay for a few answers of rare values with any number of common ones, accuracy the reverse.
        """
        return (self.accuracy + self.macro_f1) / 2

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON-ready data, shares rounded to four digits."""
        out: dict[str, Any] = {"n": self.n}
        for name in _SHARES:
            share = getattr(self, name)
            out[name] = None if share is None else round(share, 4)
        out["per_value"] = {k: {m: round(x, 4) for m, x in v.items()} for k, v in self.per_value.items()}
        return out


def score(
    labels: Labels,
    probabilities: Floats,
    target: Floats,
    cut: float | None = None,
    *,
    held_back: npt.NDArray[np.bool_] | None = None,
) -> Scores:
    """Return the scores of `probabilities` (N, C) against `target` (N, C) of unambiguous images.

    `held_back` (N,) are answers that are not accepted, whatever their confidence.
    Raises ValueError without any image: a score of nothing is not zero.
    """
    if not len(target):
        raise ValueError("no labelled image to score")
    answers = answer(labels, probabilities)
    right = answers.right(target)
    known = ~np.isnan(target)
    said = answers.said & known
    wanted = np.nan_to_num(target) > 0
    hits, given, support = (said & wanted).sum(axis=0), said.sum(axis=0), wanted.sum(axis=0)  # (C,) each
    precision, recall = hits / np.maximum(given, 1), hits / np.maximum(support, 1)
    f1 = 2 * hits / np.maximum(given + support, 1)
    present = support > 0
    per_value = {
        key: {"precision": float(p), "recall": float(r), "f1": float(f), "n": int(s)}
        for key, p, r, f, s in zip(labels.keys, precision, recall, f1, support, strict=True)
        if s
    }
    accepted = answers.confidence >= cut if cut is not None else np.zeros(len(right), dtype=np.bool_)
    if held_back is not None:
        accepted &= ~held_back
    return Scores(
        n=len(target),
        accuracy=float(right.mean()),
        macro_f1=float(f1[present].mean()) if present.any() else 0.0,
        ece=calibration_error(labels, probabilities, target, answers),
        coverage=float(accepted.mean()),
        accepted_accuracy=float(right[accepted].mean()) if accepted.any() else None,
        per_value=per_value,
    )


def calibration_error(labels: Labels, probabilities: Floats, target: Floats, answers: Answers) -> float:
    """Return the expected calibration error: the mean gap between confidence and accuracy, weighted by bin.

    Multi-label attributes are measured decision by decision over the known values.
    """
    if not labels.exclusive:
        known = ~np.isnan(target)
        confidence = np.maximum(probabilities, 1 - probabilities)[known]
        right = (answers.said == (target > 0))[known]
    else:
        confidence, right = answers.confidence, answers.right(target)
    return confidence_error(confidence, right)


def confidence_error(confidence: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Return the expected calibration error of (N,) confidences in 0..1, whose answers were `right` (N,) or not."""
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gap = 0.0
    for b in np.unique(bins):
        rows = bins == b
        gap += rows.mean() * abs(float(confidence[rows].mean()) - float(right[rows].mean()))
    return float(gap)


def majority_macro_f1(labels: Labels, train_target: Floats, target: Floats) -> float:
    """Return the macro-F1 of always giving the answer that is most frequent in `train_target`: the floor to beat.

    What is not known counts as absent: in an open world only presence is ever known, and "yes to everything" would
    be a floor that nothing can beat.
    """
    share = (np.nan_to_num(train_target) > 0).sum(axis=0) / max(1, len(train_target))  # (C,)
    return score(labels, np.broadcast_to(share, target.shape).astype(np.float32), target).macro_f1
