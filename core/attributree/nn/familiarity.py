"""Familiarity: how unlike the pictures that a branch learnt from another picture is.

A classifier is as sure of pictures from elsewhere as of its own kind. What gives them away is what the learnt ones do
not vary in: their features lie off the subspace that the learnt features span. The residual after projection on the
principal components is the novelty here, as in Ndiour et al., "Out-of-Distribution Detection with Subspace Techniques
and Probabilistic Modeling of Features" (2020), and in Wang et al., "ViM" (CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..label_set import turns_of

#: The share of pictures like the learnt ones that may be called unlike them.
UNLIKE = 0.02
#: The cut lies at most so far above the usual residuals, in robust deviations of their logarithm: one in a hundred of a
#: normal distribution lies further. A few learnt pictures of another kind would else set the cut for all of that kind.
REACH = 2.33
#: Components at most, and at most a third of the features and a quarter of the pictures.
COMPONENTS = 64
#: Pictures are held out in so many turns, to see how novel new ones of the same kind are.
TURNS = 5
#: Under so many pictures nothing is said: the share above could not be told.
LEAST = 100
#: Features that hardly vary are not blown up: the least deviation that they are divided by.
_FLAT = 1e-3
_LEAST_RESIDUAL = 1e-12
#: A normal distribution's deviation, in median absolute deviations.
_NORMAL = 1.4826


@dataclass(frozen=True, eq=False)
class Familiarity:
    """What the learnt pictures' features (F,) vary in: `mean`, `deviation` (F,) and `components` (k, F).

    `cut` is the residual, a mean square of standardised features, above which a picture is unlike them.
    """

    mean: Tensor
    deviation: Tensor
    components: Tensor
    cut: Tensor

    @classmethod
    def of(cls, features: Tensor, groups: npt.NDArray[np.int64], seed: int) -> Self | None:
        """Return the familiarity of pictures by their `features` (N, F); None if they are too few.

        The cut is where UNLIKE of them lie above it, each held out with the others of its group (N,), a product, and at
        most REACH.
        """
        if len(features) < LEAST:
            return None
        features = features.float()
        turns = torch.from_numpy(turns_of(groups, TURNS, seed))
        residuals = [
            cls._spanned(features[turns != turn])._residual(features[turns == turn])
            for turn in range(TURNS)
            if bool((turns == turn).any()) and int((turns != turn).sum()) > 1
        ]
        if not residuals:
            return None
        logs = torch.cat(residuals).clamp(min=_LEAST_RESIDUAL).log()
        middle, cut = logs.median(), logs.quantile(1 - UNLIKE)
        spread = _NORMAL * (logs - middle).abs().median()
        if float(spread) > 0:
            cut = torch.minimum(cut, middle + REACH * spread)
        whole = cls._spanned(features)
        return cls(whole.mean, whole.deviation, whole.components, cut.exp())

    @classmethod
    def _spanned(cls, features: Tensor) -> Self:
        mean, deviation = features.mean(dim=0), features.std(dim=0).clamp(min=_FLAT)
        count = max(1, min(COMPONENTS, features.shape[1] // 3, len(features) // 4))
        _, _, components = torch.linalg.svd((features - mean) / deviation, full_matrices=False)
        return cls(mean, deviation, components[:count].contiguous(), torch.ones(()))

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """Return what `weights` stored."""
        return cls(**weights)

    def weights(self) -> dict[str, Tensor]:
        """Return what is stored, by name."""
        return {name: getattr(self, name).cpu() for name in ("mean", "deviation", "components", "cut")}

    def novelty(self, features: Tensor) -> Tensor:
        """Return how novel pictures are by their features (B, F): (B,), above 1 if unlike the learnt ones."""
        return self._residual(features.float().cpu()) / self.cut

    def _residual(self, features: Tensor) -> Tensor:
        standard = (features - self.mean) / self.deviation
        inside = standard @ self.components.T
        return (standard.square().sum(dim=1) - inside.square().sum(dim=1)).clamp(min=0) / standard.shape[1]
