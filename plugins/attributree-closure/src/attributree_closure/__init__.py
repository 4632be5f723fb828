"""What tops, dresses and jeans are closed with."""

from __future__ import annotations

from attributree import Attribute, SingleLabel, Value, hookimpl

CLOSURE = Attribute(
    name="closure",
    title="Closure",
    description="The main fastening that can be seen; pull-on where there is none.",
    applies_to=("top", "dress", "jeans"),
    labels=SingleLabel(
        values=(
            Value("pull_on", title="Pull-on", synonyms=("slip on", "pullover", "no closure", "none", "elastic")),
            Value("buttons", synonyms=("button", "buttoned", "button front", "button through", "button fly")),
            Value("zip", synonyms=("zipper", "zipped", "zip up", "full zip", "half zip", "zip fly", "exposed zip")),
            Value("wrap", synonyms=("wrap over", "wraparound", "wrap tie", "belted wrap")),
            Value("tie", title="Tie", synonyms=("ties", "tied", "self tie", "tie front", "drawstring", "drawcord")),
            Value("lace_up", title="Lace-up", synonyms=("laced", "lacing", "corset lacing", "lace up front")),
            Value("hook_and_eye", title="Hook and eye", synonyms=("hook", "hooks", "hooks and eyes", "clasp")),
            Value("snap", title="Snap fastener", synonyms=("snaps", "press stud", "press studs", "popper", "poppers")),
            Value("buckle", synonyms=("buckles", "buckled", "belt buckle", "dungaree clips")),
            Value("toggle", synonyms=("toggles", "frog", "frogs", "frog fastening")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [CLOSURE]
