"""attributree: install an attribute plugin, sync the catalogue, and the attribute is trained and live.

The public names. Importing this module is cheap, since every plugin does it: a workspace, which needs the
database, is only imported when it is asked for, and torch only when a network is really needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import AttributreeError
from .plugins.hookspecs import Augmentation, hookimpl
from .plugins.pretrained import PretrainedWeights
from .schema import ArticleType, Attribute, MultiLabel, Ordinal, SingleLabel, Value

if TYPE_CHECKING:
    from .workspace import Workspace

__version__ = "0.1.0"

__all__ = [
    "ArticleType",
    "Attribute",
    "AttributreeError",
    "Augmentation",
    "MultiLabel",
    "Ordinal",
    "PretrainedWeights",
    "SingleLabel",
    "Value",
    "Workspace",
    "__version__",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    if name == "Workspace":
        from .workspace import Workspace

        return Workspace
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
