"""The names of the heads that come with attributree, for settings and plans: the heads themselves need torch."""

from __future__ import annotations

from typing import Final, Literal, get_args

from ..schema import Attribute

HeadName = Literal["linear", "multiscale", "attention", "ordinal", "multilabel"]

#: Every name that settings may give, in the order that errors and the documentation list them.
HEAD_NAMES: Final[tuple[str, ...]] = get_args(HeadName)

#: The head of an attribute that neither settings nor a plugin give another.
STANDARD_HEAD: Final = "linear"

#: The same for a branch of depth `exit`. It reads the trunk's pyramid, which no other branch does: settings cannot
#: name it.
EXIT_HEAD: Final = "pyramid"


def unfit(name: str | None, attribute: Attribute) -> str | None:
    """Return why the head of that name cannot answer `attribute`, or None if it can, or if none is named."""
    if name != "ordinal" or attribute.labels.kind == "ordinal":
        return None
    # A softmax does not see a direction that all its logits share, and independent values share none.
    return (
        f"attributes -> {attribute.name} -> head: the ordinal head answers ordinal attributes, {attribute.name} is "
        f"{attribute.labels.kind}; take another one"
    )
