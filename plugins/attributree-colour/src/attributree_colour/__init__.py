"""The colours of a product, as many as it has."""

from __future__ import annotations

from attributree import Attribute, MultiLabel, Value, hookimpl

COLOUR = Attribute(
    name="colour",
    title="Colour",
    description="Every colour that covers a good part of the product; one that is not listed is not there.",
    labels=MultiLabel(
        values=(
            Value("black", synonyms=("jet", "jet black", "onyx")),
            Value("white", synonyms=("ivory", "off white", "optic white")),
            Value("grey", synonyms=("gray", "charcoal", "anthracite", "slate")),
            Value("red", synonyms=("scarlet", "crimson", "cherry")),
            Value("blue", synonyms=("cobalt", "royal blue", "sky blue", "light blue", "denim blue")),
            Value("green", synonyms=("emerald", "olive", "khaki green", "mint", "sage")),
            Value("yellow", synonyms=("lemon", "mustard", "ochre")),
            Value("pink", synonyms=("blush", "rose", "fuchsia", "magenta", "hot pink")),
            Value("brown", synonyms=("chocolate", "chestnut", "coffee", "cognac", "rust")),
            Value("orange", synonyms=("tangerine", "apricot", "peach", "coral")),
            Value("purple", synonyms=("violet", "lilac", "lavender", "mauve", "plum", "aubergine")),
            Value("beige", synonyms=("cream", "ecru", "sand", "camel", "tan", "nude", "stone", "taupe")),
            Value("navy", synonyms=("navy blue", "dark blue", "midnight blue", "marine")),
            Value("burgundy", synonyms=("bordeaux", "wine", "wine red", "maroon", "oxblood")),
            Value("turquoise", synonyms=("teal", "aqua", "petrol")),
            Value("gold", synonyms=("golden", "gold metallic")),
            Value("silver", synonyms=("silvery", "silver metallic")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [COLOUR]
