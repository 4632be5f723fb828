"""The sleeve length of tops and dresses, as steps from none to the wrist."""

from __future__ import annotations

from attributree import Attribute, Ordinal, Value, hookimpl

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


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [SLEEVE_LENGTH]
