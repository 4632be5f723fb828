"""Photos of synthetic garments: pose, background, light, folds, fabric and sensor, vectorised over pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from .details import DetailedStyle
from .marks import mark_jeans, mark_upper
from .shapes import Arms, Outline, dress_figure, hang, jeans_figure, outline_jeans, outline_upper
from .style import Cut, Fabric, Field, Rgb, Style

#: A pattern's repeat never falls below this share of the picture's side: a finer one would print as grey.
_LEAST_PERIOD = {"solid": 0.0, "striped": 0.075, "checked": 0.10, "dotted": 0.095, "floral": 0.15}
_SKINS = ((0.93, 0.80, 0.70), (0.80, 0.62, 0.49), (0.55, 0.38, 0.28), (0.90, 0.90, 0.89), (0.62, 0.62, 0.64))
_TROUSERS = ((0.13, 0.14, 0.16), (0.22, 0.29, 0.42), (0.72, 0.68, 0.60), (0.40, 0.42, 0.40), (0.86, 0.86, 0.84))
_WALLS = ((0.86, 0.84, 0.79), (0.74, 0.81, 0.85), (0.85, 0.74, 0.70), (0.70, 0.77, 0.68), (0.55, 0.48, 0.42))


def photograph(style: Style, rng: np.random.Generator, size: int, variation: float = 1.0) -> npt.NDArray[np.uint8]:
    """Return one photo of the garment, (size, size, 3) RGB uint8; `rng` decides everything but the garment.

    `variation` scales what photos of one garment differ by: 1 is a market place, 0 a studio where
    every garment lies straight on a plain backdrop.
    The same style and generator at another size show the same scene; only texture and noise differ.
    """
    grain = rng.spawn(1)[0]
    shape = _pose(style, rng, variation)
    canvas = _Canvas(size, _frame(shape, rng, size, variation))

    garment = canvas.fill(shape.garment)
    skin, trousers = canvas.fill(shape.skin), canvas.fill(shape.trousers)
    seams = canvas.stroke(shape.seams)

    folds, warp = _folds(rng, canvas, variation)
    cloth = _cloth(style.fabric, shape, canvas, warp)
    if style.article_type == "jeans":
        cloth = _denim(cloth, style, canvas, grain)
    light = folds * _relief(garment, rng, size) * (1.0 - rng.uniform(0.25, 0.5) * seams)

    picture = _background(rng, grain, size, style.fabric.body, variation)
    picture *= 1.0 - rng.uniform(0.05, 0.45) * _shadow(np.maximum(garment, skin), rng, size)[..., None]
    trouser_tint, skin_tint = _tint(rng, _TROUSERS), _tint(rng, _SKINS)
    if shape.skin:
        rounded = 0.82 + 0.18 * _blur(np.maximum(skin, trousers), 0.03 * size)[..., None]
        if shape.trousers:
            picture = _over(picture, trouser_tint * rounded, trousers)
        picture = _over(picture, skin_tint * rounded, skin)
    inside_light, hanger_tint = rng.uniform(0.40, 0.58), np.float32(rng.uniform(0.1, 0.8))
    if shape.opening is not None and not shape.skin:
        # The lift keeps the inside of a black garment apart from its front.
        picture = _over(picture, cloth * inside_light + 0.12 * (1.0 - cloth), canvas.fill([shape.opening]))
    if shape.hanger:
        picture = _over(picture, hanger_tint, canvas.stroke(shape.hanger))
    picture = _over(picture, cloth * light[..., None], garment)
    for mark in shape.marks:
        mask = garment * np.maximum(canvas.fill(mark.polygons), canvas.stroke(mark.lines))
        picture = _over(picture, np.array(mark.colour, dtype=np.float32) * light[..., None], mask)
    return _expose(picture, rng, grain, size, variation)


@dataclass(frozen=True)
class _Camera:
    """Pixels = matrix @ garment units + offset."""

    matrix: Field  # (2, 2)
    offset: Field  # (2,)

    @cached_property
    def scale(self) -> float:
        """Pixels a garment unit."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


class _Canvas:
    """Rasterises polygons given in garment units into smooth-edged masks (size, size) in 0..1."""

    def __init__(self, size: int, camera: _Camera) -> None:
        self.size, self.camera = size, camera
        self.fine = 4 if size <= 96 else 2
        ys, xs = np.mgrid[0:size, 0:size].astype(np.float32) + 0.5
        inverse = np.linalg.inv(camera.matrix).astype(np.float32)
        dx, dy = xs - np.float32(camera.offset[0]), ys - np.float32(camera.offset[1])
        self.x: Field = inverse[0, 0] * dx + inverse[0, 1] * dy
        self.y: Field = inverse[1, 0] * dx + inverse[1, 1] * dy

    def _pixels(self, points: Field) -> list[float]:
        flat: list[float] = ((points @ self.camera.matrix.T + self.camera.offset) * self.fine).ravel().tolist()
        return flat

    def fill(self, polygons: Sequence[Field]) -> Field:
        """Return the mask of the union of `polygons`."""
        if not polygons:
            return np.zeros((self.size, self.size), dtype=np.float32)
        image = Image.new("L", (self.size * self.fine,) * 2)
        draw = ImageDraw.Draw(image)
        for polygon in polygons:
            draw.polygon(self._pixels(polygon), fill=255)
        return self._mask(image)

    def stroke(self, lines: Sequence[tuple[Field, float]]) -> Field:
        """Return the mask of polylines, each with a width in garment units; never thinner than half a pixel."""
        image = Image.new("L", (self.size * self.fine,) * 2)
        draw = ImageDraw.Draw(image)
        for line, width in lines:
            pixels = max(round(width * self.camera.scale * self.fine), self.fine // 2)
            draw.line(self._pixels(line), fill=255, width=pixels, joint="curve")
        return self._mask(image)

    def _mask(self, image: Image.Image) -> Field:
        return np.asarray(image.reduce(self.fine), dtype=np.float32) / 255.0


def _pose(style: Style, rng: np.random.Generator, variation: float) -> Outline:
    """Return the garment's polygons with the sleeves or legs as this photo has them, and what it hangs on."""
    shown = rng.random()
    figure, hanger = 0.4 * variation, 0.6 * variation
    if isinstance(style.cut, Cut):
        arms: Arms = (_arm_angles(rng, variation), _arm_angles(rng, variation))
        shape = outline_upper(style.cut, arms)
        if isinstance(style, DetailedStyle):
            mark_upper(shape, style, arms)
        if shown < figure:
            dress_figure(shape, style.cut, arms, head=rng.random() < 0.5, trousers=style.article_type == "top")
        elif shown < hanger:
            hang(shape, style.cut)
        return shape
    stance = (rng.uniform(-0.03, 0.10), rng.uniform(-0.03, 0.10))
    shape = outline_jeans(style.cut, stance)
    if isinstance(style, DetailedStyle):
        mark_jeans(shape, style, stance)
    if shown < figure:
        jeans_figure(shape, style.cut, stance)
    return shape


def _arm_angles(rng: np.random.Generator, variation: float) -> tuple[float, float]:
    upper = 0.41 + variation * rng.uniform(-0.21, 0.21)
    return upper, upper - variation * rng.uniform(0.0, 0.28)


def _frame(shape: Outline, rng: np.random.Generator, size: int, variation: float) -> _Camera:
    """Return a camera that has the whole garment in the picture, turned, sheared and off centre."""
    turn, shear = variation * rng.normal(0.0, 0.09), variation * rng.uniform(-0.09, 0.09)
    stretch = 1.0 + variation * rng.uniform(-0.06, 0.06)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    matrix = rotation @ np.array([[stretch, shear], [0.0, 1.0 / stretch]])
    points = np.concatenate(shape.garment) @ matrix.T
    low, high = points.min(axis=0), points.max(axis=0)
    scale = size * (0.96 - variation * rng.uniform(0.0, 0.18)) / float((high - low).max())
    slack = size - scale * (high - low)
    return _Camera(matrix * scale, slack * (0.5 + variation * rng.uniform(-0.35, 0.35, 2)) - scale * low)


def _smooth_noise(rng: np.random.Generator, cells: int, size: int) -> Field:
    """Return noise of about unit variance that changes over size / cells pixels, (size, size)."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))


def _blur(mask: Field, radius: float) -> Field:
    image = Image.fromarray((mask * 255.0).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, dtype=np.float32) / 255.0


def _over(below: Field, above: Field | np.float32, mask: Field) -> Field:
    return below + (above - below) * mask[..., None]


def _tint(rng: np.random.Generator, colours: tuple[Rgb, ...]) -> Field:
    colour = np.array(colours[int(rng.integers(len(colours)))], dtype=np.float32)
    return colour * np.float32(rng.uniform(0.9, 1.05))


def _folds(rng: np.random.Generator, canvas: _Canvas, variation: float) -> tuple[Field, Field]:
    """Return how folds brighten and darken the cloth, around 1, and how far they shift its print, in units."""
    depth = 0.02 + variation * rng.uniform(0.0, 0.08)
    relief = _smooth_noise(rng, 7, canvas.size)
    for _ in range(2):
        angle, waves = rng.uniform(-0.6, 0.6), rng.uniform(3.0, 9.0)
        wave = np.sin(waves * (math.cos(angle) * canvas.x + math.sin(angle) * canvas.y) + rng.uniform(0.0, 6.3))
        relief = relief + 0.7 * wave * np.abs(_smooth_noise(rng, 4, canvas.size))
    return 1.0 + depth * relief, 0.016 * variation * relief


def _relief(garment: Field, rng: np.random.Generator, size: int) -> Field:
    """Return the shading of a rounded body lit from one side: darker to its edges and away from the light."""
    height = _blur(garment, 0.05 * size)
    down, right = np.gradient(height)
    angle = rng.uniform(0.0, 2.0 * math.pi)
    slope = (math.cos(angle) * right + math.sin(angle) * down) * size * 0.05
    edge = rng.uniform(0.15, 0.4)
    shading: Field = (1.0 - edge + edge * np.clip(1.25 * height, 0.0, 1.0)) * (1.0 + 0.5 * slope)
    return shading


def _shadow(silhouette: Field, rng: np.random.Generator, size: int) -> Field:
    """Return the blurred silhouette, moved a little away from the light, (size, size) in 0..1."""
    down, right = np.round(rng.uniform(-0.03, 0.05, 2) * size).astype(int).tolist()
    reach = math.ceil(0.05 * size)
    wide = np.pad(_blur(silhouette, rng.uniform(0.015, 0.05) * size), reach, mode="edge")
    return wide[reach - down : reach - down + size, reach - right : reach - right + size]


def _cloth(fabric: Fabric, shape: Outline, canvas: _Canvas, warp: Field) -> Field:
    """Return the printed cloth, (size, size, 3), as if it covered the whole picture; sleeves have their own grain."""
    if fabric.pattern == "solid":
        return np.broadcast_to(np.array(fabric.body, dtype=np.float32), (*canvas.x.shape, 3))
    u, v = canvas.x, canvas.y
    for limb in shape.sleeves:
        inside = canvas.fill([limb.outline]) > 0.5
        (left, top), (right, down) = limb.origin.tolist(), limb.along.tolist()
        dx, dy = canvas.x - left, canvas.y - top
        u = np.where(inside, down * dx - right * dy, u)
        v = np.where(inside, right * dx + down * dy, v)
    share = _print(fabric, u + warp, v + warp, canvas)[..., None]
    body, second = (np.array(colour, dtype=np.float32) for colour in (fabric.body, fabric.second))
    return body + (second - body) * share


def _print(fabric: Fabric, u: Field, v: Field, canvas: _Canvas) -> Field:
    """Return the share of the second colour at fabric coordinates `u`, `v`, in 0..1."""
    period = max(fabric.period, _LEAST_PERIOD[fabric.pattern] * canvas.size / canvas.camera.scale)
    blur = 1.0 / (period * canvas.camera.scale)  # one pixel, in repeats: the width of a smooth edge
    cos, sin = math.cos(fabric.angle), math.sin(fabric.angle)
    a = (cos * u - sin * v) / period + fabric.phase[0]
    b = (sin * u + cos * v) / period + fabric.phase[1]
    if fabric.pattern == "striped":
        return _bands(b, fabric.duty, blur)
    if fabric.pattern == "checked":
        across, along = _bands(a, fabric.duty, blur), _bands(b, fabric.duty, blur)
        return np.maximum(across, along) if fabric.windowpane else 0.5 * (across + along)
    row = np.floor(b)
    a = a + 0.5 * (row % 2)
    if fabric.pattern == "dotted":
        radius = np.hypot(a - np.floor(a) - 0.5, b - row - 0.5)
        return np.clip((0.5 * fabric.duty + 0.03 - radius) / blur + 0.5, 0.0, 1.0)
    return _flowers(fabric, a, b, blur)


def _bands(t: Field, duty: float, blur: float) -> Field:
    share: Field = np.clip((0.5 * duty - np.abs(t - np.floor(t) - 0.5)) / blur + 0.5, 0.0, 1.0)
    return share


def _flowers(fabric: Fabric, a: Field, b: Field, blur: float) -> Field:
    """Return scattered flowers of five petals with an open heart, and a leaf beside each."""
    column, row = np.floor(a), np.floor(b)
    scatter = fabric.scatter[row.astype(np.int64) % 16, column.astype(np.int64) % 16]  # (S, S, 4)
    x = a - column - 0.5 - 0.10 * scatter[..., 0]
    y = b - row - 0.5 - 0.10 * scatter[..., 1]
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + math.pi * scatter[..., 2]
    reach = 0.36 + 0.05 * scatter[..., 3]
    petals = (reach * (0.66 + 0.34 * np.cos(5.0 * angle)) - radius) / blur + 0.5
    heart = (radius - 0.10) / blur + 0.5
    leaf = (0.09 - np.hypot(x - 0.30, y - 0.27)) / blur + 0.5
    flower = np.clip(np.minimum(petals, heart), 0.0, 1.0)
    share: Field = np.maximum(flower, 0.7 * np.clip(leaf, 0.0, 1.0))
    return share


def _denim(cloth: Field, style: Style, canvas: _Canvas, grain: np.random.Generator) -> Field:
    """Return denim: worn paler on the thighs, and with a twill's grain."""
    assert not isinstance(style.cut, Cut)
    thigh = 0.5 * (np.abs(canvas.x) - 0.5 * style.cut.hip) / (0.3 * style.cut.hip)
    worn = np.exp(-(thigh**2) - ((canvas.y - 1.05) / 0.5) ** 2)
    fade = style.cut.fade * (0.3 if style.labels["wash"] == "black" else 1.0)
    twill = 1.0 + np.float32(0.05) * grain.standard_normal(canvas.x.shape, dtype=np.float32)
    return (cloth + fade * worn[..., None] * (0.9 - cloth)) * twill[..., None]


def _background(
    rng: np.random.Generator, grain: np.random.Generator, size: int, garment: Rgb, variation: float
) -> Field:
    """Return a studio, wall, or floor to photograph on, (size, size, 3), that the garment stands out from."""
    kind = rng.random()
    if kind >= 0.55 * variation:
        colour = np.full(3, rng.choice((0.97, 0.92, 0.82, 0.66, 0.45)) + rng.uniform(-0.03, 0.03), dtype=np.float32)
    else:
        colour = _tint(rng, _WALLS)
    # A white shirt on a white wall would be a picture of nothing; shops avoid it as well.
    if float(np.abs(colour - np.array(garment)).max()) < 0.14:
        colour = colour - 0.2 if float(colour.mean()) > 0.4 else colour + 0.25
    ground = np.ones((size, size, 1), dtype=np.float32) * colour.astype(np.float32)
    line = np.linspace(-1.0, 1.0, size, dtype=np.float32)[:, None, None]
    style = rng.random() if variation else 1.0
    if style < 0.3:
        ground = ground * (1.0 + rng.uniform(-0.16, 0.16) * line)
    elif style < 0.45:
        ground = ground * np.where(line > rng.uniform(0.2, 0.9), np.float32(rng.uniform(0.75, 0.92)), np.float32(1.0))
    elif style < 0.6:
        ground = ground * (1.0 + 0.05 * _smooth_noise(grain, size // 3, size))[..., None]
    elif style < 0.7:
        planks = rng.uniform(0.88, 1.06, int(rng.integers(4, 9)))
        index = np.arange(size) * len(planks) // size
        ground = ground * planks[index].astype(np.float32)[None, :, None]
    return ground


def _expose(
    picture: Field, rng: np.random.Generator, grain: np.random.Generator, size: int, variation: float
) -> npt.NDArray[np.uint8]:
    """Return the picture as a camera saves it: uneven light, colour cast, blur, sensor noise, 8 bits."""
    angle, fall = rng.uniform(0.0, 2.0 * math.pi), variation * rng.uniform(0.0, 0.16)
    line = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    lamp = np.float32(1.0) + (fall * math.cos(angle) * line)[None, :] + (fall * math.sin(angle) * line)[:, None]
    cast = 1.0 + variation * (rng.uniform(-0.16, 0.10) + rng.uniform(-0.05, 0.05, 3))
    lit = picture * (lamp[..., None] * cast.astype(np.float32))
    noise = grain.standard_normal((size, size, 3), dtype=np.float32)
    soft = Image.fromarray((np.clip(lit, 0.0, 1.0) * 255.0).astype(np.uint8))
    soft = soft.filter(ImageFilter.GaussianBlur(variation * rng.uniform(0.0, 0.55) * size / 64))
    grainy = np.asarray(soft, dtype=np.float32) + np.float32(0.5 + variation * rng.uniform(0.0, 4.5)) * noise
    return np.clip(grainy + 0.5, 0.0, 255.0).astype(np.uint8)
