"""The length and the shape of dresses."""

from __future__ import annotations

from attributree import Attribute, Ordinal, SingleLabel, Value, hookimpl

DRESS_LENGTH = Attribute(
    name="dress_length",
    title="Dress length",
    description="Where the hem of a dress ends on the wearer, seen from the front.",
    applies_to=("dress",),
    labels=Ordinal(
        values=(
            Value(
                "mini", synonyms=("mini length", "micro", "short dress", "thigh length", "above knee", "above the knee")
            ),
            Value("knee", title="Knee length", synonyms=("to the knee", "on the knee", "below knee", "below the knee")),
            Value("midi", synonyms=("midi length", "calf", "calf length", "mid calf", "tea length")),
            Value("maxi", synonyms=("maxi length", "ankle", "ankle length", "full length", "long dress")),
            Value("floor", title="Floor length", synonyms=("to the floor", "with train", "sweep train", "long train")),
        )
    ),
)

DRESS_SHAPE = Attribute(
    name="dress_shape",
    title="Dress shape",
    description="The outline of a dress from the shoulders to the hem.",
    applies_to=("dress",),
    labels=SingleLabel(
        values=(
            Value("sheath", synonyms=("sheath dress", "pencil", "pencil dress")),
            Value("shift", synonyms=("shift dress", "straight", "straight cut", "t shirt dress", "tunic dress")),
            Value("a_line", title="A-line", synonyms=("a line dress", "a shape")),
            Value("fit_and_flare", title="Fit and flare", synonyms=("skater", "skater dress", "fit n flare", "circle")),
            Value("empire", title="Empire line", synonyms=("empire waist", "empire dress", "babydoll", "high waisted")),
            Value("drop_waist", title="Drop waist", synonyms=("dropped waist", "low waisted", "flapper")),
            Value("bodycon", synonyms=("bodycon dress", "tube", "tube dress", "bandage dress")),
            Value("wrap", synonyms=("wrap dress", "wrapped", "kimono dress")),
            Value("shirt", title="Shirt dress", synonyms=("shirtdress", "shirt waister", "shirtwaist")),
            Value("slip", title="Slip dress", synonyms=("cami dress", "negligee dress")),
            Value("tent", synonyms=("tent dress", "trapeze", "smock", "smock dress", "swing dress")),
            Value("tiered", synonyms=("tiered dress", "layered", "ruffle tiers")),
            Value("mermaid", synonyms=("mermaid dress", "trumpet", "fishtail")),
            Value("ball_gown", title="Ball gown", synonyms=("ballgown", "princess", "princess dress", "tutu")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [DRESS_LENGTH, DRESS_SHAPE]
