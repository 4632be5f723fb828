"""How a photo becomes what a backbone reads: fitted into a square, resampled, standardised. Never torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from ..errors import TrunkError

Three = tuple[float, float, float]

IMAGENET_MEAN: Final[Three] = (0.485, 0.456, 0.406)
IMAGENET_STD: Final[Three] = (0.229, 0.224, 0.225)
BICUBIC: Final = "bicubic"
#: The ways to resample that a backbone may ask for, as Pillow calls them.
INTERPOLATIONS: Final = ("nearest", "bilinear", BICUBIC, "lanczos", "box", "hamming")


@dataclass(frozen=True)
class Transform:
    """Padded with white to a square of `size` pixels, resampled by `interpolation`, then (RGB in 0..1 - mean) / std.

    Never cropped, whatever a backbone was evaluated with: what attributes are seen by stands at the edges as well.
    """

    size: int
    interpolation: str = BICUBIC
    mean: Three = IMAGENET_MEAN
    std: Three = IMAGENET_STD

    @classmethod
    def of(cls, size: int, *sources: Mapping[str, Any]) -> Self:
        """Return the transform of the first of `sources` that says each part; the default of what none says.

        Raises TrunkError for a way to resample that Pillow has not.
        """
        said: dict[str, Any] = {}
        for part in ("interpolation", "mean", "std"):
            found = next((source[part] for source in sources if source.get(part) is not None), None)
            if found is not None:
                said[part] = found if part == "interpolation" else tuple(map(float, found))
        made = cls(size, **said)
        if made.interpolation not in INTERPOLATIONS:
            raise TrunkError(
                f"trunk -> weights: images were resampled by {made.interpolation!r}, which Pillow has not; it has "
                f"{', '.join(INTERPOLATIONS)}"
            )
        return made

    def to_json(self) -> str:
        """Return how images are prepared, without their size, as a weights file says it in its metadata."""
        return json.dumps({"interpolation": self.interpolation, "mean": self.mean, "std": self.std})

    def key(self, digest: str) -> str:
        """Return what names the features that weights of that SHA-256 make of images prepared so.

        It is the digest itself for ImageNet's mean and deviation and bicubic resampling: so were the features named
        before a transform could be another.
        """
        if (self.interpolation, self.mean, self.std) == (BICUBIC, IMAGENET_MEAN, IMAGENET_STD):
            return digest
        said = f"{digest} {self.interpolation} {self.mean} {self.std}"
        return hashlib.sha256(said.encode()).hexdigest()
