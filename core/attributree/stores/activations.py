"""The activation store: what frozen layers make of every photo, computed once, float16."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..nn import Trunk
from .bound import Room
from .pixels import TRANSFORM, PixelStore
from .records import RecordStore

_BATCH = 64


class ActivationStore(RecordStore):
    """Features, (C, H, W) at the branch point or (C, 1, 1) averaged above it, keyed by the SHA-256 of the photo's file.

    `key` names the weights that made them: the trunk's digest, or what `top_key` returns. With the transform and the
    size it names the folder, so features of other weights are never mistaken for these. `mirrored` stores hold the
    features of the mirror image.
    """

    def __init__(
        self,
        cache: Path,
        key: str,
        size: int,
        shape: tuple[int, ...],
        *,
        mirrored: bool = False,
        pooled: bool = False,
        room: Room | None = None,
    ) -> None:
        name = f"{key[:16]}-{TRANSFORM}-{size}" + ("-pooled" if pooled else "") + ("-mirrored" if mirrored else "")
        super().__init__(cache / "activations" / name, shape, np.float16, room=room)
        self.mirrored = mirrored

    def fill(
        self,
        trunk: Trunk,
        pixels: PixelStore,
        digests: Sequence[str],
        device: torch.device,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Compute the trunk's features of what is missing of `digests`; their pixels must be stored."""
        trunk.eval()

        def compute(photos: Tensor) -> Tensor:  # (B, S, S, 3)
            features: Tensor = trunk(photos.flip(2) if self.mirrored else photos)
            return features

        self._fill(compute, pixels, digests, device, progress)

    def fill_pooled(
        self,
        units: Mapping[str, nn.Module],
        features: ActivationStore,
        digests: Sequence[str],
        device: torch.device,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Compute what `units` make of the stored `features`, averaged over the map, where it is missing."""
        stack = nn.Sequential(*units.values()).to(device).eval()

        def compute(features: Tensor) -> Tensor:  # (B, C, H, W)
            top: Tensor = stack(features.float())
            return top.mean(dim=(2, 3), keepdim=True).half()

        self._fill(compute, features, digests, device, progress)

    def _fill(
        self,
        compute: Callable[[Tensor], Tensor],
        source: RecordStore,
        digests: Sequence[str],
        device: torch.device,
        progress: Callable[[int], None] | None,
    ) -> None:
        unique = list(dict.fromkeys(digests))
        todo = [digest for digest in unique if digest not in self]
        self.reserve(len(todo))
        if progress and len(todo) < len(unique):
            progress(len(unique) - len(todo))
        for start in range(0, len(todo), _BATCH):
            keys = todo[start : start + _BATCH]
            with torch.inference_mode():
                block: npt.NDArray[Any] = np.ascontiguousarray(source.read(keys))
                out = compute(torch.from_numpy(block).to(device)).cpu()
            if not bool(torch.isfinite(out).all()):
                raise ArtifactError(
                    f"{self.folder.name}: features are not finite, or too large for float16; see trunk -> weights"
                )
            self.append(keys, out.numpy())
            if progress:
                progress(len(keys))


def top_key(trunk_digest: str, unit_digests: Sequence[str]) -> str:
    """Return the SHA-256 that names what units of these digests make of that trunk's features."""
    return hashlib.sha256("\n".join((trunk_digest, *unit_digests)).encode()).hexdigest()
