"""The head of a branch: the one that is configured, its plugin's, or the standard one."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import PluginError
from ..heads import HEADS, default_options, new_head
from ..plugins import LoadedPlugins
from ..plugins.hookspecs import attributree_branch_head
from ..schema import Attribute
from ..settings.head_names import EXIT_HEAD, STANDARD_HEAD
from ..settings.models import BranchSettings
from .trunk import Backbone


@dataclass(frozen=True, eq=False)
class HeadFactory:
    """Builds the head of an attribute whenever it is called.

    It is the library's head of that `name`, made with `options`; without one a plugin's, or the standard one.
    `pyramid`: the numbers of the trunk's pyramid, where the branch has no units; the standard head is PyramidHead then.
    """

    attribute: Attribute
    in_features: int
    plugins: LoadedPlugins | None = None
    name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    pyramid: int | None = None

    @classmethod
    def of(
        cls, attribute: Attribute, backbone: Backbone, plugins: LoadedPlugins, recipe: BranchSettings, at_exit: bool
    ) -> HeadFactory:
        """Return what builds the heads of new branches of `attribute`, with units or without any."""
        width, pyramid = backbone.width(not at_exit), backbone.pyramid_features if at_exit else None
        return cls(attribute, width, plugins, recipe.head, pyramid=pyramid)

    def __call__(self) -> nn.Module:
        """Return a new head, in training mode. A plugin's is tried on a batch of zeros first.

        Raises PluginError naming the plugin if it is not a module, fails, or returns anything but
        (B, attribute.labels.outputs) floats; ConfigError if the head of that name cannot answer the attribute.
        """
        attribute, width, plugins = self.attribute, self.in_features, self.plugins
        if self.name is not None:
            return new_head(self.name, attribute, width, **self.options)
        brought = plugins.first(attributree_branch_head, attribute, in_features=width) if plugins else None
        if brought is None:
            return new_head(_standard(self.pyramid), attribute, self.pyramid or width)
        if problem := _try_head(brought.value, attribute, width):
            raise PluginError(f"plugin {brought.plugin.owner}: the head of {attribute.name!r} {problem}")
        return brought.value.train()

    def whose(self) -> tuple[str, dict[str, Any]]:
        """Return what a branch's record says of its head: a library head's name and options, or a plugin and nothing.

        Asks plugins for the head to find out, which draws random numbers: ask before seeding.
        """
        brought = None
        if self.plugins and not self.name:
            brought = self.plugins.first(attributree_branch_head, self.attribute, in_features=self.in_features)
        if brought:
            owner = brought.plugin.owner
            return f"plugin {owner}" if owner in HEADS else owner, {}
        name = self.name or _standard(self.pyramid)
        return name, {**default_options(name), **self.options}

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process as a head that is ready made, the same each time: plugins stay here."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(zlib.crc32(self.attribute.name.encode()))
            return partial, (copy.deepcopy, self())


def _standard(pyramid: int | None) -> str:
    return STANDARD_HEAD if pyramid is None else EXIT_HEAD


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
