"""The neckline of tops and dresses, with a head of its own: necklines are small and lie high in the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attributree import Attribute, SingleLabel, Value, hookimpl

if TYPE_CHECKING:
    from torch import nn

NECKLINE = Attribute(
    name="neckline",
    title="Neckline",
    description="The outline of the garment at the neck, as worn.",
    applies_to=("top", "dress"),
    labels=SingleLabel(
        values=(
            Value("crew", synonyms=("crew neck", "crew neckline", "round neck", "round neckline", "jewel neck")),
            Value("v_neck", title="V-neck", synonyms=("vee", "vee neck", "v neckline", "plunge neck")),
            Value("scoop", synonyms=("scoop neck", "scooped neck", "scoop neckline", "scooped neckline", "u neck")),
            Value("boat", synonyms=("boat neck", "boat neckline", "slash neck", "bateau neck"), formerly=("bateau",)),
            Value("square", synonyms=("square neck", "square neckline")),
            Value("sweetheart", synonyms=("sweetheart neck", "sweetheart neckline")),
            Value("halter", synonyms=("halter neck", "halterneck", "halter neckline")),
            Value("off_shoulder", synonyms=("off the shoulder", "bardot", "bardot neck")),
            Value("strapless", synonyms=("bandeau",)),
            Value("cowl", synonyms=("cowl neck", "cowl neckline", "draped neck")),
            Value(
                "turtleneck",
                synonyms=("turtle neck", "roll neck", "polo neck", "high neck", "mock neck", "funnel neck"),
            ),
            Value("collared", synonyms=("collar", "shirt collar", "polo collar", "button down collar")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [NECKLINE]


@hookimpl
def attributree_branch_head(attribute: Attribute, in_features: int) -> nn.Module | None:
    from attributree.heads import MultiscaleHead  # torch only in here: every command loads the plugin

    return MultiscaleHead(in_features, attribute.labels.outputs, grids=(1, (2, 1)))  # the whole, upper and lower half
