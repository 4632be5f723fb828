"""The trunk: the shared lower part of a timm backbone, and the upper part that branches copy."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

import timm
import torch
from torch import Tensor, nn

from ..errors import TrunkError
from ..heads import spatial_pyramid
from .weights import read_weights, standard_names

#: `weights` that are not a path.
HUB, RANDOM = "hub", "random"

#: What a branch may read of a trunk: its maps (B, C, H, W) at the branch point, or its pyramid (B, P), see `Trunk`.
Reads = Literal["maps", "pyramid"]
MAPS: Final[Reads] = "maps"
PYRAMID: Final[Reads] = "pyramid"
#: What a trunk made of a batch, by what was asked for.
Features = Mapping[Reads, Tensor]

#: The cells of the pyramid: the whole map and nine parts of it. Stored heads read these; another choice needs another
#: name for the head that reads it.
_GRIDS = ((1, 1), (3, 3))


@dataclass(frozen=True)
class TrunkSpec:
    """What a trunk is made of: `image_size` in pixels, `weights` one of hub, random or a safetensors path."""

    backbone: str = "resnet34"
    branch_at: str = "layer4"
    image_size: int = 224
    weights: str = HUB


class Trunk(nn.Module):
    """Everything below the branch point: (B, S, S, 3) uint8 pixels to (B, C, H, W) float16 features.

    `stages` names the units that end a stage. What they make, averaged and maximised over the cells of two grids, is
    the pyramid, (B, P) float16: what the lower stages saw, at little cost in space.

    The rounding to float16 belongs to the model: features that are read from the activation store and
    features that are computed now are the same numbers, so cached training, evaluation and prediction
    agree. While the trunk itself is trained it hands on float32.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        units: Mapping[str, nn.Module],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        stages: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.stages = frozenset(stages)
        self.units = nn.Sequential(OrderedDict(units))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.features(pixels, (MAPS,))[MAPS]

    def features(self, pixels: Tensor, reads: Collection[Reads] = (MAPS, PYRAMID)) -> dict[Reads, Tensor]:
        """Return what `reads` asks for of (B, S, S, 3) uint8 pixels."""
        images = pixels.permute(0, 3, 1, 2).float() / 255.0  # (B, 3, S, S)
        maps, cells = (images - self.mean) / self.std, []
        for name, unit in self.units.named_children():
            maps = unit(maps)
            if PYRAMID in reads and name in self.stages:
                cells.append(spatial_pyramid(maps, _GRIDS))
        found: dict[Reads, Tensor] = {MAPS: maps} if MAPS in reads else {}  # (B, C, H, W)
        if PYRAMID in reads:
            found[PYRAMID] = torch.cat(cells, dim=1)  # (B, P)
        return found if self.training else {what: tensor.half() for what, tensor in found.items()}


@dataclass(frozen=True, eq=False)
class Backbone:
    """A backbone split at the branch point.

    `upper` maps the names of the units that a branch owns (blocks of the upper stages, in order) to
    modules with their initial weights; `out_channels` is the width of the features above them.
    """

    spec: TrunkSpec
    trunk: Trunk
    upper: dict[str, nn.Module]
    feature_shape: tuple[int, int, int]  # (C, H, W) at the branch point
    pyramid_features: int
    out_channels: int

    def width(self, units: int) -> int:
        """Return how many features the head of a branch of so many `units`, none or all of them, sees."""
        return self.out_channels if units else self.feature_shape[0]

    def shape(self, reads: Reads) -> tuple[int, ...]:
        """Return the shape of what a branch reads of one image."""
        return (self.pyramid_features,) if reads == PYRAMID else self.feature_shape

    def state(self) -> dict[str, Tensor]:
        """Return the weights of both halves under timm's names, as a file has them that `weights` may name."""
        own = dict(self.trunk.units.state_dict())
        for name, unit in self.upper.items():
            own |= {f"{name}.{key}": tensor for key, tensor in unit.state_dict().items()}
        names = standard_names(self.spec.backbone, own)
        return {names[key]: tensor.detach().cpu() for key, tensor in own.items()}


def build_backbone(spec: TrunkSpec, *, load_weights: bool = True) -> Backbone:
    """Return the backbone of `spec`, split at `spec.branch_at`, in evaluation mode.

    `load_weights=False` builds the architecture alone (weights of a stored tree follow). Raises TrunkError
    if timm does not know the backbone, it is not a plain sequence of stages, or its weights do not fit.
    """
    # Convolutions run up to half as fast again with their channels last, on CPUs and GPUs; the numbers are the same.
    model = _create(spec, load_weights).to(memory_format=torch.channels_last)
    units = _units(model)
    wanted = spec.branch_at.replace(".", "_")
    first = next((i for i, name in enumerate(units) if name == wanted or name.startswith(f"{wanted}_")), None)
    if not first:
        known = ", ".join(_stages(model, units)[1:])
        raise TrunkError(
            f"trunk -> branch_at: {spec.backbone} has no stage {spec.branch_at!r} above its first; it has {known}"
        )
    names = list(units)
    config = timm.get_pretrained_cfg(spec.backbone)
    mean, std = (config.mean, config.std) if config else ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    lower = names[:first]
    trunk = Trunk({name: units[name] for name in lower}, mean, std, _ends(model, lower)).eval()
    upper = {name: units[name] for name in names[first:]}
    for module in nn.ModuleList(upper.values()).modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]  # several branches read the same features: none may write into them
    return _checked(spec, model, trunk, upper)


def _create(spec: TrunkSpec, load_weights: bool) -> nn.Module:
    """Return timm's feature network for `spec`, with weights if asked."""
    if not timm.is_model(spec.backbone):
        close = ", ".join(get_close_matches(spec.backbone, timm.list_models(), n=5))
        raise TrunkError(f"trunk -> backbone: timm has no {spec.backbone!r}" + (f"; near it: {close}" if close else ""))
    from_hub = load_weights and spec.weights == HUB
    try:
        model: nn.Module = timm.create_model(spec.backbone, features_only=True, pretrained=from_hub)
    except Exception as error:
        if not from_hub:
            raise TrunkError(f"trunk -> backbone: {spec.backbone} cannot be split into stages: {error}") from error
        ways = f"give a local file (trunk -> weights = 'PATH.safetensors') or train from weights = {RANDOM!r}"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise TrunkError(f"trunk -> weights: {spec.weights!r} could not be loaded ({reason[:120]}); {ways}") from error
    if len(list(model.children())) < 2:
        raise TrunkError(
            f"trunk -> backbone: {spec.backbone} is no sequence of stages that could be cut; transformers are none. "
            "Take a convolutional network, such as resnet34, regnetx_002 or convnext_atto"
        )
    if load_weights and spec.weights not in (HUB, RANDOM):
        model.load_state_dict(read_weights(Path(spec.weights), spec.backbone, model.state_dict()))
    return model.eval()


def _units(model: nn.Module) -> dict[str, nn.Module]:
    """Return the sequence of modules that makes the features, stages taken apart into their blocks.

    Their names have `_` in place of dots.
    """
    units: dict[str, nn.Module] = {}
    for name, child in model.named_children():
        if isinstance(child, nn.Sequential) and len(child):
            units |= {f"{name}_{inner}": block for inner, block in child.named_children()}
        else:
            units[name] = child
    return units


def _stage_names(model: nn.Module) -> list[str]:
    info: Any = model.feature_info
    return [name.replace(".", "_") for name in info.module_name()]


def _stages(model: nn.Module, units: Mapping[str, nn.Module]) -> list[str]:
    """Return the names that a branch may begin at: stages where timm has them, units elsewhere."""
    stages = _stage_names(model)
    above = {name: name.rpartition("_")[0] for name in units}
    return list(dict.fromkeys(above[name] if above[name] in stages else name for name in units))


def _ends(model: nn.Module, names: Sequence[str]) -> set[str]:
    """Return those of the units `names` that end one of timm's stages, the stem among them, and the last unit."""
    last = {
        stage: name for stage in _stage_names(model) for name in names if name == stage or name.startswith(f"{stage}_")
    }
    return {*last.values(), names[-1]}


@torch.no_grad()
def _checked(spec: TrunkSpec, model: nn.Module, trunk: Trunk, upper: dict[str, nn.Module]) -> Backbone:
    """Run a picture through both halves and through the whole; return the backbone if they agree."""
    random = torch.Generator().manual_seed(0)
    size = spec.image_size
    pixels = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8, generator=random)
    images = (pixels.permute(0, 3, 1, 2).float() / 255.0 - trunk.mean) / trunk.std  # (1, 3, S, S)
    try:
        whole = model(images)[-1]  # (1, C, H, W)
    except Exception as error:
        raise TrunkError(f"trunk -> image_size: {spec.backbone} cannot read images of {size} px: {error}") from error
    info: Any = model.feature_info
    if whole.ndim != 4 or whole.shape[1] != info.channels()[-1]:
        raise TrunkError(
            f"trunk -> backbone: {spec.backbone} does not make maps of (channels, height, width), as convolutional "
            "networks such as resnet34, regnetx_002 or convnext_atto do"
        )
    try:
        features = trunk.features(pixels)
        maps = top = trunk.units(images)  # (1, C, H, W)
        for unit in upper.values():
            top = unit(top)
    except Exception as error:
        raise TrunkError(f"trunk: {spec.backbone} is not a plain sequence of stages: {error}") from error
    if top.shape != whole.shape or not torch.allclose(top, whole, rtol=1e-3, atol=1e-3):
        raise TrunkError(f"trunk: {spec.backbone} cannot be cut at {spec.branch_at!r}: its stages are not a sequence")
    channels, height, width = maps.shape[1:]
    return Backbone(spec, trunk, upper, (channels, height, width), features[PYRAMID].shape[1], top.shape[1])
