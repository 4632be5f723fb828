"""What a synthetic garment is, before any photo of it: its true labels, fabric and cut.

Lengths are in garment units: y = 0 is the shoulder line at the neck (the waistband of jeans), y grows
downwards, a shoulder tip lies near x = 0.6 and the hem of a top near y = 1.8.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from attributree.schema import NOT_APPLICABLE, SEPARATOR, Attribute, MultiLabel, Ordinal, SingleLabel, Value

Field = npt.NDArray[np.floating[Any]]
Rgb = tuple[float, float, float]

ARTICLE_TYPES = ("top", "dress", "jeans")

_NECKLINE = (
    Value("crew", synonyms=("crew neck", "round neck")),
    Value("v_neck", title="V-neck", synonyms=("vee neck", "v neckline")),
    Value("scoop", synonyms=("scoop neck", "scooped neckline")),
    Value("boat", synonyms=("boat neck", "bateau", "slash neck")),
    Value("turtleneck", synonyms=("roll neck", "polo neck")),
    Value("square", synonyms=("square neck", "square neckline")),
)
_SLEEVE_LENGTH = (
    Value("sleeveless", synonyms=("no sleeves", "without sleeves")),
    Value("short", synonyms=("short sleeve", "short sleeves", "short sleeved")),
    Value("three_quarter", synonyms=("3/4 sleeve", "3/4 sleeves", "three-quarter sleeves", "three-quarter sleeve")),
    Value("long", synonyms=("long sleeve", "long sleeves", "long sleeved", "full sleeves")),
)
_PATTERN = (
    Value("solid", synonyms=("plain", "unpatterned")),
    Value("striped", synonyms=("stripes", "stripy")),
    Value("checked", synonyms=("gingham", "plaid", "checks")),
    Value("dotted", synonyms=("polka dot", "polka dots", "spotted")),
    Value("floral", synonyms=("flower print", "flowery")),
)
_COLOUR = (
    Value("black", synonyms=("jet black",)),
    Value("white", synonyms=("ivory",)),
    Value("grey", synonyms=("gray",)),
    Value("red", synonyms=("scarlet",)),
    Value("blue", synonyms=("cobalt",)),
    Value("green", synonyms=("emerald",)),
    Value("yellow", synonyms=("lemon",)),
    Value("pink", synonyms=("blush",)),
    Value("brown", synonyms=("chocolate",)),
)
_HEM = (
    Value("mini", synonyms=("mini length", "thigh length")),
    Value("knee", synonyms=("knee length", "to the knee")),
    Value("midi", synonyms=("midi length", "calf length")),
    Value("maxi", synonyms=("maxi length", "ankle length", "floor length")),
)
_WASH = (
    Value("light", synonyms=("light wash", "bleached")),
    Value("medium", synonyms=("medium wash", "mid wash")),
    Value("dark", synonyms=("dark wash", "rinse wash")),
    Value("black", synonyms=("black wash", "black denim")),
)


def plain_attributes() -> tuple[Attribute, ...]:
    """Return the six attributes that every synthetic garment has, in the order of their columns."""
    worn_above = ("top", "dress")
    return (
        Attribute("neckline", SingleLabel(_NECKLINE), applies_to=worn_above),
        Attribute("sleeve_length", Ordinal(_SLEEVE_LENGTH), applies_to=worn_above),
        Attribute("pattern", SingleLabel(_PATTERN), applies_to=worn_above),
        Attribute("colour", MultiLabel(_COLOUR)),
        Attribute("hem", Ordinal(_HEM), title="Hem length", applies_to=("dress",)),
        Attribute("wash", Ordinal(_WASH), applies_to=("jeans",)),
    )


#: Hue in turns, saturation and value from which a colour's shades are drawn.
_SHADES: Mapping[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "black": ((0.0, 1.0), (0.0, 0.12), (0.06, 0.14)),
    "white": ((0.08, 0.16), (0.0, 0.05), (0.93, 0.99)),
    "grey": ((0.0, 1.0), (0.0, 0.06), (0.42, 0.60)),
    "red": ((-0.025, 0.015), (0.78, 0.92), (0.66, 0.86)),
    "blue": ((0.57, 0.64), (0.62, 0.88), (0.45, 0.82)),
    "green": ((0.30, 0.43), (0.52, 0.80), (0.34, 0.62)),
    "yellow": ((0.125, 0.155), (0.68, 0.88), (0.86, 0.97)),
    "pink": ((0.90, 0.95), (0.30, 0.50), (0.90, 0.98)),
    "brown": ((0.055, 0.085), (0.52, 0.70), (0.30, 0.46)),
}
_DENIM_VALUE = {"light": (0.70, 0.80), "medium": (0.47, 0.56), "dark": (0.25, 0.32), "black": (0.08, 0.13)}

#: Half width, depth, and the power of the superellipse that the front edge follows (1 a V, 2 round, 10 square).
_NECKS: Mapping[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "crew": ((0.19, 0.23), (0.15, 0.20), (1.9, 2.2)),
    "v_neck": ((0.19, 0.27), (0.42, 0.66), (1.0, 1.08)),
    "scoop": ((0.26, 0.34), (0.38, 0.54), (2.0, 2.5)),
    "boat": ((0.39, 0.46), (0.08, 0.13), (2.0, 2.6)),
    "turtleneck": ((0.17, 0.21), (0.02, 0.04), (2.0, 2.1)),
    "square": ((0.27, 0.35), (0.30, 0.44), (9.0, 14.0)),
}
_SLEEVES = {"sleeveless": (0.0, 0.0), "short": (0.42, 0.58), "three_quarter": (0.92, 1.06), "long": (1.38, 1.52)}
_HEMS = {"mini": (1.46, 1.58), "knee": (1.88, 2.02), "midi": (2.30, 2.44), "maxi": (2.74, 2.90)}
_PERIODS = {
    "solid": (1.0, 1.0),
    "striped": (0.17, 0.38),
    "checked": (0.22, 0.44),
    "dotted": (0.20, 0.36),
    "floral": (0.40, 0.62),
}


@dataclass(frozen=True)
class Fabric:
    """Colours in 0..1, pattern, its repeat in garment units, and what varies freely about it."""

    body: Rgb
    second: Rgb
    pattern: str
    period: float
    angle: float
    phase: tuple[float, float]
    duty: float
    windowpane: bool
    scatter: Field  # (16, 16, 4) in -1..1: offset, turn and size of each flower


@dataclass(frozen=True)
class Cut:
    """The shape of a top or a dress."""

    neckline: str
    neck_width: float
    neck_depth: float
    neck_power: float
    trim: float
    shoulder: float
    slope: float
    armpit: tuple[float, float]
    waist: tuple[float, float]
    hem: tuple[float, float]
    hem_curve: float
    waist_seam: bool
    sleeve: float
    cuff: float


@dataclass(frozen=True)
class JeansCut:
    """The shape of a pair of jeans."""

    waist: float
    hip: float
    crotch: float
    length: float
    spread: float
    knee: float
    ankle: float
    fade: float


@dataclass(frozen=True)
class Style:
    """One product: everything that all its photos share. `labels` holds all six attributes."""

    article_type: str
    labels: Mapping[str, str]
    fabric: Fabric
    cut: Cut | JeansCut
    fit: str


def draw_style(rng: np.random.Generator, article_type: str) -> Style:
    """Return a random garment of `article_type`; every attribute is drawn independently of the others."""
    if article_type == "jeans":
        return _draw_jeans(rng)
    neckline, sleeve, hem = draw_one(rng, _NECKS), draw_one(rng, _SLEEVES), draw_one(rng, _HEMS)
    pattern = draw_one(rng, _PERIODS, p=(0.32, 0.17, 0.17, 0.17, 0.17))
    colours, shades = _draw_colours(rng, 1 if pattern == "solid" else 2)
    is_dress = article_type == "dress"
    labels = {
        "neckline": neckline,
        "sleeve_length": sleeve,
        "pattern": pattern,
        "colour": SEPARATOR.join(colours),
        "hem": hem if is_dress else NOT_APPLICABLE,
        "wash": NOT_APPLICABLE,
    }
    width = rng.uniform(0.46, 0.56)
    fit = "slim fit" if width < 0.49 else "regular fit" if width < 0.53 else "relaxed fit"
    cut = _draw_cut(rng, neckline, sleeve, hem if is_dress else None, width)
    return Style(article_type, labels, _draw_fabric(rng, pattern, shades), cut, fit)


def _draw_cut(rng: np.random.Generator, neckline: str, sleeve: str, hem: str | None, width: float) -> Cut:
    neck_width, neck_depth, neck_power = (rng.uniform(*span) for span in _NECKS[neckline])
    sleeveless = sleeve == "sleeveless"
    shoulder = width + (rng.uniform(-0.01, 0.03) if sleeveless else rng.uniform(0.05, 0.10))
    neck_width = min(neck_width, shoulder - 0.08)
    waist_y = rng.uniform(0.95, 1.10)
    if hem is None:
        waist_x, hem_y = width * rng.uniform(0.86, 1.02), rng.uniform(1.50, 2.0)
        hem_x = width * rng.uniform(0.96, 1.16)
    else:
        waist_x, hem_y = width * rng.uniform(0.74, 0.92), rng.uniform(*_HEMS[hem])
        hem_x = width * (1.0 + rng.uniform(0.05, 0.55) * (hem_y - waist_y))
    return Cut(
        neckline=neckline,
        neck_width=neck_width,
        neck_depth=neck_depth,
        neck_power=neck_power,
        trim=rng.uniform(0.0, 0.07),
        shoulder=shoulder,
        slope=rng.uniform(0.10, 0.17),
        armpit=(width, rng.uniform(0.50, 0.58)),
        waist=(waist_x, waist_y),
        hem=(hem_x, hem_y),
        hem_curve=rng.uniform(0.0, 0.08),
        waist_seam=hem is not None and rng.random() < 0.6,
        sleeve=rng.uniform(*_SLEEVES[sleeve]),
        cuff=rng.uniform(0.17, 0.27) if sleeve in ("three_quarter", "long") else rng.uniform(0.27, 0.36),
    )


def _draw_jeans(rng: np.random.Generator) -> Style:
    wash = draw_one(rng, _DENIM_VALUE)
    fit = draw_one(rng, ("skinny leg", "straight leg", "wide leg"))
    grey = wash == "black" or rng.random() < 0.2
    saturation = rng.uniform(0.0, 0.10) if grey else rng.uniform(0.30, 0.45) + 0.25 * (wash == "dark")
    value = rng.uniform(*_DENIM_VALUE[wash])
    body = colorsys.hsv_to_rgb(rng.uniform(0.58, 0.63), saturation, value)
    colour = "black" if wash == "black" else "grey" if grey else "blue"
    ankle = {"skinny leg": 0.12, "straight leg": 0.19, "wide leg": 0.28}[fit] * rng.uniform(0.92, 1.1)
    hip = rng.uniform(0.48, 0.55)
    cut = JeansCut(
        waist=hip * rng.uniform(0.78, 0.86),
        hip=hip,
        crotch=rng.uniform(0.72, 0.86),
        length=rng.uniform(2.25, 2.75),
        spread=max(rng.uniform(0.26, 0.36), ankle + 0.03),
        knee=0.5 * (ankle + 0.24),
        ankle=ankle,
        fade=rng.uniform(0.0, 0.22),
    )
    na = dict.fromkeys(("neckline", "sleeve_length", "pattern"), NOT_APPLICABLE)
    labels = {**na, "colour": colour, "hem": NOT_APPLICABLE, "wash": wash}
    return Style("jeans", labels, _draw_fabric(rng, "solid", (body, body)), cut, fit)


def _draw_fabric(rng: np.random.Generator, pattern: str, shades: Sequence[Rgb]) -> Fabric:
    tilt = rng.random()
    across = 0.0 if tilt < 0.6 else np.pi / 2 if tilt < 0.85 else rng.uniform(0.5, 1.1)
    lattice = 0.0 if tilt < 0.7 else np.pi / 4
    windowpane = bool(rng.random() < 0.4)
    duty = rng.uniform(0.22, 0.32) if pattern == "checked" and windowpane else rng.uniform(0.38, 0.60)
    return Fabric(
        body=shades[0],
        second=shades[-1],
        pattern=pattern,
        period=rng.uniform(*_PERIODS[pattern]),
        angle=float((across if pattern == "striped" else lattice) + rng.normal(0.0, 0.03)),
        phase=(rng.uniform(0.0, 16.0), rng.uniform(0.0, 16.0)),
        duty=duty,
        windowpane=windowpane,
        scatter=rng.uniform(-1.0, 1.0, (16, 16, 4)).astype(np.float32),
    )


def _draw_colours(rng: np.random.Generator, count: int) -> tuple[list[str], list[Rgb]]:
    """Return `count` colours that can be told apart on one fabric, and a shade of each."""
    names: list[str] = []
    shades: list[Rgb] = []
    while len(names) < count:
        name = draw_one(rng, _SHADES)
        shade = _draw_shade(rng, name)
        # 0.3 in linear distance keeps red on brown, or blue on black, from passing for a solid fabric.
        if name not in names and all(np.linalg.norm(np.subtract(shade, other)) > 0.3 for other in shades):
            names.append(name)
            shades.append(shade)
    return names, shades


def _draw_shade(rng: np.random.Generator, colour: str) -> Rgb:
    hue, saturation, value = (rng.uniform(*span) for span in _SHADES[colour])
    return colorsys.hsv_to_rgb(hue % 1.0, saturation, value)


def draw_one(rng: np.random.Generator, options: Mapping[str, Any] | Sequence[str], p: Sequence[float] = ()) -> str:
    """Return one of `options`, each as likely as any other unless `p` has their weights."""
    names = list(options)
    if not p:
        return names[int(rng.integers(len(names)))]
    return names[int(np.searchsorted(np.cumsum(p), rng.random() * sum(p), side="right"))]
