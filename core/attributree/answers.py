"""From probabilities to answers: what is said, how sure, and in today's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .schema import Labels, fold

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answers:
    """`said` (N, C) bool, the values answered for each image; `confidence` (N,) in 0..1 that they are right."""

    said: npt.NDArray[np.bool_]
    confidence: Floats

    def right(self, target: Floats) -> npt.NDArray[np.bool_]:
        """Return (N,) whether each answer is the labelled one. `target` (N, C) without ambiguous images.

        A multi-label answer is right if every value that is known to be present or absent is answered so.
        """
        agrees = (self.said == (target > 0)) | np.isnan(target)
        return np.asarray(agrees.all(axis=1))


def answer(labels: Labels, probabilities: Floats) -> Answers:
    """Return the most probable answer for each row of `probabilities` (N, C).

    Multi-label: every value at 0.5 or more; its confidence is the probability that all C decisions are right,
    taken as independent.
    """
    if labels.kind == "multi":
        said = probabilities >= 0.5
        return Answers(said, np.where(said, probabilities, 1.0 - probabilities).prod(axis=1).astype(np.float32))
    best = probabilities.argmax(axis=1)
    said = np.zeros(probabilities.shape, dtype=np.bool_)
    said[np.arange(len(best)), best] = True
    return Answers(said, probabilities.max(axis=1).astype(np.float32))


def translate(probabilities: Floats, keys: Sequence[str], labels: Labels) -> Floats:
    """Return `probabilities` (N, K) of a branch's `keys` as (N, C) of today's values.

    A branch remembers the keys its outputs stand for. A renamed value keeps its probability, merged ones add
    up (multi-label: the largest counts, since they are no alternatives), retired ones are dropped and the
    rest is rescaled. A value that the branch never learnt has probability 0.
    """
    if tuple(keys) == labels.keys:
        return probabilities
    today = {fold(former): c for c, value in enumerate(labels.values) for former in (*value.formerly, value.key)}
    out = np.zeros((len(probabilities), labels.size), dtype=np.float32)
    for k, key in enumerate(keys):
        if fold(key) in today:
            column = out[:, today[fold(key)]]
            if labels.kind == "multi":
                np.maximum(column, probabilities[:, k], out=column)
            else:
                column += probabilities[:, k]
    if labels.kind != "multi":
        total = out.sum(axis=1, keepdims=True)
        np.divide(out, total, out=out, where=total > 0)
    return out
