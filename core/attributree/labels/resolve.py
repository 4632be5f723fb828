"""What cells mean under a schema: observations in, annotations out. Pure; the database is in `derive`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, Protocol

from ..article_types import EXACT, OUTSIDE, UNMAPPED, ArticleTypes
from ..schema import NONE_OF_THEM, NOT_APPLICABLE, SEPARATOR, Attribute, Value, fold
from .records import UnknownValue

#: Longest text and most different texts that a report of unknown values shows.
_SHOWN_TEXT, _SHOWN_VALUES = 200, 1000
#: Entries that a reader remembers; label files repeat themselves.
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


#: The source of a label file that names none, of what was mined from texts, and of people who looked at the picture.
DEFAULT_SOURCE, TEXT_SOURCE, REVIEW_SOURCE = "import", "text", "review"
#: A review is somebody looking at the picture because the others were in doubt; mined text is a guess, for images
#: that nobody has labelled.
TRUST: Mapping[str, Trust] = {DEFAULT_SOURCE: Trust(1, 1.0), REVIEW_SOURCE: Trust(2, 1.0), TEXT_SOURCE: Trust(0, 0.3)}
#: Sources that no label file may be ingested as, and whose they are.
RESERVED_SOURCES: Mapping[str, str] = {
    TEXT_SOURCE: "what mine reads off titles and descriptions, which would withdraw these labels",
    REVIEW_SOURCE: "people who looked at the pictures, whose word counts before all others",
}


@dataclass(frozen=True)
class Sources:
    """The precedence of sources. One that is not in `trust` is believed as far as `import` is.

    Names are compared as values are, by `fold`: "Supplier" is believed as "supplier" is.
    """

    trust: Mapping[str, Trust] = field(default_factory=lambda: dict(TRUST))

    @classmethod
    def configured(cls, changes: Mapping[str, Mapping[str, Any]]) -> Sources:
        """Return the usual precedence with `changes`, a rank or a weight or both by source."""
        like = replace(TRUST[DEFAULT_SOURCE], **changes.get(DEFAULT_SOURCE, {}))
        trust = {**TRUST, DEFAULT_SOURCE: like}
        usual = {fold(name): name for name in trust}
        for name, change in changes.items():
            name = usual.get(fold(name), name)
            trust[name] = replace(trust.get(name, like), **change)
        return cls(trust)

    @cached_property
    def _by_fold(self) -> Mapping[str, Trust]:
        return {fold(name): trust for name, trust in self.trust.items()}

    def of(self, source: str) -> Trust:
        """Return how far `source` is believed."""
        return self._by_fold.get(fold(source), self.trust[DEFAULT_SOURCE])

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
    """What one cell says: `values` (keys), or that the attribute does not apply, or nothing that is `readable`.

    A readable cell without values says of a multi-label attribute that none of them holds.

    `unsure` are those of `values` that the cell may or may not mean: the heirs of a former key that was split.
    """

    values: frozenset[str] = frozenset()
    applies: bool = True
    unknown: tuple[str, ...] = ()
    unsure: frozenset[str] = frozenset()

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

    def under(self, keys: Mapping[str, Sequence[str]]) -> Annotation:
        """Return the annotation with each value under another key, or under several if it was split."""
        if all(len(keys[key]) == 1 for key in self.values):
            values, certain = ({keys[key][0] for key in old} for old in (self.values, self.certain))
            shares = Counter[str]()
            for key, share in self.shares:
                shares[keys[key][0]] += share  # type: ignore[assignment]  # a Counter adds up floats as well
            shared = tuple(sorted(shares.items()))
            return replace(self, values=frozenset(values), certain=frozenset(certain), shares=shared)
        values = {heir for key in self.values for heir in keys[key]}
        certain = {keys[key][0] for key in self.certain if len(keys[key]) == 1}
        return replace(self, state="ambiguous", values=frozenset(values), certain=frozenset(certain))


class Normalizer(Protocol):
    """Says what texts mean that no value of an attribute spells; the plugins, as far as the catalogue knows them."""

    def who(self, attribute: str) -> str:
        """Return what `Attribute.normalized_by` is if those who are asked now are asked; "" if nobody is."""

    def __call__(self, attribute: Attribute, text: str) -> str | None:
        """Return the spelling that `text` means, or None."""


def read_cell(attribute: Attribute, raw: str, normalizer: Normalizer | None = None) -> Reading:
    """Return what the cell `raw` says about `attribute`. One unknown part makes the whole cell unreadable."""
    if fold(raw) == fold(NOT_APPLICABLE):
        return Reading(applies=False)
    if raw.strip() == NONE_OF_THEM and not attribute.labels.exclusive:
        return Reading()
    parts = [part.strip() for part in raw.split(SEPARATOR) if part.strip()] or [raw]
    found = [
        (part, [value.key for value in attribute.labels.read(part) or _meant(attribute, part, normalizer)])
        for part in parts
    ]
    unknown = tuple(part for part, keys in found if not keys)
    sure = {keys[0] for _, keys in found if len(keys) == 1}
    values = frozenset(key for _, keys in found for key in keys)
    return Reading(values, unknown=unknown, unsure=values - sure)


def _meant(attribute: Attribute, text: str, normalizer: Normalizer | None) -> tuple[Value, ...]:
    if normalizer is None or not attribute.normalized_by:
        return ()
    spelling = normalizer(attribute, text)
    return () if spelling is None else attribute.labels.read(spelling)


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
    if not attribute.labels.exclusive:
        return _combine_several(heard, said)
    if len(shared) == 1:
        return Annotation("labelled", shared, shared)
    if shared:
        return Annotation("ambiguous", shared)
    each = {key: sum(key in r.values and 1 / len(r.values) for r in heard) / len(heard) for key in said}
    return Annotation("ambiguous", said, shares=tuple(sorted(each.items())))


def _combine_several(heard: Sequence[Reading], said: frozenset[str]) -> Annotation:
    """Return what readings of a multi-label attribute say; each value is judged by those who are sure about it."""
    certain, naming = set(), {}
    for key in said:
        sure = [key in reading.values for reading in heard if key not in reading.unsure]
        if sure and all(sure):
            certain.add(key)
        elif any(sure):
            naming[key] = sum(sure) / len(sure)
    state = "labelled" if certain == said else "ambiguous"
    return Annotation(state, said, frozenset(certain), shares=tuple(sorted(naming.items())))


class Reader:
    """Reads cells of one attribute under a precedence of sources and article types, and remembers them."""

    def __init__(
        self,
        attribute: Attribute,
        sources: Sources | None = None,
        normalizer: Normalizer | None = None,
        types: ArticleTypes = EXACT,
    ) -> None:
        self.attribute = attribute
        self._sources = sources or Sources()
        self._read = partial(read_cell, attribute, normalizer=normalizer)
        self._remembered_read = lru_cache(_REMEMBERED)(self._read)
        self._remembered_combine = lru_cache(_REMEMBERED)(self._combine)
        self._asks = lru_cache(_REMEMBERED)(partial(types.asks, attribute))

    def applies(self, article_type: str) -> bool:
        """Return False if a rule says that the attribute is not asked of an article type: it is not applicable there.

        Of an unmapped type no rule says anything, and what is stated there counts.
        """
        return self._asks(article_type) != OUTSIDE

    def unmapped(self, article_type: str) -> bool:
        """Return whether no rule says if the attribute is asked of an article type."""
        return self._asks(article_type) == UNMAPPED

    def read(self, raw: str) -> Reading:
        """Return `read_cell`, remembered."""
        return self._remembered_read(raw) if len(raw) <= _SHORT else self._read(raw)

    def annotate(self, article_type: str, said: tuple[tuple[str, str], ...]) -> Annotation | None:
        """Return what `said`, (source, raw) pairs, means for an image of `article_type`; None is unknown."""
        if not self.applies(article_type):
            return Annotation("not_applicable")
        short = sum(len(raw) for _, raw in said) <= _SHORT
        return self._remembered_combine(said) if short else self._combine(said)

    def image_texts(self, said: Sequence[tuple[str, str]]) -> list[int]:
        """Return which of `said` count, by position: the readable ones of the highest rank."""
        readable = [
            (i, self._sources.of(source).rank) for i, (source, raw) in enumerate(said) if self.read(raw).readable
        ]
        top = max((rank for _, rank in readable), default=0)
        return [i for i, rank in readable if rank == top]

    def _combine(self, said: tuple[tuple[str, str], ...]) -> Annotation | None:
        heard = [said[i] for i in self.image_texts(said)]
        annotation = combine(self.attribute, [self.read(raw) for _, raw in heard])
        if annotation is None:
            return None
        return replace(annotation, weight=max(self._sources.of(source).weight for source, _ in heard))


class UnknownTexts:
    """Counts the parts of cells that no value spells, in bounded memory."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._others = 0

    def add(self, reading: Reading, cells: int = 1) -> None:
        """Count the unknown parts of a reading that `cells` cells have; a withdrawn, empty one has none."""
        for part in filter(None, reading.unknown):
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
