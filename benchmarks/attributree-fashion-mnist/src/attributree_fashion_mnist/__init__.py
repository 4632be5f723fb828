"""The attributes of Fashion-MNIST: what can be told from its ten classes and from the pixels."""

from attributree import Attribute, Ordinal, SingleLabel, Value, hookimpl

UPPER = ("top", "pullover", "dress", "coat", "shirt")
FOOTWEAR = ("sandal", "sneaker", "ankle boot")

ATTRIBUTES = (
    Attribute(
        name="article",
        labels=SingleLabel(
            values=(
                Value("top", title="T-shirt or top", synonyms=("t-shirt", "t-shirt/top")),
                Value("trouser", synonyms=("trousers",)),
                Value("pullover"),
                Value("dress"),
                Value("coat"),
                Value("sandal"),
                Value("shirt"),
                Value("sneaker"),
                Value("bag"),
                Value("ankle_boot"),
            )
        ),
        description="The shop's article group.",
    ),
    Attribute(
        name="zone",
        title="Worn on",
        labels=SingleLabel(
            values=(
                Value("upper_body"),
                Value("lower_body"),
                Value("full_body"),
                Value("feet", synonyms=("footwear",)),
                Value("accessory"),
            )
        ),
        description="The part of the body that the product covers.",
    ),
    Attribute(
        name="sleeve_length",
        applies_to=UPPER,
        labels=SingleLabel(
            values=(
                Value("short", title="Short or none", synonyms=("short sleeves", "sleeveless")),
                Value("long", synonyms=("long sleeves",)),
            )
        ),
        description="Whether the sleeves reach below the elbow.",
    ),
    Attribute(
        name="front_opening",
        applies_to=UPPER,
        labels=SingleLabel(values=(Value("closed"), Value("open", title="Opens to the hem"))),
        description="Whether buttons or a zip open the whole front.",
    ),
    Attribute(
        name="shoe_height",
        applies_to=FOOTWEAR,
        labels=Ordinal(values=(Value("low", title="Below the ankle"), Value("high", title="Over the ankle"))),
        description="How far up the leg the shoe reaches.",
    ),
    Attribute(
        name="footwear_openness",
        applies_to=FOOTWEAR,
        labels=SingleLabel(values=(Value("open"), Value("closed"))),
        description="Whether the foot shows through the upper.",
    ),
    Attribute(
        name="tone",
        labels=Ordinal(values=(Value("dark"), Value("medium"), Value("light"))),
        description="How light the product itself is, by thirds of the training images.",
    ),
)


@hookimpl
def attributree_api() -> str:
    """Return the hook API versions that this plugin was written for."""
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> tuple[Attribute, ...]:
    """Return the declarations."""
    return ATTRIBUTES
