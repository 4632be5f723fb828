"""Donors' top features out of the activation store: computed once an image, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..images.cache import Bound
from ..images.features import ActivationStore, top_key
from ..nn import MAPS, Reads
from ..training import Donor, Samples, ScratchTops


@dataclass(frozen=True, eq=False)
class StoredTops:
    """Top features over one trunk. `digests` names each image's file; `shapes` are those of trunk and top features."""

    bound: Bound
    trunk: str
    size: int
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    digests: Mapping[int, str]
    device: torch.device

    def pooled(self, donor: Donor, samples: Samples) -> Samples:
        """Return `samples` as samples of the donor's top features; see `training.Tops`."""
        if not donor.digests:
            return ScratchTops(self.device).pooled(donor, samples)
        keys = [self.digests[i] for i in samples.labels.image_ids.tolist()]
        inputs, rows = [], []
        for view in range(len(samples.inputs)):
            below = self._store(self.trunk, view, self.shapes[0], MAPS)
            store = self._store(top_key(self.trunk, donor.digests), view, self.shapes[1], "pooled")
            store.fill_pooled(donor.units, below, keys, self.device)
            inputs.append(store.records())
            rows.append(store.rows(keys))
        return Samples(tuple(inputs), np.stack(rows, axis=1), samples.labels)

    def _store(self, key: str, view: int, shape: tuple[int, ...], kind: Reads | Literal["pooled"]) -> ActivationStore:
        cache: Path = self.bound.cache
        return ActivationStore(cache, key, self.size, shape, mirrored=view == 1, kind=kind, room=self.bound)
