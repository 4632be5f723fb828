"""Heads: the last module of a branch, features to logits."""

from __future__ import annotations

import copy
import zlib
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PluginError
from ..plugins import LoadedPlugins
from ..schema import Attribute


class LinearHead(nn.Module):
    """Average over the map, dropout, one linear layer: (B, in_features, H, W) to (B, outputs).

    Costs in_features * outputs + outputs parameters. A head with `pooled = True` answers features that were averaged
    over the map before, (B, in_features, 1, 1), as it answers the map: it is trained on those, which costs little.
    """

    pooled = True

    def __init__(self, in_features: int, outputs: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(in_features, outputs)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(features.mean(dim=(2, 3))))
        return logits


def build_head(attribute: Attribute, in_features: int, plugins: LoadedPlugins | None = None) -> nn.Module:
    """Return the head that a plugin brings for `attribute`, or a LinearHead.

    A plugin's head is tried on a batch of zeros first. Raises PluginError naming the plugin if it is not a
    module, fails, or returns anything but (B, attribute.labels.outputs) floats.
    """
    head = plugins.branch_head(attribute, in_features) if plugins else None
    if head is None:
        return LinearHead(in_features, attribute.labels.outputs)
    problem = _try_head(head, attribute, in_features)
    if problem and plugins:
        owner = plugins.head_owner(attribute, in_features)
        raise PluginError(f"plugin {owner}: the head of {attribute.name!r} {problem}")
    return head.train()


@dataclass(frozen=True, eq=False)
class HeadFactory:
    """Builds the head of an attribute whenever it is called, as `build_head` does."""

    attribute: Attribute
    in_features: int
    plugins: LoadedPlugins | None = None

    def __call__(self) -> nn.Module:
        return build_head(self.attribute, self.in_features, self.plugins)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as a head that is ready made, the same each time: plugins stay here."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(self.attribute.name.encode()))
            return partial, (copy.deepcopy, self())


@torch.no_grad()
def _try_head(head: nn.Module, attribute: Attribute, in_features: int) -> str | None:
    """Return what is wrong with a head, by a dry forward pass, or None."""
    shape, expected = (2, in_features, 2, 2), (2, attribute.labels.outputs)
    try:
        logits = head.eval()(torch.zeros(shape))
    except Exception as error:
        return f"failed on {shape} features: {error}"
    if isinstance(logits, Tensor) and tuple(logits.shape) == expected and logits.is_floating_point():
        return None
    got = f"{tuple(logits.shape)} {logits.dtype}" if isinstance(logits, Tensor) else type(logits).__name__
    note = " (an ordinal attribute has one threshold less than values)" if attribute.labels.kind == "ordinal" else ""
    return f"returned {got}, expected {expected} floats{note}"
