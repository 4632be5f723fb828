"""What tells one pair of jeans from another: waist rise, fit of the leg, wash and distress."""

from __future__ import annotations

from attributree import Attribute, Ordinal, SingleLabel, Value, hookimpl

JEANS = ("jeans",)

WAIST_RISE = Attribute(
    name="waist_rise",
    title="Waist rise",
    description="Where the waistband sits: the length from the crotch seam to it.",
    applies_to=JEANS,
    labels=Ordinal(
        values=(
            Value("low", title="Low rise", synonyms=("low waist", "low waisted", "hipster", "hip hugger")),
            Value("mid", title="Mid rise", synonyms=("medium rise", "regular rise", "regular waist", "normal waist")),
            Value("high", title="High rise", synonyms=("high waist", "high waisted", "hi rise")),
            Value("ultra_high", title="Ultra-high rise", synonyms=("super high rise", "super high waist", "paperbag")),
        )
    ),
)

JEANS_FIT = Attribute(
    name="jeans_fit",
    title="Jeans fit",
    description="The shape of the leg from the hip to the hem.",
    applies_to=JEANS,
    labels=SingleLabel(
        values=(
            Value("skinny", synonyms=("skinny fit", "skinny leg", "super skinny", "jegging", "jeggings")),
            Value("slim", synonyms=("slim fit", "slim leg", "cigarette", "cigarette leg")),
            Value("straight", synonyms=("straight fit", "straight leg", "regular fit", "regular leg")),
            Value("tapered", synonyms=("tapered fit", "tapered leg", "carrot", "carrot fit", "peg leg")),
            Value("bootcut", synonyms=("boot cut", "bootleg", "kick flare")),
            Value("flared", synonyms=("flare", "flares", "flared leg", "bell bottom", "bell bottoms")),
            Value("wide_leg", title="Wide leg", synonyms=("wide", "wide fit", "palazzo", "culotte")),
            Value("relaxed", synonyms=("relaxed fit", "relaxed leg", "loose fit", "loose leg", "comfort fit")),
            Value("boyfriend", synonyms=("boyfriend fit", "girlfriend", "girlfriend fit")),
            Value("mom", title="Mom fit", synonyms=("mom jeans", "mum fit", "mum jeans")),
            Value("baggy", synonyms=("baggy fit", "baggy leg", "balloon", "barrel", "barrel leg", "slouchy")),
        )
    ),
)

WASH = Attribute(
    name="wash",
    title="Wash",
    description="How dark the denim is after washing, faded places left out of account.",
    applies_to=JEANS,
    labels=Ordinal(
        values=(
            Value("white", title="White denim", synonyms=("white wash", "ecru", "ecru denim", "undyed")),
            Value("light", title="Light wash", synonyms=("bleached", "bleach wash", "ice wash", "light blue wash")),
            Value("medium", title="Medium wash", synonyms=("mid wash", "stone wash", "stonewashed", "mid blue wash")),
            Value(
                "dark", title="Dark wash", synonyms=("rinse wash", "raw denim", "one wash", "indigo", "dark blue wash")
            ),
            Value("black", title="Black wash", synonyms=("black denim", "jet black wash")),
        )
    ),
)

DISTRESS = Attribute(
    name="distress",
    title="Distress",
    description="How worn the denim was made to look.",
    applies_to=JEANS,
    labels=Ordinal(
        values=(
            Value("none", title="Not distressed", synonyms=("clean", "undistressed", "no rips", "non distressed")),
            Value(
                "light", title="Lightly distressed", synonyms=("light distressing", "abrasions", "scuffed", "frayed")
            ),
            Value("moderate", title="Distressed", synonyms=("moderate distressing", "ripped", "ripped knee", "torn")),
            Value(
                "heavy",
                title="Heavily distressed",
                synonyms=("heavy distressing", "heavily ripped", "destroyed", "shredded"),
            ),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [WAIST_RISE, JEANS_FIT, WASH, DISTRESS]
