"""What cells mean under a schema: observations in, annotations out. Pure; the database is in `derive`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..schema import NOT_APPLICABLE, SEPARATOR, Attribute, fold
from .records import UnknownValue

#: Longest text and most different texts that a report of unknown values shows.
_SHOWN_TEXT, _SHOWN_VALUES = 200, 1000
#: Entries a reader remembers before it starts afresh; label files repeat themselves.
_REMEMBERED = 50_000
#: Longest text worth remembering: labels are short, and a stray description must not fill the memory.
_SHORT = 200


@dataclass(frozen=True, slots=True)
class Trust:
    """How far a source is believed.

    Only the highest `rank` that said something readable of an image is heard; `weight` is what an annotation from it
    counts in training.
    """

    rank: int
    weight: float


#: A review is somebody looking at the picture because the others were in doubt; mined text is a guess, for images
#: that nobody has labelled.
TRUST: Mapping[str, Trust] = {"import": Trust(1, 1.0), "review": Trust(2, 1.0), "text": Trust(0, 0.3)}
#: The source whose trust those have that are not named.
_LIKE = "import"


@dataclass(frozen=True)
class Sources:
    """The precedence of sources. One that is not in `trust` is believed as far as `import` is."""

    trust: Mapping[str, Trust] = field(default_factory=lambda: dict(TRUST))

    @classmethod
    def configured(cls, changes: Mapping[str, Mapping[str, Any]]) -> Sources:
        """Return the usual precedence with `changes`, a rank or a weight or both by source."""
        like = replace(TRUST[_LIKE], **changes.get(_LIKE, {}))
        trust = {**TRUST, _LIKE: like}
        return cls(trust | {name: replace(trust.get(name, like), **change) for name, change in changes.items()})

    def of(self, source: str) -> Trust:
        """Return how far `source` is believed."""
        return self.trust.get(source, self.trust[_LIKE])

    def changes(self, new: Sources) -> list[str]:
        """Return in words what is different under `new`; nothing if every source is believed as far as before."""
        said = []
        for name in sorted({*self.trust, *new.trust}):
            before, after = self.of(name), new.of(name)
            if before.rank != after.rank:
                said.append(f"{name} rank {before.rank} -> {after.rank}")
            if before.weight != after.weight:
                said.append(f"{name} weight {before.weight:g} -> {after.weight:g}")
        return said

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return what `configured` makes the same precedence from."""
        return {name: {"rank": trust.rank, "weight": trust.weight} for name, trust in sorted(self.trust.items())}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one cell says: `values` (keys), or that the attribute does not apply, or nothing that is `readable`."""

    values: frozenset[str] = frozenset()
    applies: bool = True
    unknown: tuple[str, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether every part of the cell is known."""
        return not self.unknown


@dataclass(frozen=True, slots=True)
class Annotation:
    """What is known of one image. `values` are all candidates, `certain` those that every source shares.

    Where sources disagree, `shares` says how much of their word each value has, in 0..1: all of it together for a
    single-label or ordinal attribute, each value by itself for a multi-label one. Candidates that no source prefers
    have none.
    """

    state: str  # labelled, ambiguous, not_applicable
    values: frozenset[str] = frozenset()
    certain: frozenset[str] = frozenset()
    weight: float = 1.0
    shares: tuple[tuple[str, float], ...] = ()  # by key, in their order

    def under(self, keys: Mapping[str, str]) -> Annotation:
        """Return the annotation with each value under another key."""
        values, certain = ({keys[key] for key in old} for old in (self.values, self.certain))
        shares = Counter[str]()
        for key, share in self.shares:
            shares[keys[key]] += share  # type: ignore[assignment]  # a Counter adds up floats as well
        return replace(self, values=frozenset(values), certain=frozenset(certain), shares=tuple(sorted(shares.items())))


def read_cell(attribute: Attribute, raw: str) -> Reading:
    """Return what the cell `raw` says about `attribute`. One unknown part makes the whole cell unreadable."""
    if fold(raw) == fold(NOT_APPLICABLE):
        return Reading(applies=False)
    parts = [part.strip() for part in raw.split(SEPARATOR) if part.strip()] or [raw]
    found = [(part, attribute.labels.find(part)) for part in parts]
    unknown = tuple(part for part, value in found if value is None)
    return Reading(frozenset(value.key for _, value in found if value is not None), unknown=unknown)


def combine(attribute: Attribute, readings: Sequence[Reading]) -> Annotation | None:
    """Return what equally trusted `readings` of one image say together, or None if none is readable."""
    heard = [reading for reading in readings if reading.readable]
    if not heard:
        return None
    if not all(reading.applies for reading in heard):
        # n/a against values is a contradiction without candidates.
        return Annotation("ambiguous" if any(reading.applies for reading in heard) else "not_applicable")
    shared = frozenset.intersection(*(reading.values for reading in heard))
    said = frozenset.union(*(reading.values for reading in heard))
    if attribute.labels.kind == "multi":
        naming = {key: sum(key in reading.values for reading in heard) / len(heard) for key in said - shared}
        return Annotation("ambiguous" if naming else "labelled", said, shared, shares=tuple(sorted(naming.items())))
    if len(shared) == 1:
        return Annotation("labelled", shared, shared)
    if shared:
        return Annotation("ambiguous", shared)
    each = {key: sum(key in r.values and 1 / len(r.values) for r in heard) / len(heard) for key in said}
    return Annotation("ambiguous", said, shares=tuple(sorted(each.items())))


class Reader:
    """Reads cells of one attribute under a precedence of sources, and remembers them."""

    def __init__(self, attribute: Attribute, sources: Sources | None = None) -> None:
        self.attribute = attribute
        self._sources = sources or Sources()
        self._readings: dict[str, Reading] = {}
        self._annotations: dict[tuple[bool, tuple[tuple[str, str], ...]], Annotation | None] = {}
        self._applies: dict[str, bool] = {}

    def read(self, raw: str) -> Reading:
        """Return `read_cell`, remembered."""
        reading = self._readings.get(raw)
        if reading is None:
            reading = read_cell(self.attribute, raw)
            if len(self._readings) >= _REMEMBERED:
                self._readings.clear()
            if len(raw) <= _SHORT:
                self._readings[raw] = reading
        return reading

    def applies(self, article_type: str) -> bool:
        """Return `Attribute.applies`, remembered."""
        if article_type not in self._applies:
            self._applies[article_type] = self.attribute.applies(article_type)
        return self._applies[article_type]

    def annotate(self, article_type: str, said: tuple[tuple[str, str], ...]) -> Annotation | None:
        """Return what `said`, (source, raw) pairs, means for an image of `article_type`; None is unknown."""
        key = (self.applies(article_type), said)
        if key in self._annotations:
            return self._annotations[key]
        annotation = self._combine(said) if key[0] else Annotation("not_applicable")
        if len(self._annotations) >= _REMEMBERED:
            self._annotations.clear()
        if sum(len(raw) for _, raw in said) <= _SHORT:
            self._annotations[key] = annotation
        return annotation

    def _combine(self, said: tuple[tuple[str, str], ...]) -> Annotation | None:
        heard = [(self._sources.of(source), reading) for source, raw in said if (reading := self.read(raw)).readable]
        if not heard:
            return None
        top = max(trust.rank for trust, _ in heard)
        heard = [(trust, reading) for trust, reading in heard if trust.rank == top]
        annotation = combine(self.attribute, [reading for _, reading in heard])
        if annotation is None:
            return None
        return replace(annotation, weight=max(trust.weight for trust, _ in heard))


class UnknownTexts:
    """Counts the parts of cells that no value spells, in bounded memory."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._others = 0

    def add(self, reading: Reading, cells: int = 1) -> None:
        """Count the unknown parts of a reading that `cells` cells have."""
        for part in reading.unknown:
            text = part if len(part) <= _SHOWN_TEXT else part[:_SHOWN_TEXT] + "…"
            if text in self._counts or len(self._counts) < _SHOWN_VALUES:
                self._counts[text] += cells
            else:
                self._others += cells

    def report(self, attribute: Attribute) -> tuple[UnknownValue, ...]:
        """Return the unknown texts, the commonest first, each with the nearest value."""
        found = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        values = [UnknownValue(attribute.name, text, n, attribute.labels.nearest(text)) for text, n in found]
        if self._others:
            values.append(UnknownValue(attribute.name, "(other texts)", self._others, None))
        return tuple(values)
