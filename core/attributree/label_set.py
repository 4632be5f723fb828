"""The supervision of one attribute as arrays: what the catalogue hands to training."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .schema import SPLITS, Attribute


@dataclass(frozen=True, eq=False)
class LabelSet:
    """Every image of the catalogue that says something about one attribute: N images, C values.

    `target` (N, C) float32. Single-label and ordinal: 1 for each candidate value, one if the image is labelled, several
    if it is ambiguous; where sources disagree, each value's share of their word, together 1. Multi-label: 1 present,
    0 absent, NaN not known, the share of the sources that name it if they disagree.
    Images for which the attribute is unknown or not applicable are not in here.
    """

    attribute: Attribute
    revision: int
    image_ids: npt.NDArray[np.int64]  # (N,), ascending
    split: npt.NDArray[np.int8]  # (N,), index into SPLITS
    target: npt.NDArray[np.float32]  # (N, C)
    ambiguous: npt.NDArray[np.bool_]  # (N,)
    weight: npt.NDArray[np.float32]  # (N,), > 0
    product_ids: npt.NDArray[np.int64] | None = None  # (N,); None if each image is a product of its own

    def __len__(self) -> int:
        return len(self.image_ids)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over schema digest, images, splits, targets and weights: names the training set."""
        digest = hashlib.sha256(self.attribute.digest.encode())
        for array in (self.image_ids, self.split, np.nan_to_num(self.target, nan=-1.0), self.ambiguous, self.weight):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def part(self, split: str, *, labelled_only: bool = False) -> LabelSet:
        """Return the images of one split, optionally without the ambiguous ones (as scores need them)."""
        rows = self.split == SPLITS.index(split)
        if labelled_only:
            rows &= ~self.ambiguous
        return self.take(rows)

    @property
    def products(self) -> npt.NDArray[np.int64]:
        """A number for each image (N,) that the images of its product have too."""
        return self.image_ids if self.product_ids is None else self.product_ids

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> LabelSet:
        """Return the label set of `rows`, a boolean mask or indices."""
        arrays = ("image_ids", "split", "target", "ambiguous", "weight", "product_ids")
        return replace(self, **{n: array[rows] for n in arrays if (array := getattr(self, n)) is not None})

    def different(self) -> int:
        """Return how many values any image may have, and one more if an image has none of them."""
        said = self.target > 0  # (N, C)
        return int(said.any(axis=0).sum()) + (not said.any(axis=1).all())

    def counts(self) -> dict[str, int]:
        """Return how many unambiguous images carry each value."""
        positive = np.nan_to_num(self.target[~self.ambiguous]).sum(axis=0)
        return {key: int(n) for key, n in zip(self.attribute.labels.keys, positive, strict=True)}


def turns_of(groups: npt.NDArray[np.int64], turns: int, seed: int) -> npt.NDArray[np.int64]:
    """Return in which of so many turns each image is held out, by the `groups` (N,) that are held out together."""
    names, of = np.unique(groups, return_inverse=True)
    drawn: npt.NDArray[np.int64] = np.random.default_rng(seed).permutation(len(names)) % turns
    return drawn[of]
