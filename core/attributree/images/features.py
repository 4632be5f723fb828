"""The activation store: what frozen layers make of every photo, computed once, float16."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..errors import ArtifactError
from ..nn.trunk import MAPS, Reads, Trunk
from .array_store import RecordStore
from .cache import Room
from .pixels import TRANSFORM, PixelStore

_BATCH = 64
_What = TypeVar("_What", bound=Hashable)


class ActivationStore(RecordStore):
    """What frozen layers make of photos, keyed by the SHA-256 of the photo's file.

    By `kind`: the trunk's maps (C, H, W) or tokens (T, D) at the branch point, its pyramid (P,), or maps above it
    averaged, "pooled", (C, 1, 1). `key` names the weights that made them and how their images were prepared:
    `Transform.key` of the trunk's digest, or what `top_key` makes of that. With the size it names the folder, so
    features of other weights are never mistaken for these. `mirrored` stores hold
    the features of the mirror image.
    """

    def __init__(
        self,
        cache: Path,
        key: str,
        size: int,
        shape: tuple[int, ...],
        *,
        mirrored: bool = False,
        kind: Reads | Literal["pooled"] = MAPS,
        room: Room | None = None,
    ) -> None:
        words = (key[:16], TRANSFORM, str(size), "" if kind == MAPS else kind, "mirrored" if mirrored else "")
        super().__init__(cache / "activations" / "-".join(filter(None, words)), shape, np.float16, room=room)
        self.mirrored = mirrored

    def fill_pooled(
        self,
        units: Mapping[str, nn.Module],
        features: ActivationStore,
        digests: Sequence[str],
        device: torch.device,
    ) -> None:
        """Compute what `units` make of the stored `features`, averaged over the map, where it is missing."""
        stack = nn.Sequential(*units.values()).to(device).eval()

        def compute(features: Tensor) -> dict[str, Tensor]:  # (B, C, H, W)
            top: Tensor = stack(features.float())
            return {"pooled": top.mean(dim=(2, 3), keepdim=True).half()}

        _fill({"pooled": self}, compute, features, digests, device)


def fill_features(
    stores: Mapping[Reads, ActivationStore],
    trunk: Trunk,
    pixels: PixelStore,
    digests: Sequence[str],
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Compute the trunk's features of what is missing of `digests` in any of `stores`, in one pass.

    Their pixels must be stored; the stores are all of mirror images, or none is.
    """
    trunk.eval()
    mirrored = any(store.mirrored for store in stores.values())

    def compute(photos: Tensor) -> dict[Reads, Tensor]:  # (B, S, S, 3)
        return trunk.features(photos.flip(2) if mirrored else photos, stores.keys())

    _fill(stores, compute, pixels, digests, device, progress)


def _fill(
    stores: Mapping[_What, ActivationStore],
    compute: Callable[[Tensor], Mapping[_What, Tensor]],
    source: RecordStore,
    digests: Sequence[str],
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> None:
    unique = list(dict.fromkeys(digests))
    todo = [digest for digest in unique if any(digest not in store for store in stores.values())]
    for store in stores.values():
        store.reserve(sum(digest not in store for digest in todo))
    if progress and len(todo) < len(unique):
        progress(len(unique) - len(todo))
    for start in range(0, len(todo), _BATCH):
        keys = todo[start : start + _BATCH]
        with torch.inference_mode():
            block: npt.NDArray[Any] = np.ascontiguousarray(source.read(keys))
            made = compute(torch.from_numpy(block).to(device))
        for what, store in stores.items():
            out = made[what].cpu()
            if not bool(torch.isfinite(out).all()):
                raise ArtifactError(
                    f"{store.folder.name}: features are not finite, or too large for float16; see trunk -> weights"
                )
            store.append(keys, out.numpy())
        if progress:
            progress(len(keys))


def top_key(key: str, unit_digests: Sequence[str]) -> str:
    """Return the SHA-256 that names what units of these digests make of the features that `key` names."""
    return hashlib.sha256("\n".join((key, *unit_digests)).encode()).hexdigest()
