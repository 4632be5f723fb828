"""The occasions that a top, a dress or a pair of jeans is sold for, as many as it suits."""

from __future__ import annotations

from attributree import Attribute, MultiLabel, Value, hookimpl

OCCASION = Attribute(
    name="occasion",
    title="Occasion",
    description="What the product is sold for; an occasion that is not listed is unknown, not ruled out.",
    applies_to=("top", "dress", "jeans"),
    # No shop lists everything that a product may be worn to.
    labels=MultiLabel(
        closed_world=False,
        values=(
            Value("casual", synonyms=("everyday", "daily", "daywear", "weekend", "leisure")),
            Value("work", synonyms=("office", "business", "smart casual", "workwear", "desk")),
            Value("party", synonyms=("night out", "club", "cocktail", "cocktail party", "date night", "going out")),
            Value("formal", synonyms=("evening", "black tie", "gala", "red carpet", "prom", "banquet")),
            Value("wedding", synonyms=("wedding guest", "bridesmaid", "bridal", "engagement")),
            Value("holiday", synonyms=("vacation", "beach", "resort", "festival", "travel")),
            Value("sport", synonyms=("sports", "gym", "training wear", "activewear", "outdoor")),
            Value("lounge", synonyms=("loungewear", "homewear", "at home", "sleep", "nightwear")),
        ),
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [OCCASION]
