"""Nine attributes of Fashion-MNIST that are measured on the pixels."""

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value, hookimpl

ATTRIBUTES = (
    Attribute(
        name="proportion",
        labels=Ordinal(values=(Value("narrow"), Value("regular"), Value("wide", title="Wider than high"))),
        description="How wide the product is for its height.",
    ),
    Attribute(
        name="silhouette",
        applies_to=("top", "trouser", "dress"),
        labels=Ordinal(values=(Value("tapered"), Value("straight"), Value("flared", synonyms=("a-line",)))),
        description="Whether it is narrower at the hem than across the middle, sleeves included, or wider.",
    ),
    Attribute(
        name="frame_fill",
        title="Size in the frame",
        labels=Ordinal(values=(Value("sparse"), Value("half"), Value("full"))),
        description="How much of the photograph is product, by thirds of the training images.",
    ),
    Attribute(
        name="heel_gap",
        title="Heel",
        applies_to=("sandal", "sneaker", "ankle boot"),
        labels=Ordinal(
            values=(Value("none", title="Flat or wedge", synonyms=("flat", "wedge")), Value("low"), Value("high"))
        ),
        description="How far the arch stands above the ground in front of the heel.",
    ),
    Attribute(
        name="surface",
        applies_to=("top", "pullover", "dress", "coat", "shirt"),
        labels=SingleLabel(values=(Value("plain"), Value("patterned", synonyms=("printed", "striped", "checked")))),
        description="Whether stripes, checks, a print or other contrasts are seen on the chest.",
    ),
    Attribute(
        name="symmetry",
        applies_to=("trouser", "dress", "bag"),
        labels=SingleLabel(values=(Value("symmetric"), Value("asymmetric"))),
        description="Whether the left half of the outline mirrors the right one; pose and straps count.",
    ),
    Attribute(
        name="handle",
        applies_to=("bag",),
        labels=SingleLabel(values=(Value("flat", title="No arch above"), Value("raised", title="Arch above the bag"))),
        description="Whether light shows under a handle or strap that stands above the bag.",
    ),
    Attribute(
        name="hem",
        applies_to=("pullover", "coat", "shirt"),
        labels=SingleLabel(
            values=(Value("lowest", title="At the cuffs or below"), Value("above_cuffs", synonyms=("cropped",)))
        ),
        description="Whether the body ends above the cuffs of the hanging sleeves.",
    ),
    Attribute(
        name="shades",
        labels=MultiLabel(values=(Value("dark"), Value("medium"), Value("light"))),
        description="Which shades cover a fifth of the product or more.",
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
