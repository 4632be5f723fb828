"""The trunk: the shared lower part of a timm backbone, and the upper part that branches copy."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import Any, Final, Literal, Self

import torch
from torch import Tensor, nn

from ..errors import TrunkError
from ..heads import spatial_pyramid
from ..plugins import LoadedPlugins
from ..settings.models import AUTO, EXIT, NETWORK
from . import tokens
from .cut import Cut, Load, cut, said
from .sources import HUB, RANDOM, Source, find_weights, prepared_as_timm_has_it
from .tokens import TokenGrid
from .transform import BICUBIC, Three, Transform
from .weights import Fit, standard_names

#: What may be read of a trunk: its maps (B, C, H, W) at the branch point, its pyramid (B, P), see `Trunk`, or a
#: transformer's tokens (B, T, D) at the branch point, which its upper units take instead of maps. A branch with a trunk
#: of its own reads what is below the shared one: the pixels (B, S, S, 3).
Reads = Literal["maps", "pyramid", "tokens", "pixels"]
MAPS: Final[Reads] = "maps"
PYRAMID: Final[Reads] = "pyramid"
TOKENS: Final[Reads] = "tokens"
PIXELS: Final[Reads] = "pixels"
#: What a trunk made of a batch, by what was asked for.
Features = Mapping[Reads, Tensor]

#: What a trunk is called that is a branch's own first unit.
OWN: Final = "trunk"

#: The cells of the pyramid: the whole map and nine parts of it. Stored heads read these; another choice needs another
#: name for the head that reads it.
_GRIDS = ((1, 1), (3, 3))


def read_by(units: Iterable[nn.Module]) -> Reads:
    """Return what the first of a branch's units reads of the trunk; without units, what a head reads: maps."""
    first = next(iter(units), None)
    if isinstance(first, Trunk):
        return PIXELS
    return TOKENS if getattr(first, "tokens", False) else MAPS


@dataclass(frozen=True)
class TrunkSpec:
    """What a trunk is made of: `image_size` in pixels; `weights` as settings name them.

    What settings do not say is None until the backbone was built: how its images are prepared, `last_stage`, which is
    what `branch_at = "auto"` means for it, and `origin`, which weights they were.
    """

    backbone: str = "resnet34"
    branch_at: str = AUTO
    image_size: int = 224
    weights: str = HUB
    last_stage: str | None = None
    interpolation: str | None = None
    mean: Three | None = None
    std: Three | None = None
    origin: str | None = None

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> Self:
        """Return the spec of a stored trunk; one that does not say how images were resampled is of the bicubic time."""
        known = {field.name: record[field.name] for field in fields(cls) if field.name in record}
        known |= {part: tuple(known[part]) for part in ("mean", "std") if known.get(part)}
        return cls(**{"interpolation": BICUBIC, **known})


class Trunk(nn.Module):
    """Everything below the branch point: (B, S, S, 3) uint8 pixels to float16 features, (B, C, H, W) or (B, T, D).

    `stages` names the units that end a stage. What they make, averaged and maximised over the cells of two grids, is
    the pyramid, (B, P) float16: what the lower stages saw, at little cost in space. `grid` says how a transformer's
    tokens lie; then the maps are its patches, and the class token of each stage is in the pyramid too.

    The rounding to float16 belongs to the model: features that are read from the activation store and
    features that are computed now are the same numbers, so cached training, evaluation and prediction
    agree. While the trunk itself is trained it does not round.

    A branch may own a trunk, as its first unit (`own_trunk`): `gives` is what that hands on, None for a shared one.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        units: Mapping[str, nn.Module],
        mean: tuple[float, ...],
        std: tuple[float, ...],
        stages: Iterable[str] = (),
        grid: TokenGrid | None = None,
    ) -> None:
        super().__init__()
        self.stages = frozenset(stages)
        self.grid = grid
        self.gives: Reads | None = None
        self.units = nn.Sequential(OrderedDict(units))
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    @property
    def below(self) -> Reads:
        """What upper units read of this trunk."""
        return TOKENS if self.grid else MAPS

    def forward(self, pixels: Tensor) -> Tensor:
        """Return what upper units read of (B, S, S, 3) uint8 pixels; a branch's own trunk, what it `gives`, float32."""
        if self.gives is None:
            return self.features(pixels, (self.below,))[self.below]
        return self.features(pixels, (self.gives,))[self.gives].float()

    def features(self, pixels: Tensor, reads: Collection[Reads] = (MAPS, PYRAMID)) -> dict[Reads, Tensor]:
        """Return what `reads` asks for of (B, S, S, 3) uint8 pixels."""
        untouched: dict[Reads, Tensor] = {PIXELS: pixels} if PIXELS in reads else {}
        if untouched.keys() == set(reads):
            return untouched
        images = pixels.permute(0, 3, 1, 2).float() / 255.0  # (B, 3, S, S)
        top, cells = (images - self.mean) / self.std, []
        for name, unit in self.units.named_children():
            top = unit(top)  # (B, C, H, W), or tokens (B, T, D)
            if PYRAMID in reads and name in self.stages:
                cells.append(self.grid.pyramid(top, _GRIDS) if self.grid else spatial_pyramid(top, _GRIDS))
        found: dict[Reads, Tensor] = {}
        if self.below in reads:
            found[self.below] = top
        if self.grid and MAPS in reads:
            found[MAPS] = self.grid.maps(top)  # (B, D, H, W)
        if PYRAMID in reads:
            found[PYRAMID] = torch.cat(cells, dim=1)  # (B, P)
        if not self.training:
            found = {what: tensor.half() for what, tensor in found.items()}
        return found | untouched


def own_trunk(trunk: Trunk, gives: Reads | None = None) -> Trunk:
    """Return a trunk of a branch's own, its first unit: a trainable copy; it `gives` what upper units read, or that."""
    own = copy.deepcopy(trunk).requires_grad_(True)
    own.gives = gives or trunk.below
    return own


@dataclass(frozen=True, eq=False)
class Backbone:
    """A backbone split at the branch point.

    `spec` says all of what it was made of. `upper` maps the names of the units that a branch owns (blocks of the upper
    stages, in order) to modules with their initial weights; `out_channels` is the width of the features above them.
    """

    spec: TrunkSpec
    trunk: Trunk
    upper: dict[str, nn.Module]
    shapes: Mapping[Reads, tuple[int, ...]]  # of what may be read of one image
    out_channels: int

    @property
    def transform(self) -> Transform:
        """How images are prepared for it."""
        return transform_of(self.spec)

    @property
    def pyramid_features(self) -> int:
        """The numbers P of the pyramid."""
        return self.shapes[PYRAMID][0]

    def overall(self, pyramid: Tensor) -> Tensor:
        """Return what of a pyramid (B, P) sums up the last map, its average and maximum: (B, 2 C)."""
        width, token = self.shapes[MAPS][0], bool(self.trunk.grid and self.trunk.grid.class_token)
        start = pyramid.shape[1] - (2 * sum(rows * columns for rows, columns in _GRIDS) + token) * width
        return pyramid[:, start : start + 2 * width]

    def units_of(self, depth: str) -> dict[str, nn.Module]:
        """Return the units that a branch of `depth` has, by name in order, with the weights that they have here."""
        if depth == EXIT:
            return {}
        return {OWN: own_trunk(self.trunk), **self.upper} if depth == NETWORK else self.upper

    def width(self, above: bool) -> int:
        """Return how many features a head sees: `above` the units of a branch, or on the trunk's maps."""
        return self.out_channels if above else self.shapes[MAPS][0]

    def state(self) -> dict[str, Tensor]:
        """Return the weights of both halves under timm's names, as a file has them that `weights` may name."""
        own = dict(self.trunk.units.state_dict())
        for name, unit in self.upper.items():
            own |= {f"{name}.{key}": tensor for key, tensor in unit.state_dict().items()}
        names = tokens.timm_names(own) if self.trunk.grid else standard_names(self.spec.backbone, own)
        return {names[key]: tensor.detach().cpu() for key, tensor in own.items()}


def build_backbone(spec: TrunkSpec, *, load_weights: bool = True, plugins: LoadedPlugins | None = None) -> Backbone:
    """Return the backbone of `spec`, split at `spec.branch_at`, in evaluation mode.

    `load_weights=False` builds the architecture alone (weights of a stored tree follow). `plugins` may offer the
    weights. Raises TrunkError if timm does not know the backbone, it cannot be cut, or its weights do not fit.
    """
    source = find_weights(spec.backbone, spec.weights, plugins) if load_weights else None
    prepared = transform_of(spec, source)
    mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (prepared.mean, prepared.std))
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (1, spec.image_size, spec.image_size, 3), dtype=torch.uint8, generator=random)
    images = (pixels.permute(0, 3, 1, 2).float() / 255.0 - mean) / std  # (1, 3, S, S)
    load: Load | None = None
    if source and source.read:
        load = partial(_load, partial(source.read, spec.backbone))
    from_hub = load_weights and spec.weights == HUB
    try:
        found = cut(spec.backbone, images, pretrained=from_hub, load=load)
    except TrunkError:
        raise
    except Exception as error:
        if not from_hub:
            raise
        raise TrunkError(_no_hub(error)) from error
    first = found.first(found.last if spec.branch_at == AUTO else spec.branch_at)
    if first is None:
        raise TrunkError(
            f"trunk -> branch_at: {spec.backbone} has no stage {spec.branch_at!r} above its first; it has "
            f'{", ".join(found.stages[1:])}; "auto" is {found.last}'
        )
    names = list(found.units)
    lower = names[:first]
    stages = {*found.ends.intersection(lower), lower[-1]}
    trunk = Trunk({name: found.units[name] for name in lower}, prepared.mean, prepared.std, stages, found.grid).eval()
    upper = {name: found.units[name] for name in names[first:]}
    for module in nn.ModuleList(upper.values()).modules():
        if hasattr(module, "inplace"):
            module.inplace = False  # type: ignore[assignment]  # several branches read the same features: none may write into them
    made = replace(
        spec,
        branch_at=found.last if spec.branch_at == AUTO else spec.branch_at,
        last_stage=found.last,
        interpolation=prepared.interpolation,
        mean=prepared.mean,
        std=prepared.std,
        origin=source.origin if source else spec.origin,
    )
    return _checked(made, found, trunk, upper, pixels)


def transform_of(spec: TrunkSpec, source: Source | None = None) -> Transform:
    """Return how images are prepared for a backbone: as its record, its weights, or else timm says."""
    return Transform.of(
        spec.image_size, asdict(spec), source.prepared if source else {}, prepared_as_timm_has_it(spec.backbone)
    )


def _load(read: Any, model: nn.Module, fit: Fit | None) -> None:
    model.load_state_dict(read(model.state_dict(), fit))


def _no_hub(error: Exception) -> str:
    """Return why the hub's weights cannot be had, and the ways out."""
    return (
        f"trunk -> weights: {HUB!r} could not be loaded ({said(error)}); name installed weights "
        "(`attributree weights list`), give a local file (trunk -> weights = 'PATH.safetensors'), or train from "
        f"weights = {RANDOM!r}"
    )


@torch.no_grad()
def _checked(spec: TrunkSpec, found: Cut, trunk: Trunk, upper: dict[str, nn.Module], pixels: Tensor) -> Backbone:
    """Run pixels (1, S, S, 3) through both halves; return the backbone if they make what the whole made of them."""
    try:
        reads = (MAPS, PYRAMID, TOKENS) if found.grid else (MAPS, PYRAMID)
        features = trunk.features(pixels, reads)
        top = trunk.units((pixels.permute(0, 3, 1, 2).float() / 255.0 - trunk.mean) / trunk.std)
        for unit in upper.values():
            top = unit(top)  # (1, F, H, W) at last
    except Exception as error:
        raise TrunkError(
            f"trunk -> backbone: {spec.backbone} is not a plain sequence of stages: {said(error)}"
        ) from error
    if top.shape != found.top.shape or not torch.allclose(top, found.top, rtol=1e-3, atol=1e-3):
        raise TrunkError(
            f"trunk -> backbone: {spec.backbone} cannot be cut at {spec.branch_at!r}: its stages are not a sequence"
        )
    shapes = {what: tuple(tensor.shape[1:]) for what, tensor in features.items()}
    return Backbone(spec, trunk, upper, shapes, top.shape[1])
