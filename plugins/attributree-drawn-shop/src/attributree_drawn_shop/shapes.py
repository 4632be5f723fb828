"""Outlines of synthetic garments and of what they hang on, as polygons in garment units.

A polygon is an (N, 2) array of x, y. `sign` is -1 for the wearer's side on the left of the picture, +1
for the right.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .style import Cut, Field, JeansCut, Rgb

#: For the left and the right arm, the angles of upper and lower arm from the vertical, in radians.
Arms = tuple[tuple[float, float], tuple[float, float]]

_TURN = np.linspace(0.0, np.pi, 33)
_BACK_NECK = 0.05


@dataclass(frozen=True)
class Limb:
    """A sleeve: where it begins, the unit vector along its lower part, its outline, and the ends of its cuff."""

    origin: Field
    along: Field
    outline: Field
    cuff: Field


@dataclass(frozen=True)
class Mark:
    """Something of one colour that lies on the garment: polygons, and polylines with a width in garment units."""

    colour: Rgb
    polygons: list[Field] = field(default_factory=list)
    lines: list[tuple[Field, float]] = field(default_factory=list)


@dataclass
class Outline:
    """The polygons of one garment in one pose. `seams` are polylines with a width in garment units.

    `extra` is outer cloth besides body and sleeves, and `marks` lie on the garment, the last one on top.
    """

    body: Field
    sleeves: list[Limb] = field(default_factory=list)
    opening: Field | None = None
    collar: Field | None = None
    extra: list[Field] = field(default_factory=list)
    seams: list[tuple[Field, float]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    skin: list[Field] = field(default_factory=list)
    trousers: list[Field] = field(default_factory=list)
    hanger: list[tuple[Field, float]] = field(default_factory=list)

    @property
    def garment(self) -> list[Field]:
        """The polygons made of the garment's outer cloth."""
        collar = [] if self.collar is None else [self.collar]
        return [self.body, *collar, *(limb.outline for limb in self.sleeves), *self.extra]


def _mirror(points: Field) -> Field:
    """Return the right half of an outline as the left half, in reverse order."""
    mirrored: Field = points[::-1] * np.array((-1.0, 1.0))
    return mirrored


def _smooth(points: list[tuple[float, float]], steps: int = 6) -> Field:
    """Return the Catmull-Rom curve through `points`, `steps` samples a piece."""
    p = np.array([points[0], *points, points[-1]])
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * (b - c) + d - a) * t**3)
    return np.concatenate([curve.transpose(1, 0, 2).reshape(-1, 2), p[-1:]])


def neck_edge(cut: Cut) -> Field:
    """Return the front edge of the neck opening from left to right, (33, 2)."""
    top = cut.slope * max(cut.neck_width - 0.18, 0.0) / (cut.shoulder - 0.18)
    x = -np.sign(np.cos(_TURN)) * np.abs(np.cos(_TURN)) ** (2 / cut.neck_power)
    y = np.abs(np.sin(_TURN)) ** (2 / cut.neck_power)
    taper = 1.0 - 0.07 * y if cut.neckline == "square" else 1.0
    return np.stack([cut.neck_width * x * taper, top + cut.neck_depth * y], axis=1)


def outline_upper(cut: Cut, arms: Arms) -> Outline:
    """Return a top or dress whose sleeves hang as `arms` says."""
    neck = neck_edge(cut)
    tip = (cut.shoulder, cut.slope)
    (armpit_x, armpit_y), (waist_x, waist_y), (hem_x, hem_y) = cut.armpit, cut.waist, cut.hem
    inset = min(cut.shoulder, armpit_x) - 0.05
    armhole = _smooth([tip, (inset, 0.6 * armpit_y + 0.4 * cut.slope), (armpit_x, armpit_y)])
    hip = (0.45 * waist_x + 0.55 * hem_x, 0.5 * (waist_y + hem_y))
    side = _smooth([(armpit_x, armpit_y), (waist_x, waist_y), hip, (hem_x, hem_y)])
    right = np.concatenate([armhole, side])
    bottom = np.stack([-np.cos(_TURN) * hem_x, hem_y + np.sin(_TURN) * cut.hem_curve], axis=1)
    shape = Outline(np.concatenate([neck, right, bottom[::-1], _mirror(right)]))

    back = neck[[0, -1]]
    dip = np.stack([np.cos(_TURN) * cut.neck_width, back[0, 1] + np.sin(_TURN) * _BACK_NECK], axis=1)
    if cut.neckline == "turtleneck":
        shape.collar = _turtle_collar(cut)
        shape.seams += [(neck, 0.03), (shape.collar[3:5] + np.array((0.0, 0.13)), 0.025)]
    else:
        shape.opening = np.concatenate([neck, dip])
        shape.seams.append((neck, 0.02))
        if cut.trim > 0.025:
            shape.seams.append((neck + (neck - (0.0, neck[0, 1] - 0.05)) * cut.trim / 0.25, 0.02))
    shape.seams.append((bottom - (0.0, 0.06), 0.016))
    if cut.waist_seam:
        belt = np.stack([-np.cos(_TURN) * waist_x, waist_y + 0.03 * np.sin(_TURN)], axis=1)
        shape.seams.append((belt, 0.03))
    for sign, angles in zip((-1.0, 1.0), arms, strict=True):
        flip = np.array((sign, 1.0))
        if cut.sleeve:
            shape.sleeves.append(_sleeve(cut, flip, angles))
            shape.seams.append((armhole * flip, 0.028))
            shape.seams.append((shape.sleeves[-1].cuff - 0.06 * shape.sleeves[-1].along, 0.016))
        else:
            shape.seams.append(((armhole - (0.035, 0.0)) * flip, 0.016))
    return shape


def _turtle_collar(cut: Cut) -> Field:
    low, high = cut.neck_width + 0.02, cut.neck_width - 0.03
    rise = 0.20 + 0.5 * cut.trim
    dip = np.array([(0.0, 0.07)])
    return np.concatenate([np.array([(-low, 0.03)]), dip, np.array([(low, 0.03), (high, -rise), (-high, -rise)])])


def _arm(start: Field, angles: tuple[float, float], sign: float, length: float) -> tuple[Field, Field, Field]:
    """Return elbow, end, and unit vector of the lower arm for an arm of `length` from `start`."""
    upper, lower = (np.array((sign * np.sin(a), np.cos(a))) for a in angles)
    bend = min(length, 0.8)
    elbow = start + bend * upper
    return elbow, elbow + (length - bend) * lower, lower if length > bend else upper


def _inward(along: Field, sign: float) -> Field:
    return np.array((-sign * along[1], sign * along[0]))


def _sleeve(cut: Cut, flip: Field, angles: tuple[float, float]) -> Limb:
    sign = float(flip[0])
    start = np.array((cut.shoulder, cut.slope)) * flip
    armpit = np.array(cut.armpit) * flip
    elbow, end, along = _arm(start, angles, sign, cut.sleeve)
    upper = np.array((sign * np.sin(angles[0]), np.cos(angles[0])))
    width_at_elbow = max(cut.cuff, 0.29)
    inside = np.array((0.75 * cut.shoulder, cut.slope + 0.06)) * flip
    under = np.array((0.8 * cut.armpit[0], cut.armpit[1] - 0.08)) * flip
    crown = start + 0.12 * upper - 0.02 * _inward(upper, sign)
    inner = end + cut.cuff * _inward(along, sign)
    bent = cut.sleeve > 0.8
    outer_elbow = [elbow] if bent else []
    inner_elbow = [elbow + width_at_elbow * _inward(upper, sign)] if bent else []
    outline = np.stack([inside, start, crown, *outer_elbow, end, inner, *inner_elbow, armpit, under])
    return Limb(start, along, outline, np.stack([end, inner]))


def dress_figure(shape: Outline, cut: Cut, arms: Arms, *, head: bool, trousers: bool) -> None:
    """Add the figure that wears a top or dress: neck, perhaps a head, arms, legs bare or in trousers."""
    neck = np.array([(-0.14, -0.42), (0.14, -0.42), (0.15, 0.0), (0.28, 0.10), (-0.28, 0.10), (-0.15, 0.0)])
    shape.skin.append(neck)
    if head:
        shape.skin.append(np.stack([0.21 * np.cos(2 * _TURN), -0.60 + 0.28 * np.sin(2 * _TURN)], axis=1))
    if shape.opening is not None:
        shape.skin.append(shape.opening)
    for sign, angles in zip((-1.0, 1.0), arms, strict=True):
        start = np.array((sign * (cut.shoulder - 0.03), cut.slope + 0.02))
        elbow, wrist, along = _arm(start, angles, sign, 1.56)
        upper_in, lower_in = _inward((elbow - start) / 0.8, sign), _inward(along, sign)
        hand = wrist + 0.2 * along
        outer = [start, elbow + 0.02 * upper_in, wrist + 0.05 * lower_in, hand + 0.05 * lower_in]
        inner = [hand + 0.12 * lower_in, wrist + 0.15 * lower_in, elbow + 0.19 * upper_in, start + 0.24 * upper_in]
        shape.skin.append(np.stack(outer + inner))
    if trousers and cut.hem[1] < 1.3:
        shape.skin.append(np.array([(-0.36, 0.5), (0.36, 0.5), (0.42, 1.3), (-0.42, 1.3)]))
    for sign in (-1.0, 1.0):
        leg = [(0.0, 1.2), (0.42, 1.2), (0.44, 1.6), (0.30, 2.3), (0.22, 3.1), (0.26, 3.25), (0.09, 3.25), (0.05, 1.65)]
        (shape.trousers if trousers else shape.skin).append(np.array(leg) * (sign, 1.0))


def hang(shape: Outline, cut: Cut) -> None:
    """Add a hanger: its hook above the neck and its bar under the shoulders."""
    turn = np.linspace(-0.6, np.pi, 12)
    hook = np.stack([0.09 * np.cos(turn), -0.33 - 0.09 * np.sin(turn)], axis=1)
    hook = np.concatenate([hook[::-1], np.array([(0.0, -0.22), (0.0, 0.03)])])
    bar = np.array([(-cut.shoulder + 0.02, cut.slope + 0.05), (0.0, 0.03), (cut.shoulder - 0.02, cut.slope + 0.05)])
    shape.hanger += [(hook, 0.03), (bar, 0.07)]


def outline_jeans(cut: JeansCut, stance: tuple[float, float]) -> Outline:
    """Return a pair of jeans whose legs stand `stance` units further out than cut."""
    sides = []
    seams: list[tuple[Field, float]] = []
    for sign, shift in zip((-1.0, 1.0), stance, strict=True):
        flip = np.array((sign, 1.0))
        foot = cut.spread + shift
        knee_x = 0.5 * (foot + 0.27)
        knee_y = 0.5 * (cut.crotch + cut.length)
        hip, ankle = (cut.hip, 0.55 * cut.crotch), (foot + cut.ankle, cut.length)
        outer = _smooth([(cut.waist, 0.0), hip, (knee_x + cut.knee, knee_y), ankle])
        ankle = (foot - cut.ankle, cut.length)
        inner = _smooth([ankle, (max(knee_x - cut.knee, 0.02), knee_y), (0.0, cut.crotch)])
        sides.append((outer * flip, inner * flip))
        pocket = _smooth([(0.45 * cut.waist, 0.14), (0.55 * cut.waist, 0.26), (0.95 * cut.hip, 0.34)])
        hem = np.array([(foot - cut.ankle, cut.length - 0.06), (foot + cut.ankle, cut.length - 0.06)])
        side = outer[2:] - (0.035, 0.0)
        seams += [(pocket * flip, 0.022), (side * flip, 0.014), (hem * flip, 0.018)]
    (left_outer, left_inner), (right_outer, right_inner) = sides
    body = np.concatenate([left_outer, left_inner, right_inner[::-1], right_outer[::-1]])
    fly = _smooth([(0.09, 0.12), (0.09, 0.38), (0.0, 0.52)])
    band = np.array([(-cut.waist - 0.02, 0.12), (cut.waist + 0.02, 0.12)])
    centre = np.array([(0.0, 0.0), (0.0, cut.crotch)])
    seams += [(fly, 0.018), (band, 0.026), (centre, 0.02)]
    loops = [(np.array([(x, -0.01), (x, 0.13)]), 0.035) for x in (-0.6 * cut.waist, 0.6 * cut.waist)]
    return Outline(body, seams=seams + loops)


def jeans_figure(shape: Outline, cut: JeansCut, stance: tuple[float, float]) -> None:
    """Add the wearer's waist and feet."""
    waist = cut.waist - 0.03
    shape.skin.append(np.array([(-waist - 0.03, -0.5), (waist + 0.03, -0.5), (waist, 0.06), (-waist, 0.06)]))
    for sign, shift in zip((-1.0, 1.0), stance, strict=True):
        foot = cut.spread + shift
        shoe = np.array([(-0.08, -0.1), (0.08, -0.1), (0.10, 0.12), (0.16, 0.24), (-0.06, 0.24), (-0.09, 0.12)])
        shape.skin.append((shoe + np.array((foot, cut.length))) * (sign, 1.0))
