"""What the pixels of Fashion-MNIST tell: one measurement and its cut-offs for each attribute that no class decides.

`images` are (N, 28, 28) uint8 as the data set stores them: 0 for background, more is darker. Every cut-off is a
quantile of its measurement over the 60,000 training images of the article types that are asked, as `cuts` finds
it; a measurement that reaches a cut-off belongs to the value above it.

| attribute  | values, from least to most     | asked of               | measured                                      |
|------------|--------------------------------|------------------------|-----------------------------------------------|
| proportion | narrow, regular, wide          | all                    | width to height of the box around the product |
| silhouette | tapered, straight, flared      | top, trouser, dress    | width at the hem to width across the middle   |
| frame_fill | sparse, half, full             | all                    | share of the frame that is product            |
| heel_gap   | none, low, high                | sandal, sneaker,       | pixel rows of light under the arch; a wedge   |
|            |                                | ankle boot             | has none                                      |
| surface    | plain, patterned               | top, pullover, dress,  | contrast of neighbouring pixels on the chest: |
|            |                                | coat, shirt            | prints, stripes, checks, fastenings           |
| symmetry   | symmetric, asymmetric          | trouser, dress, bag    | share of the outline without a mirror image   |
| handle     | flat, raised                   | bag                    | pixels of light below a thin arch             |
| hem        | lowest, above_cuffs            | pullover, coat, shirt  | pixel rows from the hem to the lowest cuff    |
| shades     | any of dark, medium, light     | all                    | shades that cover a fifth of the product      |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

SIDE = 28
#: A pixel at least this far from the white background belongs to the product; below is resampling noise.
FOREGROUND = 16
#: Lightness (0 black, 255 white) that parts dark from medium and medium from light: the terciles of the
#: 60,000 training images, as `tone_cuts` measures them, rounded to a tenth.
TONE_CUTS = (73.6, 114.6)
#: Lightness that parts the shades of single pixels: thirds of the scale.
SHADE_CUTS = (85, 170)
#: Share of the product's pixels that a shade must cover to be named.
SHADE_SHARE = 0.2
SHADES = ("dark", "medium", "light")


@dataclass(frozen=True)
class Measurement:
    """How an attribute's value follows from a picture.

    `of` returns one number an image (N,). `cuts` part the `values`; they are the `quantiles` of the training images
    whose article type is in `asked_of` (empty: all), rounded to three decimals.
    """

    of: Callable[[Pixels], Floats]
    values: tuple[str, ...]
    quantiles: tuple[float, ...]
    cuts: tuple[float, ...]
    asked_of: tuple[str, ...] = ()

    def asks(self, article_type: str) -> bool:
        """Return whether the question is asked of `article_type`."""
        return not self.asked_of or article_type in self.asked_of

    def read(self, images: Pixels) -> list[str]:
        """Return the value of each image."""
        return [self.values[i] for i in np.digitize(self.of(images), self.cuts)]


def product(images: Pixels) -> Mask:
    """Return which pixels show the product (N, 28, 28)."""
    return images >= FOREGROUND


def crossed(mask: Mask, axis: int) -> Mask:
    """Return, of each line along `axis`, whether it crosses `mask`."""
    return np.asarray(mask.any(axis), dtype=np.bool_)


def between(mask: Mask, axis: int) -> Mask:
    """Return which pixels lie in `mask` or between two of its pixels along `axis`."""
    before = np.logical_or.accumulate(mask, axis)
    after = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis), axis)
    return before & after


def first(mask: Mask, axis: int) -> Counts:
    """Return the index of the first pixel of `mask` along `axis`; 28 without one."""
    return np.where(crossed(mask, axis), mask.argmax(axis), SIDE)


def last(mask: Mask, axis: int) -> Counts:
    """Return the index of the last pixel of `mask` along `axis`; -1 without one."""
    return np.asarray(SIDE - 1 - first(np.flip(mask, axis), axis))


def extents(mask: Mask, axis: int) -> Counts:
    """Return how many pixels lie from the first to the last one of `mask` along `axis`."""
    return np.asarray(between(mask, axis).sum(axis))


def proportion(images: Pixels) -> Floats:
    """Return width to height of the box around the product."""
    mask = product(images)
    width, height = (extents(crossed(mask, axis), 1) for axis in (1, 2))
    return np.asarray(width / np.maximum(height, 1))


def frame_fill(images: Pixels) -> Floats:
    """Return the share of the frame that the product covers, 0 to 1."""
    return np.asarray(product(images).mean(axis=(1, 2)))


def silhouette(images: Pixels) -> Floats:
    """Return the width just above the hem to the width across the middle, sleeves included."""
    mask = product(images)
    rows = crossed(mask, 2)
    top, height = first(rows, 1)[:, None], extents(rows, 1)[:, None]
    place = (np.arange(SIDE) + 0.5 - top) / np.maximum(height, 1)  # (N, 28), 0 at the top edge, 1 at the hem
    widths = extents(mask, 2)  # (N, 28)
    hem, middle = (
        np.where(within, widths, 0).sum(1) / np.maximum(within.sum(1), 1)
        for within in ((place > 0.82) & (place < 0.97), (place > 0.39) & (place < 0.57))
    )
    return np.asarray(hem / np.maximum(middle, 1))


def heel_gap(images: Pixels) -> Floats:
    """Return the pixel rows of light under the arch. Every shoe's toe points left: its arch is right of column 8."""
    mask = product(images)
    ground = last(crossed(mask, 2), 1)[:, None]
    arch = mask[:, :, 8:22]
    return np.asarray(np.where(crossed(arch, 1), ground - last(arch, 1), 0).max(1), dtype=np.float64)


def surface(images: Pixels) -> Floats:
    """Return the mean step in lightness between neighbours on the chest, down plus across, arms left out."""
    inside = between(product(images), 2)
    inside[:, :, 1:-1] &= inside[:, :, :-2] & inside[:, :, 2:]
    chest = np.s_[:, 6:25, 10:18]
    light, inside = images[chest].astype(np.int64), inside[chest]
    total = np.zeros(len(images))
    for axis, ahead, behind in ((1, np.s_[:, 1:], np.s_[:, :-1]), (2, np.s_[:, :, 1:], np.s_[:, :, :-1])):
        both = inside[ahead] & inside[behind]
        steps = np.abs(np.diff(light, axis=axis))
        total += np.where(both, steps, 0).sum(axis=(1, 2)) / np.maximum(both.sum(axis=(1, 2)), 1)
    return total


def symmetry(images: Pixels) -> Floats:
    """Return the share of the outline that has no mirror image, about the best axis within a pixel of the middle."""
    mask = product(images)
    outline = between(mask, 2)
    columns = crossed(mask, 1)
    ends = first(columns, 1) + last(columns, 1)  # twice the middle
    best = np.full(len(images), np.inf)
    for shift in (-2, -1, 0, 1, 2):
        source = (ends + shift)[:, None] - np.arange(SIDE)  # (N, 28), the column that each one mirrors
        mirrored = np.take_along_axis(outline, np.clip(source, 0, SIDE - 1)[:, None, :], axis=2)
        mirrored &= ((source >= 0) & (source < SIDE))[:, None, :]
        best = np.minimum(best, (outline != mirrored).sum(axis=(1, 2)))
    return np.asarray(best / np.maximum(outline.sum(axis=(1, 2)), 1))


def handle(images: Pixels) -> Floats:
    """Return the pixels of light that lie below an arch of at most 4 rows and above the rest of the product."""
    mask = product(images)
    row = np.arange(SIDE)[:, None]
    top = first(mask, 1)[:, None]  # (N, 1, 28)
    under = first(~mask & (row > top), 1)[:, None]  # where the topmost stretch of each column ends
    body = first(mask & (row > under), 1)[:, None]
    arched = (under - top <= 4) & (under < 20) & (body < SIDE)
    return np.asarray(np.where(arched, body - under, 0).sum(axis=(1, 2)), dtype=np.float64)


def hem(images: Pixels) -> Floats:
    """Return the pixel rows from the hem, as the six middle columns show it, down to the product's lowest row."""
    mask = product(images)
    lowest, middle = (last(crossed(part, 2), 1) for part in (mask, mask[:, :, 11:17]))
    return np.asarray(lowest - middle, dtype=np.float64)


CLOTHES = ("top", "pullover", "dress", "coat", "shirt")
SHOES = ("sandal", "sneaker", "ankle boot")

MEASURED: Mapping[str, Measurement] = {
    "proportion": Measurement(proportion, ("narrow", "regular", "wide"), (0.2, 0.65), (0.607, 1.037)),
    "silhouette": Measurement(
        silhouette, ("tapered", "straight", "flared"), (0.25, 0.75), (0.833, 1.096), ("top", "trouser", "dress")
    ),
    "frame_fill": Measurement(frame_fill, ("sparse", "half", "full"), (1 / 3, 2 / 3), (0.375, 0.551)),
    "heel_gap": Measurement(heel_gap, ("none", "low", "high"), (0.75, 0.87), (3, 7), SHOES),
    "surface": Measurement(surface, ("plain", "patterned"), (0.8,), (46.974,), CLOTHES),
    "symmetry": Measurement(symmetry, ("symmetric", "asymmetric"), (0.75,), (0.09,), ("trouser", "dress", "bag")),
    "handle": Measurement(handle, ("flat", "raised"), (0.5,), (20,), ("bag",)),
    "hem": Measurement(hem, ("lowest", "above_cuffs"), (0.7,), (2,), ("pullover", "coat", "shirt")),
}
#: What the pixels add to the seven attributes of attributree-fashion-mnist, in the order of the table above.
PIXEL_ATTRIBUTES = (*MEASURED, "shades")


def pixel_cells(images: Pixels, article_types: Sequence[str], name: str) -> list[str | None]:
    """Return the cell of one of PIXEL_ATTRIBUTES for each image; None where the question is not asked."""
    if name == "shades":
        return list(shades(images))
    measurement = MEASURED[name]
    values = measurement.read(images)
    return [value if measurement.asks(kind) else None for value, kind in zip(values, article_types, strict=True)]


def cuts(images: Pixels, article_types: Sequence[str], name: str) -> tuple[float, ...]:
    """Return the cut-offs of `name` that `images` give: how those in MEASURED were found."""
    measurement = MEASURED[name]
    asked = np.array([measurement.asks(kind) for kind in article_types])
    return tuple(round(float(q), 3) for q in np.quantile(measurement.of(images[asked]), measurement.quantiles))


def shades(images: Pixels) -> list[str]:
    """Return the shades that cover SHADE_SHARE of each product or more, as a multi-label cell such as "dark|light"."""
    mask = product(images)
    shade = np.digitize(255 - images.astype(np.int64), SHADE_CUTS)
    covered = np.stack([((shade == i) & mask).sum(axis=(1, 2)) for i in range(3)], axis=1)  # (N, 3)
    named = covered >= SHADE_SHARE * np.maximum(mask.sum(axis=(1, 2)), 1)[:, None]
    named[:, 2] |= ~mask.any(axis=(1, 2))  # nothing but background is white
    return ["|".join(np.array(SHADES)[row]) for row in named]


def lightness(images: Pixels) -> Floats:
    """Return the mean lightness (N,) of the product's pixels, 0 black to 255 white; all white without any."""
    mask = product(images)
    ink = np.where(mask, images, 0).sum(axis=(1, 2), dtype=np.int64)
    mean: Floats = 255.0 - ink / np.maximum(mask.sum(axis=(1, 2)), 1)
    return mean


def tone(images: Pixels) -> list[str]:
    """Return dark, medium or light for each of `images` (N, 28, 28)."""
    return [("dark", "medium", "light")[i] for i in np.digitize(lightness(images), TONE_CUTS)]


def tone_cuts(images: Pixels) -> tuple[float, float]:
    """Return the terciles of the images' lightness, rounded to a tenth: how TONE_CUTS was found."""
    low, high = np.quantile(lightness(images), (1 / 3, 2 / 3))
    return round(float(low), 1), round(float(high), 1)
