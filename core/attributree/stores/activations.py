"""The activation store: the trunk's features of every photo, computed once, float16."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from ..nn import Trunk
from .pixels import TRANSFORM, PixelStore
from .records import RecordStore

_BATCH = 64


class ActivationStore(RecordStore):
    """Features at the branch point (C, H, W), keyed by the SHA-256 of the photo's file.

    `mirrored` stores hold the features of the mirror image. The folder is named by trunk digest and transform,
    so features of another trunk are never mistaken for these.
    """

    def __init__(
        self, cache: Path, trunk_digest: str, size: int, shape: tuple[int, int, int], *, mirrored: bool = False
    ) -> None:
        name = f"{trunk_digest[:16]}-{TRANSFORM}-{size}" + ("-mirrored" if mirrored else "")
        super().__init__(cache / "activations" / name, shape, np.float16)
        self.mirrored = mirrored

    def fill(
        self,
        trunk: Trunk,
        pixels: PixelStore,
        digests: Sequence[str],
        device: torch.device,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Compute what is missing of `digests`; their pixels must be stored."""
        unique = list(dict.fromkeys(digests))
        todo = [digest for digest in unique if digest not in self]
        if progress and len(todo) < len(unique):
            progress(len(unique) - len(todo))
        trunk.eval()
        for start in range(0, len(todo), _BATCH):
            keys = todo[start : start + _BATCH]
            photos = torch.from_numpy(np.ascontiguousarray(pixels.read(keys))).to(device)  # (B, S, S, 3)
            with torch.inference_mode():
                features = trunk(photos.flip(2) if self.mirrored else photos)  # (B, C, H, W)
            self.append(keys, features.cpu().numpy())
            if progress:
                progress(len(keys))
