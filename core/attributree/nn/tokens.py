"""Vision transformers as sequences of units: a stem that makes tokens, and one unit a block.

Their stages are blocks in groups. Between units go tokens (B, T, D): the class token and registers, if there are any,
then the patches row by row.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from ..errors import TrunkError
from ..heads import spatial_pyramid

#: The blocks of a transformer are cut into so many stages.
STAGES: Final = 4
#: What stands above the last norm: classifiers and pooling.
_TOP: Final = ("head", "head_drop", "head_dist", "fc_norm", "attn_pool")
#: The parts of a plain transformer. One with others does something between blocks, or after them, that units do not.
_PARTS: Final = {"patch_embed", "pos_drop", "patch_drop", "norm_pre", "rope", "blocks", "norm", *_TOP}
_OWN_NAME: Final = re.compile(
    r"stem\.model\.(?P<stem>.+)|blocks_(?P<number>\d+)\.block\.(?P<block>.+)|blocks_\d+\.(?P<norm>norm\..+)"
)


@dataclass(frozen=True)
class TokenGrid:
    """How tokens lie: `prefix` of them (the class token first, if there is one) before `rows` x `columns` patches."""

    prefix: int
    class_token: bool
    rows: int
    columns: int

    def maps(self, tokens: Tensor) -> Tensor:
        """Return the patches of `tokens` (B, T, D) as a map (B, D, rows, columns)."""
        patches = tokens[:, self.prefix :]
        return patches.transpose(1, 2).reshape(len(tokens), tokens.shape[2], self.rows, self.columns)

    def top(self, tokens: Tensor) -> Tensor:
        """Return what a branch's head sees, (B, F, rows, columns): each patch, and beside it the class token."""
        maps = self.maps(tokens)
        if not self.class_token:
            return maps
        everywhere = tokens[:, 0, :, None, None].expand(-1, -1, self.rows, self.columns)
        return torch.cat([maps, everywhere], dim=1)

    def pyramid(self, tokens: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
        """Return the patches' cells as `spatial_pyramid` has them, and the class token, normalised: (B, P)."""
        cells = spatial_pyramid(self.maps(tokens), grids)
        if not self.class_token:
            return cells
        return torch.cat([cells, F.layer_norm(tokens[:, 0], tokens.shape[2:])], dim=1)


class TokenStem(nn.Module):
    """All before the blocks: images (B, 3, S, S) to tokens (B, T, D). `model` has lost its blocks and last norm."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.model.forward_features(images)
        return tokens

    def reset_parameters(self) -> None:
        """Draw anew what is no module's own: the position embedding, and class and register tokens."""
        for parameter in self.model.parameters(recurse=False):
            nn.init.trunc_normal_(parameter, std=0.02)


class TokenBlock(nn.Module):
    """One block: tokens (B, T, D) to tokens. `rope` is what rotary position embeddings give every block."""

    tokens = True
    rope: Tensor | None

    def __init__(self, block: nn.Module, rope: Tensor | None = None) -> None:
        super().__init__()
        self.block = block
        self.register_buffer("rope", rope, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.block(tokens) if self.rope is None else self.block(tokens, rope=self.rope)
        return out


class TopBlock(TokenBlock):
    """The last block and the norm above it: tokens (B, T, D) to what heads see, (B, F, H, W)."""

    def __init__(self, block: nn.Module, norm: nn.Module, grid: TokenGrid, rope: Tensor | None = None) -> None:
        super().__init__(block, rope)
        self.norm = norm
        self.grid = grid

    def forward(self, tokens: Tensor) -> Tensor:
        return self.grid.top(self.norm(super().forward(tokens)))


def grid_of(model: Any, tokens: Tensor) -> TokenGrid | None:
    """Return how the tokens (B, T, D) of a whole model lie, or None if it is no transformer of plain blocks."""
    sides = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    plain = isinstance(getattr(model, "blocks", None), (nn.Sequential, nn.ModuleList)) and hasattr(model, "norm")
    if not plain or sides is None or tokens.ndim != 3 or getattr(model, "rope_mixed", False):
        return None
    parts = {name for name, part in model.named_children() if next(part.parameters(), None) is not None}
    if not parts <= _PARTS:
        return None
    prefix = tokens.shape[1] - sides[0] * sides[1]
    if prefix != getattr(model, "num_prefix_tokens", 0):
        return None
    return TokenGrid(prefix, getattr(model, "cls_token", None) is not None, *sides)


def stage_names(blocks: int) -> list[str]:
    """Return the name of the block that begins each stage of a transformer of so many blocks."""
    stages = min(STAGES, blocks)
    return [f"blocks_{stage * blocks // stages}" for stage in range(stages)]


@torch.no_grad()
def take_apart(model: Any, grid: TokenGrid, images: Tensor) -> dict[str, nn.Module]:
    """Return stem and blocks of a whole model by name; it is of no use afterwards. `images` (B, 3, S, S) are any."""
    rope = None
    if getattr(model, "rope", None) is not None:
        rope = model._pos_embed(model.patch_embed(images))[1]
    blocks, norm = list(model.blocks), model.norm
    model.blocks, model.norm = nn.Sequential(), nn.Identity()
    units: dict[str, nn.Module] = {"stem": TokenStem(model)}
    units |= {f"blocks_{i}": TokenBlock(block, rope) for i, block in enumerate(blocks[:-1])}
    units[f"blocks_{len(blocks) - 1}"] = TopBlock(blocks[-1], norm, grid, rope)
    return units


def without_top(model: Any) -> Any:
    """Return a whole model without what stands above its last norm: classifier and pooling."""
    for name in _TOP:
        if getattr(model, name, None) is not None:
            setattr(model, name, nn.Identity())
    return model


def odd_size(model: Any, size: int) -> str | None:
    """Return why images of `size` pixels would lose an edge: patches do not fill them. None if they do."""
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", None)
    if not patch:
        return None
    side = patch if isinstance(patch, int) else patch[0]
    if size % side == 0:
        return None
    below = size - size % side
    return f"its patches are {side} px wide, so write a multiple of that, such as {below} or {below + side}"


def timm_names(own: Iterable[str]) -> dict[str, str]:
    """Return timm's name in the whole model of each weight of `take_apart`'s units."""
    names = {}
    for name in own:
        found = _OWN_NAME.fullmatch(name)
        if found is None:
            raise TrunkError(f"trunk -> weights: {name} is no weight of a transformer")
        if found["number"] is not None:
            names[name] = f"blocks.{found['number']}.{found['block']}"
        else:
            names[name] = found["stem"] or found["norm"]
    return names


def resampled(model: Any) -> Any:
    """Return what fits a weight of another image size to `model`: (name, tensor, shape) to the tensor, or None."""

    def fit(name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor | None:
        if name != "pos_embed" or tensor.ndim != 3 or tensor.shape[2] != shape[2]:
            return None
        prefix = 0 if getattr(model, "no_embed_class", False) else getattr(model, "num_prefix_tokens", 0)
        made: Tensor = resample_abs_pos_embed(tensor, list(model.patch_embed.grid_size), num_prefix_tokens=prefix)
        return made if tuple(made.shape) == shape else None

    return fit
