"""The collar of tops and dresses: what is sewn to the neck opening, apart from the opening's own outline."""

from __future__ import annotations

from attributree import Attribute, SingleLabel, Value, hookimpl

COLLAR = Attribute(
    name="collar",
    title="Collar",
    description="What is sewn to the neck opening; the outline of the opening itself is the neckline.",
    applies_to=("top", "dress"),
    labels=SingleLabel(
        values=(
            Value("collarless", synonyms=("no collar", "without collar")),
            Value("shirt", title="Shirt collar", synonyms=("classic collar", "point collar", "pointed collar")),
            Value("button_down", synonyms=("button down collar", "oxford collar")),
            Value("polo", title="Polo collar", synonyms=("knitted collar", "ribbed collar")),
            Value("camp", title="Camp collar", synonyms=("cuban collar", "revere", "revere collar", "open collar")),
            Value(
                "mandarin",
                title="Mandarin collar",
                synonyms=("stand collar", "stand up collar", "band collar", "grandad collar", "nehru collar"),
            ),
            Value("peter_pan", title="Peter Pan collar", synonyms=("round collar", "rounded collar", "bib collar")),
            Value("bow", title="Bow collar", synonyms=("pussy bow", "pussybow", "tie neck", "bow tie neck")),
            Value("notched", title="Notched lapel", synonyms=("notch lapel", "notched collar", "lapel", "lapels")),
            Value("shawl", title="Shawl collar", synonyms=("shawl lapel",)),
            Value("ruffle", title="Ruffled collar", synonyms=("ruffle collar", "frill collar", "frilled collar")),
            Value("sailor", title="Sailor collar", synonyms=("middy collar", "nautical collar")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [COLLAR]
