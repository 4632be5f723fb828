"""Timm's networks as sequences of units: what stages they have, and where a branch may begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import timm
import torch
from torch import Tensor, nn

from ..errors import TrunkError
from . import tokens
from .tokens import TokenGrid

#: Puts weights into a network: the network under timm's names, and what fits weights of another image size, or None.
Load = Callable[[nn.Module, Callable[[str, Tensor, tuple[int, ...]], Tensor | None] | None], None]


@dataclass(frozen=True, eq=False)
class Cut:
    """A network taken apart.

    `units` make its features one after the other, by name with `_` in place of dots. `stages` are the names that a
    branch may begin at, `last` where the last stage does, `ends` the units that end a stage. `top` (1, F, H, W) is what
    the whole network makes of the images that it was tried on; `grid` says how tokens lie, if it makes any.
    """

    units: dict[str, nn.Module]
    stages: list[str]
    last: str
    ends: frozenset[str]
    top: Tensor
    grid: TokenGrid | None = None

    def first(self, branch_at: str) -> int | None:
        """Return the number of the first unit of a branch that begins at `branch_at`; None if that is no place."""
        wanted = branch_at.replace(".", "_")
        names = enumerate(self.units)
        return next((i for i, name in names if name == wanted or name.startswith(f"{wanted}_")), None) or None


def architecture(backbone: str) -> str:
    """Return the name of a backbone without the tag of its weights: resnet34 for resnet34.a1_in1k."""
    return backbone.partition(".")[0]


@torch.no_grad()
def cut(backbone: str, images: Tensor, *, pretrained: bool, load: Load | None) -> Cut:
    """Return timm's `backbone` taken apart, in evaluation mode, tried on `images` (1, 3, S, S).

    `pretrained` has timm load its weights from the hub, `load` loads others. Raises TrunkError if timm does not know
    the backbone, or it is neither a plain sequence of stages nor a transformer of plain blocks; what timm raises while
    it fetches weights comes through.
    """
    if not timm.is_model(backbone):
        close = ", ".join(get_close_matches(backbone, timm.list_models(), n=5))
        raise TrunkError(f"trunk -> backbone: timm has no {backbone!r}" + (f"; near it: {close}" if close else ""))
    size = images.shape[-1]
    config = timm.get_pretrained_cfg(backbone)
    options = {"img_size": size} if config and config.fixed_input_size else {}
    if not options or _has_stages(backbone):
        model = _create(backbone, size, features_only=True, pretrained=pretrained, **options)
        if len(list(model.children())) > 1:
            return _sequence(backbone, _prepared(model, load), images)
    whole = _create(backbone, size, pretrained=pretrained, **options)
    return _transformer(backbone, _prepared(tokens.without_top(whole), load, tokens.resampled(whole)), images)


def _has_stages(backbone: str) -> bool:
    """Return whether timm takes a model of fixed size apart by itself, or only looks into it, as into transformers."""
    with suppress(NotImplementedError), torch.device("meta"):
        return len(list(timm.create_model(backbone, features_only=True).children())) > 1
    return True


def _create(backbone: str, size: int, *, pretrained: bool, **options: Any) -> nn.Module:
    """Return timm's model. What timm raises while it fetches weights comes through."""
    try:
        model: nn.Module = timm.create_model(backbone, pretrained=pretrained, **options)
    except Exception as error:
        if pretrained:
            raise
        if "img_size" in options:
            raise TrunkError(_unreadable(backbone, size, error)) from error
        raise TrunkError(f"trunk -> backbone: {backbone} cannot be split into stages: {said(error)}") from error
    return model


def _prepared(model: nn.Module, load: Load | None, fit: Any = None) -> nn.Module:
    if load:
        load(model, fit)
    # Convolutions run up to half as fast again with their channels last, on CPUs and GPUs; the numbers are the same.
    return model.eval().to(memory_format=torch.channels_last)


def said(error: Exception) -> str:
    """Return the first line of what an exception says, and no more than a line holds."""
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__


def _unreadable(backbone: str, size: int, error: Exception) -> str:
    return f"trunk -> image_size: {backbone} cannot read images of {size} px: {said(error)}"


# -- stages, one after the other -------------------------------------------------------------------


def _sequence(backbone: str, model: nn.Module, images: Tensor) -> Cut:
    info: Any = model.feature_info
    try:
        top = model(images)[-1]  # (1, C, H, W), or (1, H, W, C)
    except Exception as error:
        raise TrunkError(_unreadable(backbone, images.shape[-1], error)) from error
    units, channels = _units(model), info.channels()[-1]
    if top.ndim == 4 and top.shape[1] != channels and top.shape[3] == channels:
        top = _channels_first(top)
        _keep_channels_first(units)
    if top.ndim != 4 or top.shape[1] != channels or len(units) < 2:
        raise TrunkError(
            f"trunk -> backbone: {backbone} cannot be cut: its features are no maps of (channels, height, width)"
        )
    stage_of, ends = _stages(model, units), _ends(model, list(units))
    return Cut(units, list(dict.fromkeys(stage_of.values())), stage_of[last_stage(units, ends)], frozenset(ends), top)


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


def _stages(model: nn.Module, units: Mapping[str, nn.Module]) -> dict[str, str]:
    """Return what a branch that begins at each of the units says: its stage where timm has one, the unit elsewhere."""
    stages = _stage_names(model)
    above = {name: name.rpartition("_")[0] for name in units}
    return {name: above[name] if above[name] in stages else name for name in units}


def _ends(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Return those of the units `names` that end one of timm's stages, the stem among them, in order."""
    last = {
        stage: name for stage in _stage_names(model) for name in names if name == stage or name.startswith(f"{stage}_")
    }
    return list(last.values())


def last_stage(units: Mapping[str, nn.Module], ends: Sequence[str]) -> str:
    """Return the unit that begins the last stage: the one after the end of the last but one.

    Where nothing in it can be learnt, as in a stage that only pools, the one before counts.
    """
    names = list(units)
    for end in reversed(ends[:-1]):
        upper = names[names.index(end) + 1 :]
        if any(next(units[name].parameters(), None) is not None for name in upper):
            return upper[0]
    return names[-1]


def _channels_first(maps: Tensor) -> Tensor:
    return maps.permute(0, 3, 1, 2)


def _keep_channels_first(units: Mapping[str, nn.Module]) -> None:
    """Let units that work on maps (B, H, W, C) take and return (B, C, H, W); the first takes images as it is."""
    for i, unit in enumerate(units.values()):
        if i:
            unit.register_forward_pre_hook(_before)
        unit.register_forward_hook(_after)


def _before(module: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (given[0].permute(0, 2, 3, 1), *given[1:])


def _after(module: nn.Module, given: tuple[Tensor, ...], maps: Tensor) -> Tensor:
    return _channels_first(maps)


# -- transformers ----------------------------------------------------------------------------------


def _transformer(backbone: str, model: nn.Module, images: Tensor) -> Cut:
    made: Any = model
    if odd := tokens.odd_size(made, images.shape[-1]):
        raise TrunkError(f"trunk -> image_size: {backbone} would not see all of images of {images.shape[-1]} px: {odd}")
    try:
        top = made.forward_features(images)  # (1, T, D)
    except Exception as error:
        raise TrunkError(_unreadable(backbone, images.shape[-1], error)) from error
    grid = tokens.grid_of(made, top)
    if grid is None:
        raise TrunkError(
            f"trunk -> backbone: {backbone} cannot be cut: it is neither a sequence of stages nor a transformer of "
            "plain blocks. Take one such as resnet34, convnext_tiny or vit_small_patch16_224"
        )
    starts = tokens.stage_names(len(made.blocks))
    units = tokens.take_apart(made, grid, images)
    names = list(units)
    ends = [names[names.index(start) - 1] for start in starts[1:]] + names[-1:]
    return Cut(units, ["stem", *starts], starts[-1], frozenset(ends), grid.top(top), grid)
