"""The silhouette of tops, and how close tops and dresses lie to the body."""

from __future__ import annotations

from attributree import Attribute, Ordinal, SingleLabel, Value, hookimpl

SILHOUETTE = Attribute(
    name="silhouette",
    title="Silhouette",
    description="The outline of a top from the shoulders to the hem; that of a dress is its dress shape.",
    applies_to=("top",),
    labels=SingleLabel(
        values=(
            Value("straight", synonyms=("straight cut", "column", "h line")),
            Value("a_line", title="A-line", synonyms=("swing", "trapeze", "flared", "flared hem")),
            Value("boxy", synonyms=("boxy cut", "square cut")),
            Value("peplum", synonyms=("peplum top", "peplum hem", "peplum waist")),
            Value("blouson", synonyms=("bloused", "gathered hem", "elasticated hem", "bubble hem")),
            Value("waisted", synonyms=("nipped waist", "princess cut", "hourglass", "tailored")),
            Value("wrap", title="Wrap-over", synonyms=("wrapped", "wrap front", "surplice", "crossover")),
            Value("high_low", title="High-low", synonyms=("hi lo", "dipped hem", "step hem", "fishtail hem")),
            Value("asymmetric", synonyms=("asymmetrical", "asymmetric hem", "slanted hem")),
        )
    ),
)

FIT = Attribute(
    name="fit",
    title="Fit",
    description="How close the cloth lies to the body.",
    applies_to=("top", "dress"),
    labels=Ordinal(
        values=(
            Value("tight", title="Tight fit", synonyms=("skin tight", "second skin", "skinny fit", "body hugging")),
            Value("slim", title="Slim fit", synonyms=("fitted", "close fit", "figure hugging")),
            Value("regular", title="Regular fit", synonyms=("normal fit", "standard fit", "classic fit")),
            Value("relaxed", title="Relaxed fit", synonyms=("loose", "loose fit", "easy fit", "comfort fit")),
            Value("oversized", title="Oversized fit", synonyms=("oversize", "slouchy", "boyfriend fit")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [SILHOUETTE, FIT]
