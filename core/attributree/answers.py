"""From probabilities to answers: what is said, how sure, and in today's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .schema import Labels, fold

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

#: Power of the number of pictures that speak by which a pooled answer is surer than their mean. Pictures of one product
#: are wrong together, so it is less than 1, which would be right for independent ones.
_AGREEMENT = 0.25
_TINY = 1e-6


@dataclass(frozen=True, eq=False)
class Answers:
    """`said` (N, C) bool, the values answered for each image; `confidence` (N,) in 0..1 that they are right.

    Where `undecided` (N,) is set, some of what is said are the heirs of a value that was split after the branch had
    learnt it: one of them is meant, and nobody knows which.
    """

    said: npt.NDArray[np.bool_]
    confidence: Floats
    undecided: npt.NDArray[np.bool_] | None = None

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
    if not labels.exclusive:
        said = probabilities >= 0.5
        return Answers(said, np.where(said, probabilities, 1.0 - probabilities).prod(axis=1).astype(np.float32))
    best = probabilities.argmax(axis=1)
    said = np.zeros(probabilities.shape, dtype=np.bool_)
    said[np.arange(len(best)), best] = True
    return Answers(said, probabilities.max(axis=1).astype(np.float32))


def heirs(keys: Sequence[str], labels: Labels) -> list[tuple[int, ...]]:
    """Return for each of a branch's `keys` the columns of today's values that stand for it.

    None if it was retired, several if it was split.
    """
    today: dict[str, list[int]] = {}
    for c, value in enumerate(labels.values):
        for key in dict.fromkeys(map(fold, (*value.formerly, value.key))):
            today.setdefault(key, []).append(c)
    return [tuple(today.get(fold(key), ())) for key in keys]


def outlived(keys: Sequence[str], labels: Labels) -> bool:
    """Return whether no value of today stands for any of a branch's `keys`: then it has no answer."""
    return not any(heirs(keys, labels))


def answer_today(labels: Labels, probabilities: Floats, keys: Sequence[str]) -> Answers:
    """Return the answers in today's values of a branch that learnt `keys`, from its own probabilities (N, K)."""
    columns = heirs(keys, labels)
    translated = translate(probabilities, keys, labels)
    if all(len(part) < 2 for part in columns):
        return answer(labels, translated)
    if not labels.exclusive:
        given = answer(labels, translated)
        split = sorted({c for part in columns if len(part) > 1 for c in part})
        return Answers(given.said, given.confidence, np.asarray(given.said[:, split].any(axis=1)))
    # The branch is asked what it learnt: the heirs of one key are one answer.
    groups = sorted({part for part in columns if part})
    own = [[k for k, part in enumerate(columns) if part == group] for group in groups]
    pooled = np.stack([probabilities[:, outputs].sum(axis=1) for outputs in own], axis=1)  # (N, G)
    best = pooled.argmax(axis=1)
    said = np.zeros((len(pooled), labels.size), dtype=np.bool_)
    for row, chosen in enumerate(best):
        said[row, list(groups[chosen])] = True
    confidence = pooled.max(axis=1)
    if not all(columns):  # what was retired is left out, and the rest rescaled
        total = pooled.sum(axis=1)
        np.divide(confidence, total, out=confidence, where=total > 0)
    return Answers(said, confidence, said.sum(axis=1) > 1)


def translate(probabilities: Floats, keys: Sequence[str], labels: Labels) -> Floats:
    """Return `probabilities` (N, K) of a branch's `keys` as (N, C) of today's values.

    A branch remembers the keys its outputs stand for. A renamed value keeps its probability, merged ones add
    up (multi-label: the largest counts, since they are no alternatives), retired ones are dropped and the rest is
    rescaled. The heirs of one that was split share its probability alike (multi-label: each has it). A value that the
    branch never learnt has probability 0.
    """
    if tuple(keys) == labels.keys:
        return probabilities
    out = np.zeros((len(probabilities), labels.size), dtype=np.float32)
    today = heirs(keys, labels)
    for k, columns in enumerate(today):
        for c in columns:
            if not labels.exclusive:
                np.maximum(out[:, c], probabilities[:, k], out=out[:, c])
            else:
                out[:, c] += probabilities[:, k] / len(columns)
    if labels.exclusive and not all(today):  # else they add up already, and a rename changes no bit
        total = out.sum(axis=1, keepdims=True)
        np.divide(out, total, out=out, where=total > 0)
    return out


# -- several pictures of a product -----------------------------------------------------------------


def pool(labels: Labels, probabilities: Floats, product: Ints) -> Floats:
    """Return the probabilities (M, C) of products, from the calibrated ones (N, C) of their pictures.

    `product` (N,) says whose picture each is: 0..M-1, ascending, none left out. The probabilities of a single picture
    stay as they are. A picture weighs as much as it says: one minus its entropy, since one that does not show the
    attribute is not sure of it.

    Single-label and ordinal: the weighted mean of the logarithms, sharpened by the fourth root of the number of
    pictures that speak. Multi-label: the mean of two readings of what a value of a product is, that all its
    pictures show it (the weighted mean of log-odds) or that one does (the largest).
    """
    first = np.flatnonzero(np.diff(product, prepend=-1))  # (M,) where each product's pictures begin
    clipped = np.clip(probabilities.astype(np.float64), _TINY, 1 - _TINY)  # (N, C)
    if labels.exclusive:
        entropy = -(clipped * np.log(clipped)).sum(axis=1, keepdims=True) / np.log(clipped.shape[1])
        weight = np.maximum(1 - entropy, _TINY)  # (N, 1)
        total, squares = np.add.reduceat(weight, first), np.add.reduceat(weight**2, first)  # (M, 1)
        logs = np.add.reduceat(weight * np.log(clipped), first) / total * (total**2 / squares) ** _AGREEMENT
        shares = np.exp(logs - logs.max(axis=1, keepdims=True))
        pooled = shares / shares.sum(axis=1, keepdims=True)
    else:
        log_odds = np.log(clipped) - np.log1p(-clipped)
        entropy = -(clipped * np.log(clipped) + (1 - clipped) * np.log1p(-clipped)) / np.log(2)
        weight = np.maximum(1 - entropy, _TINY)  # (N, C)
        in_all = np.add.reduceat(weight * log_odds, first) / np.add.reduceat(weight, first)
        pooled = (1 / (1 + np.exp(-in_all)) + np.maximum.reduceat(clipped, first)) / 2
    alone = np.diff(first, append=len(product)) == 1
    pooled[alone] = probabilities[first[alone]]
    return np.asarray(pooled, dtype=np.float32)


def shown_by(labels: Labels, said: npt.NDArray[np.bool_], probabilities: Floats) -> int:
    """Return which of the pictures with `probabilities` (N, C) shows the answer `said` (C,) best."""
    if not labels.exclusive:
        return int(np.where(said, probabilities, 1 - probabilities).prod(axis=1).argmax())
    return int(probabilities[:, said].sum(axis=1).argmax())


def contradiction(answers: Answers, cut: float | None, said: npt.NDArray[np.bool_]) -> tuple[int, int] | None:
    """Return two pictures of a product that are sure of different answers, by position, None if none are.

    `answers` are those of its pictures by themselves, sure at `cut` or more; `said` (C,) is the product's. The first is
    the surest picture, of those that say what the product does if there are any; the second contradicts it.
    """
    if cut is None:
        return None
    sure = np.flatnonzero(answers.confidence >= cut)
    if len(sure) < 2:
        return None
    differs = (answers.said[sure] != said).any(axis=1)
    by_confidence = sure[np.lexsort((-answers.confidence[sure], differs))]
    first = int(by_confidence[0])
    others = by_confidence[(answers.said[by_confidence] != answers.said[first]).any(axis=1)]
    return (first, int(others[0])) if len(others) else None
