"""The hooks that a plugin implements: the whole API between attributree and its plugins.

A plugin is a module (or any object) that the entry-point group `attributree` names, or a `*.py` file in one
of `plugin_dirs`. It marks its functions with `hookimpl`, and may leave out arguments that it does not need:

    from attributree import Attribute, SingleLabel, hookimpl

    @hookimpl
    def attributree_attributes():
        return [Attribute("finish", SingleLabel(("matt", "glossy")))]

Hook wrappers are refused: a plugin speaks for its own attributes and never rewrites another's answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pluggy

from .schema import Attribute

if TYPE_CHECKING:
    from torch import nn

#: Version of this module. The minor number grows when a hook or an optional argument is added, the major
#: number when a plugin that worked may stop working.
API_VERSION: Final = "1.0"

#: The project name that hook markers and the plugin manager share; also the entry-point group.
PROJECT: Final = "attributree"

hookspec = pluggy.HookspecMarker(PROJECT)

#: Marks a function of a plugin as the implementation of the hook of that name.
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def attributree_api() -> str:
    """Return the hook API versions that the plugin supports, as a PEP 440 range such as ">=1,<2".

    Optional; without it every version is taken to do. It is asked before anything else, and a plugin whose
    range leaves out `API_VERSION` is skipped with a word on what to upgrade. Keep it free of imports.
    """
    raise NotImplementedError


@hookspec
def attributree_attributes() -> Iterable[Attribute]:
    """Return the attributes that the plugin declares.

    Called once when plugins are loaded, by nearly every command, so it must be quick and import no torch. An
    attribute belongs to one plugin: a name that two declare is given to neither.
    """
    raise NotImplementedError


@hookspec(firstresult=True)
def attributree_branch_head(attribute: Attribute, in_features: int) -> nn.Module | None:
    """Return a new head for one branch, or None for the standard one (average pooling, dropout, linear).

    The head takes the branch's feature map (B, in_features, H, W) float32 and returns logits
    (B, attribute.labels.outputs) float32. Heights and widths vary with `image_size`.

    A plugin that declares attributes is asked about those only. One that declares none is asked about every
    attribute whose own plugin brings no head; the first in order of name that answers is taken. Import torch
    in here, not at the top of the plugin.
    """
    raise NotImplementedError
