"""The names of the heads that come with attributree, for settings and plans: the heads themselves need torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from .schema import Attribute

HeadName = Literal["linear", "multiscale", "attention", "ordinal", "multilabel"]

#: Every name, in the order that errors and the documentation list them.
HEAD_NAMES: Final[tuple[str, ...]] = get_args(HeadName)

#: The head of an attribute that neither settings nor a plugin give another.
STANDARD_HEAD: Final = "linear"

#: The same for a branch of depth `exit`, and what it is made with: what is low in the network says what is where.
EXIT_HEAD: Final = "multiscale"
EXIT_OPTIONS: Final[Mapping[str, Any]] = {"grids": (1, 3), "dropout": 0.5}


def unfit(name: str | None, attribute: Attribute) -> str | None:
    """Return why the head of that name cannot answer `attribute`, or None if it can, or if none is named."""
    if name != "ordinal" or attribute.labels.kind == "ordinal":
        return None
    # A softmax does not see a direction that all its logits share, and independent values share none.
    return (
        f"attributes -> {attribute.name} -> head: the ordinal head answers ordinal attributes, {attribute.name} is "
        f"{attribute.labels.kind}; take another one"
    )
