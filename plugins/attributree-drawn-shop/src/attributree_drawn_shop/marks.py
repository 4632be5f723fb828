"""What is sewn on a detailed garment and what is torn: collars, closures, sleeve styles and rips, as marks."""

from __future__ import annotations

import numpy as np

from .details import DetailedStyle
from .shapes import Arms, Mark, Outline, neck_edge
from .style import Cut, Field, JeansCut, Rgb

_METAL: Rgb = (0.72, 0.73, 0.76)
_COPPER: Rgb = (0.80, 0.55, 0.30)
_FRAYED: Rgb = (0.94, 0.94, 0.91)
#: How many rips, and how tall they are.
_RIPS = {"none": (0, 0.0), "light": (2, 0.035), "moderate": (5, 0.055), "heavy": (10, 0.085)}
_CIRCLE = np.stack([np.cos(np.linspace(0.0, 2 * np.pi, 13)), np.sin(np.linspace(0.0, 2 * np.pi, 13))], axis=1)
_MIRROR = np.array((-1.0, 1.0))


def mark_upper(shape: Outline, style: DetailedStyle, arms: Arms) -> None:
    """Add to a top or dress its sleeve style, closure and collar, in the order in which they lie on each other."""
    assert isinstance(style.cut, Cut)
    trim, edge = _trim(style.fabric.body)
    _mark_sleeves(shape, style, arms, trim, edge)
    if style.labels.get("silhouette") == "blouson":
        hem = _hem_band(style.cut)
        shape.marks.append(Mark(trim, polygons=[hem]))
    neck = neck_edge(style.cut)
    _mark_closure(shape, style.cut, style.labels["closure"], neck, trim, edge)
    _mark_collar(shape, style.labels["collar"], neck, trim, edge)


def mark_jeans(shape: Outline, style: DetailedStyle, stance: tuple[float, float]) -> None:
    """Add to a pair of jeans its closure and its rips."""
    cut = style.cut
    assert isinstance(cut, JeansCut)
    shape.marks.append(Mark(_COPPER, polygons=[_disc(0.06, 0.06)]))
    if style.labels["closure"] == "buttons":
        shape.marks.append(Mark(_COPPER, polygons=[_disc(0.06, y) for y in (0.20, 0.33, 0.46)]))
    else:
        shape.marks.append(Mark(_METAL, lines=[(np.array([(0.0, 0.15), (0.0, 0.50)]), 0.06)]))
        shape.marks.append(Mark((0.2, 0.2, 0.2), lines=[(np.array([(0.0, 0.15), (0.0, 0.50)]), 0.015)]))
    count, height = _RIPS[style.labels["distress"]]
    outer, inner = [], []
    for i, (across, down) in enumerate(style.scatter[:count].tolist()):
        sign, foot = (-1.0, cut.spread + stance[0]) if i % 2 else (1.0, cut.spread + stance[1])
        # One row for each pair of rips, so that they do not pile up.
        rows = (count + 1) // 2
        reach = 0.12 + 0.62 * (i // 2 + 0.5 + 0.25 * down) / rows
        y = cut.crotch + reach * (cut.length - cut.crotch)
        half = cut.knee if reach > 0.4 else 0.5 * (cut.knee + 0.24)
        centre = (sign * (0.27 + (0.5 * (foot + 0.27) - 0.27) * min(reach / 0.5, 1.0) + 0.2 * across * half), y)
        outer.append(_CIRCLE * (0.72 * half, height) + centre)
        inner.append(_CIRCLE * (0.55 * half, 0.55 * height) + centre)
    if count:
        dark = tuple(0.30 * c for c in style.fabric.body)
        shape.marks += [Mark(_FRAYED, polygons=outer), Mark((dark[0], dark[1], dark[2]), polygons=inner)]


def _disc(radius: float, y: float) -> Field:
    """Return a button on the centre line."""
    disc: Field = _CIRCLE * radius + np.array((0.0, y))
    return disc


def _trim(body: Rgb) -> tuple[Rgb, Rgb]:
    """Return a plain shade that stands out from `body`, and one for the edges of what is made of it."""
    light = sum(body) / 3 > 0.45
    trim = _mix(body, 0.0, 0.5) if light else _mix(body, 1.0, 0.55)
    return trim, _mix(trim, 1.0, 0.7) if light else _mix(trim, 0.0, 0.7)


def _mix(colour: Rgb, towards: float, share: float) -> Rgb:
    red, green, blue = (c + (towards - c) * share for c in colour)
    return red, green, blue


def _hem_band(cut: Cut) -> Field:
    (x, y), height = cut.hem, 0.11
    return np.array([(-x, y - height), (x, y - height), (x, y + cut.hem_curve), (-x, y + cut.hem_curve)])


def _mark_sleeves(shape: Outline, style: DetailedStyle, arms: Arms, trim: Rgb, edge: Rgb) -> None:
    cut = style.cut
    assert isinstance(cut, Cut)
    kind = style.labels["sleeve_style"]
    neck = neck_edge(cut)[-1]
    for sign, (upper, _), limb in zip((-1.0, 1.0), arms, shape.sleeves, strict=False):
        flip = np.array((sign, 1.0))
        if kind == "raglan":
            armpit = np.array(cut.armpit) * flip
            yoke = np.stack([neck * flip, np.array((cut.shoulder, cut.slope)) * flip, armpit, armpit - 0.12 * flip])
            shape.marks.append(Mark(trim, polygons=[limb.outline, yoke]))
            shape.marks.append(Mark(edge, lines=[(np.stack([neck * flip, armpit]), 0.03)]))
        elif kind == "puff":
            along = np.array((sign * np.sin(upper), np.cos(upper)))
            inward = np.array((-sign * along[1], sign * along[0]))
            centre = limb.origin + 0.20 * along + 0.06 * inward
            shape.extra.append(_CIRCLE * 0.31 + centre)
            gathers = [(np.stack([centre + 0.08 * p, centre + 0.30 * p]), 0.025) for p in _CIRCLE[:-1:2]]
            shape.marks.append(Mark(trim, lines=[*gathers, (centre + 0.30 * _CIRCLE, 0.02)]))
        elif kind == "bell":
            end, inner = limb.cuff
            out = (end - inner) / np.linalg.norm(end - inner)
            back = 0.34 * limb.along
            flare = np.stack([end - back, end + 0.24 * out, inner - 0.20 * out, inner - back])
            shape.extra.append(flare)
            shape.marks.append(Mark(edge, lines=[(np.stack([end - back, inner - back]), 0.02)]))
            shape.marks.append(Mark(trim, lines=[(np.stack([end + 0.24 * out, inner - 0.20 * out]), 0.09)]))


def _mark_closure(shape: Outline, cut: Cut, kind: str, neck: Field, trim: Rgb, edge: Rgb) -> None:
    top, bottom = float(neck[len(neck) // 2, 1]) + 0.02, cut.hem[1] + cut.hem_curve
    centre = np.array([(0.0, top), (0.0, bottom)])
    if kind == "buttons":
        placket = np.array([(-0.09, top), (0.09, top), (0.09, bottom), (-0.09, bottom)])
        heights = np.arange(top + 0.10, bottom - 0.04, 0.21)
        shape.marks.append(Mark(trim, polygons=[placket]))
        shape.marks.append(Mark(edge, polygons=[_disc(0.065, y) for y in heights.tolist()]))
    elif kind == "zip":
        pull = np.array([(-0.05, top + 0.12), (0.05, top + 0.12), (0.05, top + 0.32), (-0.05, top + 0.32)])
        shape.marks.append(Mark((0.15, 0.15, 0.16), lines=[(centre, 0.14)]))
        shape.marks.append(Mark(_METAL, polygons=[pull], lines=[(centre, 0.07)]))
    elif kind == "wrap":
        side = np.array((-0.96 * cut.waist[0], cut.waist[1] + 0.04))
        edge_of_wrap = np.stack([neck[-1], 0.5 * (neck[-1] + side) + (0.06, 0.06), side])
        shape.marks.append(Mark(edge, lines=[(edge_of_wrap, 0.10)]))
        shape.marks.append(Mark(trim, lines=[(edge_of_wrap, 0.06)], polygons=_bow(side + np.array((0.10, 0.0)), 0.16)))


def _mark_collar(shape: Outline, kind: str, neck: Field, trim: Rgb, edge: Rgb) -> None:
    half = len(neck) // 2
    sides: list[Field] = []
    if kind == "shirt":
        at = 3 * half // 4
        left = np.concatenate([neck[: at + 1], [neck[at] + (-0.16, 0.20)], [neck[0] + (-0.13, 0.06)]])
        sides = [left, left * _MIRROR]
    elif kind == "peter_pan":
        run = neck[: half + 1]
        away = run - (0.0, float(run[0, 1]) - 0.08)
        away = away / np.linalg.norm(away, axis=1, keepdims=True)
        t = np.linspace(-1.0, 1.0, half + 1)[:, None]
        left = np.concatenate([run, (run + 0.21 * (1.0 - t**6) * away)[::-1]])
        sides = [left, left * _MIRROR]
    elif kind == "mandarin":
        raised = neck * (0.84, 1.0) - (0.0, 0.14)
        band = np.concatenate([neck, raised[::-1]])
        shape.extra.append(band)
        sides = [band]
        shape.marks.append(Mark(trim, lines=[(neck, 0.06)]))
    elif kind == "bow":
        shape.marks.append(Mark(trim, lines=[(neck, 0.08)]))
        knot = neck[half] + (0.0, 0.05)
        tails = [np.array([(0.0, 0.0), (s * 0.20, 0.42), (s * 0.06, 0.46)]) + knot for s in (-1.0, 1.0)]
        sides = [*tails, *_bow(knot, 0.25)]
    if sides:
        outlines = [(np.concatenate([side, side[:1]]), 0.022) for side in sides]
        shape.marks += [Mark(trim, polygons=sides), Mark(edge, lines=outlines)]


def _bow(knot: Field, size: float) -> list[Field]:
    """Return the two loops and the knot of a bow, `size` units to each side."""
    loop = np.array([(0.0, 0.0), (size, -0.55 * size), (size, 0.55 * size)])
    return [knot + loop, knot + loop * _MIRROR, knot + 0.25 * size * _CIRCLE]
