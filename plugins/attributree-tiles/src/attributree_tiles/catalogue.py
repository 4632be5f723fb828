"""A catalogue of drawn tiles: small photos whose labels are known, and a label file with holes.

    write_tiles(Path("tiles"), 400, seed=0)

and then, in that folder: `attributree ingest labels.csv --images photos`.
"""

from __future__ import annotations

import colorsys
import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Field = npt.NDArray[np.floating[Any]]

VALUES: Mapping[str, tuple[str, ...]] = {
    "tile_shape": ("square", "rectangle", "hexagon", "round"),
    "tile_surface": ("matt", "satin", "glossy"),
    "tile_motif": ("plain", "veined", "speckled", "checkered", "star"),
    "tile_edge": ("straight", "bevelled", "cushioned"),
    "tile_warmth": ("cool", "neutral", "warm"),
}
#: Hue in turns and saturation of the ground.
_WARMTHS = {"cool": ((0.50, 0.62), 0.50), "neutral": ((0.0, 1.0), 0.05), "warm": ((0.03, 0.12), 0.60)}
#: How much light comes back, and how wide the reflection is.
_SURFACES = {"matt": (0.0, 0.5), "satin": (0.25, 0.45), "glossy": (0.75, 0.12)}


@dataclass(frozen=True, eq=False)
class Tile:
    """One photo: `image` (size, size, 3) RGB uint8; `labels` holds the truth, 'n/a' for the edge of a mosaic."""

    image: npt.NDArray[np.uint8]
    sku: str
    article_type: str
    labels: Mapping[str, str]


def draw_tiles(count: int, *, seed: int = 0, size: int = 64) -> Iterator[Tile]:
    """Yield `count` tiles, one in five a mosaic; the first ones do not depend on `count`."""
    return islice(_tiles(np.random.SeedSequence(seed), size), count)


def write_tiles(folder: Path, count: int = 400, *, seed: int = 0, size: int = 64, hidden: float = 0.4) -> list[Tile]:
    """Write `photos/` and `labels.csv`, a share `hidden` of its cells empty, below `folder`; return the tiles."""
    photos = folder / "photos"
    photos.mkdir(parents=True, exist_ok=True)
    tiles = list(draw_tiles(count, seed=seed, size=size))
    clerk = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("image", "sku", "article_type", *VALUES), lineterminator="\n")
        writer.writeheader()
        for tile in tiles:
            Image.fromarray(tile.image).save(photos / f"{tile.sku}.png", compress_level=1)
            cells = {name: "" if clerk.random() < hidden else label for name, label in tile.labels.items()}
            writer.writerow({"image": f"{tile.sku}.png", "sku": tile.sku, "article_type": tile.article_type, **cells})
    return tiles


def _tiles(root: np.random.SeedSequence, size: int) -> Iterator[Tile]:
    number = 0
    while True:
        (child,) = root.spawn(1)
        rng = np.random.default_rng(child)
        labels = {name: _one_of(values, rng) for name, values in VALUES.items()}
        article_type = "mosaic" if rng.random() < 0.2 else "tile"
        image = _photograph(labels, article_type, rng, size)
        if article_type == "mosaic":
            labels["tile_edge"] = "n/a"
        yield Tile(image, f"{article_type}-{number:05d}", article_type, labels)
        number += 1


def _photograph(
    labels: Mapping[str, str], article_type: str, rng: np.random.Generator, size: int
) -> npt.NDArray[np.uint8]:
    fine = 3 * size
    down, right = np.mgrid[0:fine, 0:fine] / (0.5 * fine) - 1.0
    turn, scale = rng.normal(0.0, 0.05), rng.uniform(0.88, 1.02)
    x = (np.cos(turn) * right - np.sin(turn) * down) / scale + rng.uniform(-0.05, 0.05)
    y = (np.sin(turn) * right + np.cos(turn) * down) / scale + rng.uniform(-0.05, 0.05)
    sheet = np.maximum(np.abs(x), np.abs(y)) < 0.92
    share = _motif(labels["tile_motif"], x, y, rng)
    if article_type == "mosaic":
        x, y = (np.mod(1.9 * axis + 1.0, 2.0) - 1.0 for axis in (x, y))
    depth = _depth(labels["tile_shape"], x, y)

    (low, high), saturation = _WARMTHS[labels["tile_warmth"]]
    value = rng.uniform(0.45, 0.72)
    ground = np.array(colorsys.hsv_to_rgb(rng.uniform(low, high), saturation, value))
    other = np.clip(ground * (0.45 if rng.random() < 0.5 else 1.55), 0.0, 1.0)
    face = ground + (other - ground) * share[..., None]
    edge = "straight" if article_type == "mosaic" else labels["tile_edge"]
    light = _edge_light(edge, depth)
    gloss, width = _SURFACES[labels["tile_surface"]]
    streak = np.exp(-(((right + down - rng.uniform(-0.5, 0.5)) / width) ** 2))
    face = face * light[..., None]
    face = face + gloss * streak[..., None] * (1.0 - face)

    wall = np.ones((fine, fine, 3)) * rng.uniform(0.84, 0.95)
    inside = (depth > 0.0) & (sheet if article_type == "mosaic" else True)
    grout = rng.uniform(0.25, 0.4)
    picture = np.where(inside[..., None], face, grout if article_type == "mosaic" else wall)
    if article_type == "mosaic":
        picture = np.where(sheet[..., None], picture, wall)
    small = picture.reshape(size, 3, size, 3, 3).mean(axis=(1, 3)) * rng.uniform(0.88, 1.05)
    noisy = 255.0 * small + rng.normal(0.0, 2.5, small.shape)
    return np.clip(noisy + 0.5, 0.0, 255.0).astype(np.uint8)


def _depth(shape: str, x: Field, y: Field) -> Field:
    """Return how far inside the tile a point lies, in units of half the picture; negative outside."""
    depths: dict[str, Field] = {
        "square": 0.78 - np.maximum(np.abs(x), np.abs(y)),
        "rectangle": np.minimum(0.88 - np.abs(x), 0.42 - np.abs(y)),
        "hexagon": 0.78 - np.maximum(np.abs(y), 0.866 * np.abs(x) + 0.5 * np.abs(y)),
        "round": 0.80 - np.hypot(x, y),
    }
    return depths[shape]


def _edge_light(edge: str, depth: Field) -> Field:
    """Return how bright the face is: a bevel catches light from above, a cushion falls off towards its edge."""
    if edge == "straight":
        return np.ones_like(depth)
    if edge == "cushioned":
        return 0.45 + 0.55 * np.clip(depth / 0.30, 0.0, 1.0) ** 0.6
    down, right = np.gradient(depth)
    towards = (down + right) / (np.hypot(down, right) + 1e-9)
    # The depth falls towards the edge, so its gradient points inwards: away from the light below and on the right.
    return np.where(depth < 0.16, 1.0 + 0.45 * towards, 1.0)


def _motif(motif: str, x: Field, y: Field, rng: np.random.Generator) -> Field:
    """Return the share of the second colour, in 0..1."""
    if motif == "plain":
        return np.zeros_like(x)
    if motif == "checkered":
        return (np.floor(3.2 * x) + np.floor(3.2 * y)) % 2.0
    if motif == "star":
        angle, radius = np.arctan2(y, x), np.hypot(x, y)
        star = radius < 0.36 + 0.20 * np.cos(8.0 * angle)
        ring = np.abs(radius - 0.68) < 0.05
        return (star | ring).astype(np.float64)
    if motif == "speckled":
        centres = rng.uniform(-1.0, 1.0, (70, 2))
        sizes = rng.uniform(0.03, 0.08, 70)
        inside = np.zeros(x.shape, dtype=bool)
        for (left, top), radius in zip(centres, sizes, strict=True):
            inside |= np.abs(x - left) + np.abs(y - top) < radius
        return inside.astype(np.float64)
    share = np.zeros_like(x)
    for _ in range(4):
        angle, waves, phase = rng.uniform(0.0, np.pi), rng.uniform(2.0, 5.0), rng.uniform(0.0, 6.3)
        across, along = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
        path = across - rng.uniform(-0.6, 0.6) - 0.12 * np.sin(waves * along + phase)
        share = np.maximum(share, np.exp(-((path / 0.035) ** 2)))
    return share


def _one_of(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
