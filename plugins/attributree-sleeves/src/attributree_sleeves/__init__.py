"""The sleeves of tops and dresses: their length, as steps from none to the wrist, and how they are cut."""

from __future__ import annotations

from attributree import Attribute, Ordinal, SingleLabel, Value, hookimpl

SLEEVE_LENGTH = Attribute(
    name="sleeve_length",
    title="Sleeve length",
    description="How far down the arm the sleeve reaches when it is not rolled up.",
    applies_to=("top", "dress"),
    labels=Ordinal(
        values=(
            Value("sleeveless", synonyms=("no sleeve", "no sleeves", "without sleeves", "strappy")),
            Value("cap", title="Cap sleeve", synonyms=("cap sleeves", "capped sleeve", "capped sleeves")),
            Value("short", synonyms=("short sleeve", "short sleeves", "short sleeved", "half sleeve")),
            Value("elbow", title="Elbow length", synonyms=("elbow sleeve", "elbow sleeves", "half length sleeve")),
            Value(
                "three_quarter",
                title="Three-quarter",
                synonyms=("3/4", "3/4 sleeve", "3/4 sleeves", "three quarter sleeve", "three quarter sleeves"),
            ),
            Value(
                "long",
                synonyms=("long sleeve", "long sleeves", "long sleeved", "full sleeve", "full sleeves"),
            ),
        )
    ),
)

SLEEVE_STYLE = Attribute(
    name="sleeve_style",
    title="Sleeve style",
    description="How the sleeve is cut and joined to the body; not applicable where there is none.",
    applies_to=("top", "dress"),
    labels=SingleLabel(
        values=(
            Value(
                "set_in", title="Set-in", synonyms=("plain sleeve", "plain sleeves", "regular sleeve", "fitted sleeve")
            ),
            Value("raglan", synonyms=("raglan sleeve", "raglan sleeves", "baseball sleeve")),
            Value("puff", title="Puff sleeve", synonyms=("puffed", "puffed sleeve", "puff sleeves", "leg of mutton")),
            Value(
                "balloon", title="Balloon sleeve", synonyms=("balloon sleeves", "bishop", "bishop sleeve", "lantern")
            ),
            Value("bell", title="Bell sleeve", synonyms=("bell sleeves", "flared sleeve", "trumpet sleeve")),
            Value("flutter", title="Flutter sleeve", synonyms=("flutter sleeves", "ruffle sleeve", "butterfly sleeve")),
            Value("batwing", synonyms=("batwing sleeve", "dolman", "dolman sleeve", "kimono", "kimono sleeve")),
            Value("drop_shoulder", title="Drop shoulder", synonyms=("dropped shoulder", "drop sleeve")),
            Value("cold_shoulder", title="Cold shoulder", synonyms=("cut out shoulder", "open shoulder")),
            Value("roll_up", title="Roll-up", synonyms=("rolled", "rolled sleeve", "roll tab", "turn up sleeve")),
            Value("slit", title="Slit sleeve", synonyms=("split sleeve", "open sleeve", "cape sleeve")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [SLEEVE_LENGTH, SLEEVE_STYLE]
