"""What a detailed synthetic garment has besides the six attributes: everything that the first-party plugins ask.

A detailed garment is a plain one with a changed cut. It keeps neckline, sleeve length, pattern, colours and wash; what
is added is drawn from a generator of its own. `marks` draws what is sewn on and torn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from attributree.schema import NOT_APPLICABLE, SEPARATOR, Attribute, MultiLabel, Ordinal, SingleLabel, Value

from .style import ARTICLE_TYPES, Cut, Field, JeansCut, Style, draw_one, plain_attributes

_Span = tuple[float, float]

#: Necklines with room for a collar, and how often each collar is sewn to them.
_COLLARED = ("crew", "v_neck", "scoop", "boat")
_COLLARS = {"collarless": 0.28, "shirt": 0.18, "mandarin": 0.18, "peter_pan": 0.18, "bow": 0.18}
_SLEEVE_STYLES = ("set_in", "raglan", "puff", "bell")
_CLOSURES = {"pull_on": 0.28, "buttons": 0.24, "zip": 0.24, "wrap": 0.24}
#: Half the width of the chest.
_FITS: Mapping[str, _Span] = {"slim": (0.38, 0.42), "regular": (0.50, 0.55), "oversized": (0.68, 0.76)}
#: Where the hem of a top is.
_HEM_LENGTHS: Mapping[str, _Span] = {
    "cropped": (0.98, 1.08),
    "waist": (1.28, 1.40),
    "hip": (1.64, 1.78),
    "tunic": (2.10, 2.30),
}
#: Of a top: how high its waist is, as a share of its length; how wide waist and hem are, as shares of the chest.
_SILHOUETTES: Mapping[str, tuple[float, float, float]] = {
    "straight": (0.60, 0.98, 1.0),
    "a_line": (0.60, 1.04, 1.55),
    "peplum": (0.68, 0.68, 1.35),
    "blouson": (0.82, 1.28, 0.72),
}
#: Of a dress: the height of its waist, its width, that of the hem at the knee, and whether there is a seam.
_DRESS_SHAPES: Mapping[str, tuple[float, float, float, bool]] = {
    "sheath": (1.0, 0.74, 0.86, False),
    "shift": (1.0, 1.0, 1.04, False),
    "a_line": (1.0, 0.92, 1.55, False),
    "fit_and_flare": (0.95, 0.66, 2.1, True),
    "empire": (0.70, 0.92, 1.35, True),
}
_RISES: Mapping[str, _Span] = {"low": (0.48, 0.54), "mid": (0.72, 0.80), "high": (1.02, 1.12)}
#: Half the width of the leg at the knee and at its end.
_JEANS_FITS: Mapping[str, tuple[float, float]] = {
    "skinny": (0.14, 0.10),
    "straight": (0.20, 0.19),
    "tapered": (0.27, 0.12),
    "flared": (0.15, 0.34),
    "wide_leg": (0.28, 0.32),
}
_DISTRESS = ("none", "light", "moderate", "heavy")
_OCCASIONS = ("casual", "work", "party", "formal", "holiday")


@dataclass(frozen=True)
class DetailedStyle(Style):
    """A product with all its attributes, the six among them. `scatter` (16, 2) in -1..1 says where it is torn."""

    scatter: Field


def detailed_attributes() -> tuple[Attribute, ...]:
    """Return the seventeen attributes of a detailed catalogue, in the order of its columns."""
    plain = {attribute.name: attribute for attribute in plain_attributes()}
    upper = ("top", "dress")
    return (
        plain["neckline"],
        _single("collar", tuple(_COLLARS), upper),
        plain["sleeve_length"],
        _single("sleeve_style", _SLEEVE_STYLES, upper),
        plain["pattern"],
        plain["colour"],
        _ordinal("hem_length", tuple(_HEM_LENGTHS), ("top",)),
        _single("silhouette", tuple(_SILHOUETTES), ("top",)),
        _ordinal("fit", tuple(_FITS), upper),
        _single("closure", tuple(_CLOSURES), ARTICLE_TYPES),
        _ordinal("dress_length", plain["hem"].labels.keys, ("dress",)),
        _single("dress_shape", tuple(_DRESS_SHAPES), ("dress",)),
        _ordinal("waist_rise", tuple(_RISES), ("jeans",)),
        _single("jeans_fit", tuple(_JEANS_FITS), ("jeans",)),
        plain["wash"],
        _ordinal("distress", _DISTRESS, ("jeans",)),
        Attribute("occasion", MultiLabel(tuple(map(Value, _OCCASIONS)), closed_world=False), applies_to=ARTICLE_TYPES),
    )


def _single(name: str, keys: tuple[str, ...], applies_to: tuple[str, ...]) -> Attribute:
    return Attribute(name, SingleLabel(tuple(map(Value, keys))), applies_to=applies_to)


def _ordinal(name: str, keys: tuple[str, ...], applies_to: tuple[str, ...]) -> Attribute:
    return Attribute(name, Ordinal(tuple(map(Value, keys))), applies_to=applies_to)


def add_details(style: Style, rng: np.random.Generator) -> DetailedStyle:
    """Return `style` with a cut and labels for every attribute of `detailed_attributes`.

    What is drawn is independent of the rest, with three exceptions: a collar needs a neckline that has room for one,
    a sleeve's style a sleeve, and the occasion follows from the other labels by rules that one product in ten breaks.
    """
    labels = dict.fromkeys((attribute.name for attribute in detailed_attributes()), NOT_APPLICABLE)
    labels |= {name: label for name, label in style.labels.items() if name in labels}
    if isinstance(style.cut, Cut):
        cut: Cut | JeansCut = _recut(style.cut, style, labels, rng)
        fit = f"{labels['fit']} fit"
    else:
        cut = _recut_jeans(style.cut, labels, rng)
        fit = f"{labels['jeans_fit'].removesuffix('_leg')} leg"
    labels["occasion"] = _occasions(labels, rng)
    scatter = rng.uniform(-1.0, 1.0, (16, 2))
    return DetailedStyle(style.article_type, labels, style.fabric, cut, fit, scatter)


def _recut(cut: Cut, style: Style, labels: dict[str, str], rng: np.random.Generator) -> Cut:
    """Return the cut of a top or a dress with its details, and write their labels into `labels`."""
    labels["collar"] = draw_one(rng, _COLLARS, tuple(_COLLARS.values()))
    if cut.neckline not in _COLLARED:
        labels["collar"] = "collarless"
    sleeve_style = draw_one(rng, _SLEEVE_STYLES)
    if cut.sleeve:
        labels["sleeve_style"] = sleeve_style
    labels["closure"] = draw_one(rng, _CLOSURES, tuple(_CLOSURES.values()))
    labels["fit"] = draw_one(rng, _FITS)
    width = rng.uniform(*_FITS[labels["fit"]])
    shoulder = width + cut.shoulder - cut.armpit[0]
    vary = rng.uniform(0.96, 1.04, 2)
    if style.article_type == "top":
        labels["hem_length"], labels["silhouette"] = draw_one(rng, _HEM_LENGTHS), draw_one(rng, _SILHOUETTES)
        share, waist, hem = _SILHOUETTES[labels["silhouette"]]
        hem_y = rng.uniform(*_HEM_LENGTHS[labels["hem_length"]])
        waist_y, seam = share * hem_y, labels["silhouette"] == "peplum"
    else:
        labels["dress_length"], labels["dress_shape"] = style.labels["hem"], draw_one(rng, _DRESS_SHAPES)
        waist_y, waist, at_knee, seam = _DRESS_SHAPES[labels["dress_shape"]]
        hem_y = cut.hem[1]
        # A skirt that widens goes on doing so down to its hem; one that narrows must leave room to walk.
        hem = at_knee if at_knee < 1.1 else waist + (at_knee - waist) * (hem_y - waist_y) / (1.95 - waist_y)
    return replace(
        cut,
        neck_width=min(cut.neck_width, shoulder - 0.08),
        shoulder=shoulder,
        armpit=(width, cut.armpit[1] + (0.10 if labels["fit"] == "oversized" else 0.0)),
        waist=(width * waist * float(vary[0]), waist_y),
        hem=(width * hem * float(vary[1]), hem_y),
        waist_seam=seam,
    )


def _recut_jeans(cut: JeansCut, labels: dict[str, str], rng: np.random.Generator) -> JeansCut:
    """Return the cut of a pair of jeans with its details, and write their labels into `labels`."""
    labels["closure"] = draw_one(rng, ("zip", "buttons"))
    labels["waist_rise"], labels["jeans_fit"] = draw_one(rng, _RISES), draw_one(rng, _JEANS_FITS)
    labels["distress"] = draw_one(rng, _DISTRESS)
    crotch = rng.uniform(*_RISES[labels["waist_rise"]])
    knee, ankle = (span * rng.uniform(0.94, 1.06) for span in _JEANS_FITS[labels["jeans_fit"]])
    return replace(
        cut,
        waist=cut.hip * {"low": 0.94, "mid": 0.84, "high": 0.72}[labels["waist_rise"]],
        crotch=crotch,
        length=crotch + rng.uniform(1.65, 1.85),
        spread=max(cut.spread, ankle + 0.03),
        knee=knee,
        ankle=ankle,
    )


def _occasions(labels: Mapping[str, str], rng: np.random.Generator) -> str:
    """Return what a garment with `labels` is sold for: a rule over what can be seen, with noise."""
    rules = {
        "work": labels["collar"] in ("shirt", "mandarin", "bow")
        or (labels["wash"] in ("dark", "black") and labels["distress"] == "none"),
        "party": (labels["sleeve_length"] == "sleeveless" and labels["fit"] == "slim") or labels["distress"] == "heavy",
        "formal": labels["dress_length"] == "maxi" and labels["pattern"] == "solid",
        "holiday": labels["pattern"] == "floral",
    }
    found = [name for name, holds in rules.items() if holds] or ["casual"]
    noise = draw_one(rng, _OCCASIONS)
    return noise if rng.random() < 0.1 else SEPARATOR.join(sorted(found))
