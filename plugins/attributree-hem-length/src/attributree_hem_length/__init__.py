"""The hem length of tops, as steps from above the waist to the thigh."""

from __future__ import annotations

from attributree import Attribute, Ordinal, Value, hookimpl

HEM_LENGTH = Attribute(
    name="hem_length",
    title="Hem length",
    description="Where the hem of a top ends on the wearer, seen from the front.",
    applies_to=("top",),
    labels=Ordinal(
        values=(
            Value("cropped", synonyms=("crop", "crop top", "cropped length", "above waist", "midriff")),
            Value("waist", title="Waist length", synonyms=("to the waist", "at the waist")),
            Value("hip", title="Hip length", synonyms=("regular length", "to the hip", "standard length")),
            Value("tunic", title="Tunic length", synonyms=("thigh length", "longline", "below hip", "long length")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [HEM_LENGTH]
