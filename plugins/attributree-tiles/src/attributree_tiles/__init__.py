"""Ceramic tiles: shape, surface, motif, edge and warmth. Nothing about attributree is about clothes."""

from __future__ import annotations

from attributree import Attribute, Ordinal, SingleLabel, Value, hookimpl

TILES = ("tile", "mosaic")

TILE_SHAPE = Attribute(
    name="tile_shape",
    title="Tile shape",
    description="The outline of one tile, of a mosaic that of its pieces.",
    applies_to=TILES,
    labels=SingleLabel(
        values=(
            Value("square", synonyms=("quadratic", "1:1")),
            Value("rectangle", synonyms=("rectangular", "metro", "subway", "brick", "plank")),
            Value("hexagon", synonyms=("hexagonal", "honeycomb", "hex")),
            Value("round", synonyms=("circle", "penny", "penny round", "disc")),
        )
    ),
)

TILE_SURFACE = Attribute(
    name="tile_surface",
    title="Surface",
    description="How much light the glaze throws back.",
    applies_to=TILES,
    labels=Ordinal(
        values=(
            Value("matt", synonyms=("matte", "unglazed", "natural")),
            Value("satin", synonyms=("semi matt", "semi gloss", "lappato", "eggshell")),
            Value("glossy", synonyms=("gloss", "high gloss", "polished", "shiny")),
        )
    ),
)

TILE_MOTIF = Attribute(
    name="tile_motif",
    title="Motif",
    description="What is printed on the tile or runs through it.",
    applies_to=TILES,
    labels=SingleLabel(
        values=(
            Value("plain", synonyms=("solid", "uni", "monochrome")),
            Value("veined", synonyms=("marble", "marbled", "veins", "stone look")),
            Value("speckled", synonyms=("terrazzo", "flecked", "granite")),
            Value("checkered", synonyms=("chequered", "checkerboard", "check")),
            Value("star", synonyms=("moroccan", "zellige star", "encaustic", "cement look")),
        )
    ),
)

TILE_EDGE = Attribute(
    name="tile_edge",
    title="Edge",
    description="How the face of the tile ends; the pieces of a mosaic are too small to tell.",
    applies_to=("tile",),
    labels=SingleLabel(
        values=(
            Value("straight", synonyms=("rectified", "sharp", "square edge")),
            Value("bevelled", synonyms=("beveled", "bevel", "chamfered", "facet")),
            Value("cushioned", synonyms=("pillowed", "rounded edge", "soft edge")),
        )
    ),
)

TILE_WARMTH = Attribute(
    name="tile_warmth",
    title="Warmth",
    description="The temperature of the ground colour.",
    applies_to=TILES,
    labels=Ordinal(
        values=(
            Value("cool", synonyms=("cold", "blue tones", "ice")),
            Value("neutral", synonyms=("grey tones", "greige")),
            Value("warm", synonyms=("earth tones", "terracotta tones", "sunny")),
        )
    ),
)


@hookimpl
def attributree_api() -> str:
    return ">=1,<2"


@hookimpl
def attributree_attributes() -> list[Attribute]:
    return [TILE_SHAPE, TILE_SURFACE, TILE_MOTIF, TILE_EDGE, TILE_WARMTH]
