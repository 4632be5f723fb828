"""The pattern of the fabric of tops and dresses; the standard head does well on texture."""

from __future__ import annotations

from attributree import Attribute, SingleLabel, Value, hookimpl

PATTERN = Attribute(
    name="pattern",
    title="Pattern",
    description="What is woven into or printed on most of the fabric.",
    applies_to=("top", "dress"),
    labels=SingleLabel(
        values=(
            Value("solid", synonyms=("plain", "solid colour", "solid color", "unpatterned", "block colour")),
            Value("striped", synonyms=("stripe", "stripes", "stripy", "pinstripe", "pinstriped", "breton")),
            Value("checked", synonyms=("check", "checks", "chequered", "plaid", "tartan", "gingham", "houndstooth")),
            Value("dotted", synonyms=("dots", "spotted", "spots", "polka dot", "polka dots", "pin dot")),
            Value("floral", synonyms=("flowers", "flowery", "flower print", "floral print", "ditsy", "botanical")),
            Value(
                "animal",
                title="Animal print",
                synonyms=("leopard", "leopard print", "zebra", "zebra print", "snake print"),
            ),
            Value("paisley", synonyms=("paisley print",)),
            Value("geometric", synonyms=("geometric print", "chevron", "zigzag", "argyle")),
            Value("camouflage", synonyms=("camo", "camo print", "camouflage print")),
            Value("tie_dye", title="Tie-dye", synonyms=("tie dyed", "batik", "shibori")),
            Value("graphic", synonyms=("graphic print", "graphic printed", "logo print", "slogan")),
            Value("colour_block", title="Colour block", synonyms=("color block", "colour blocked", "colourblock")),
            # What shops call a print whose kind they do not tell.
            Value("printed", synonyms=("print", "prints", "all over print")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [PATTERN]
