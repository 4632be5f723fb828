"""Top features: what a head sees, averaged over the map, computed once for each donor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from .data import Samples, scratch
from .donors import Donor

_BATCH = 128


class Tops(Protocol):
    """Where the top features of a donor's frozen units come from."""

    def pooled(self, donor: Donor, samples: Samples) -> Samples:
        """Return `samples` of trunk features as samples of the donor's, averaged over the map: (F, 1, 1), float16."""


class ScratchTops:
    """Computes top features where they are asked for, into scratch space."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def pooled(self, donor: Donor, samples: Samples) -> Samples:
        """Return `samples` as samples of the donor's top features; see `Tops`."""
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
