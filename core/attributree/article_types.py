"""Article types: the words of a shop for what it sells, and the types that attributes apply to.

    types = ArticleTypes((ArticleType("tile", ("Slabs",)),), {"plugin": (ArticleType("mosaic", below=("tile",)),)})
    types.resolve("Floors > Mosaics").canonical     # "mosaic", by the fold
    types.asks(attribute, "Mosaics")                # ASKED, if the attribute applies to tiles

A word meets its type by the shop's own table, by the words of plugins, or by the fold, in that order; see `resolve`.
All of it is pure. `labels.article_types` keeps the tables that a catalogue follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property, lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final, Self

from .errors import SchemaError
from .jsonable import jsonable
from .schema import ArticleType, Attribute, fold
from .stems import stem

#: Whether an attribute is asked of a product: yes; no, by a rule; or the product's type is unmapped, so no rule says.
ASKED: Final = "asked"
OUTSIDE: Final = "outside"
UNMAPPED: Final = "unmapped"

#: The rules by which a word meets its type, in order.
SETTINGS, PLUGIN, FOLD = "settings", "plugin", "fold"

#: Between the steps of a path: "Floors > Tiles", "Floors/Tiles", "Floors - Tiles".
_STEP: Final = re.compile(r"\s*(?:[>»›→/\\|]|::)\s*|\s+[-–—]\s+")
_APOSTROPHE: Final = re.compile("['’]")
#: shelf and shelves, knife and knives.
_F: Final = re.compile(r"(?<=\w)(?:fe?|ve)$")
#: What stands for itself as a key of TOML.
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
#: Words whose type is remembered; a shop has hundreds, a broken label file as many as rows.
_REMEMBERED: Final = 10_000
#: Unmapped words whose nearest types are looked for, those with most products.
_NEAREST: Final = 300


@lru_cache(_REMEMBERED)
def type_key(text: str) -> str:
    """Return what words of one type share: case, plural, blanks, hyphens and apostrophes do not matter, & is and.

    >>> type_key("Wall-Tiles") == type_key("walltile") == type_key(" WALL TILE'S ")
    True
    """
    words = fold(_APOSTROPHE.sub("", text).replace("&", " and ")).split()
    return "".join(_F.sub("v", stem(word)) for word in words)


@lru_cache(_REMEMBERED)
def _folded(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(fold, texts))


def _readings(word: str) -> Iterator[str]:
    """Yield what a shop's word may be known as: all of it, then the steps of its path, the narrowest first."""
    yield word
    steps = [step for step in _STEP.split(word) if step.strip()]
    if len(steps) > 1:
        yield from reversed(steps)


@dataclass(frozen=True, slots=True)
class TypeRule:
    """What decided on the type of a shop's word: `canonical` is the type, None if the word is unmapped.

    `rule` is settings, plugin or fold; `by` the plugins that know the word; `reading` the part of it that they know.
    """

    canonical: str | None = None
    rule: str | None = None
    by: str | None = None
    reading: str | None = None


@dataclass(frozen=True, slots=True)
class TypeReport:
    """A shop's word with the products that have it: its type, the types above that, and what is asked of them.

    `above` are the nearest first; `stated_labels` counts cells that label files and people filled in there; only an
    unmapped word has `nearest` types.
    """

    article_type: str
    products: int
    canonical: str | None
    rule: str | None
    by: str | None
    above: tuple[str, ...]
    attributes: tuple[str, ...]
    stated_labels: int
    nearest: tuple[str, ...]

    @property
    def setting(self) -> str | None:
        """The line of [article_types] that maps an unmapped word to the nearest type, None if none is near."""
        if not self.nearest:
            return None
        name = self.nearest[0]
        key = name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
        return f"{key} = [{json.dumps(self.article_type, ensure_ascii=False)}]"

    def to_json(self) -> dict[str, Any]:
        """Return the report as `types --json` shows it."""
        return {**asdict(self), "setting": self.setting}


def check_types(types: Iterable[ArticleType]) -> None:
    """Raise SchemaError if one table gives a word to two types, or puts a type below itself."""
    types = tuple(types)
    owners: dict[str, str] = {}
    for one in types:
        if (other := owners.setdefault(type_key(one.name), one.name)) != one.name:
            raise SchemaError(
                f"article types {other!r} and {one.name!r} differ in case, plural or blanks only; keep one"
            )
    for one in types:
        for word in one.words:
            other = owners.setdefault(type_key(word), one.name)
            if type_key(other) != type_key(one.name):
                is_name = type_key(word) == type_key(other)
                clash = f"is the type {other!r}" if is_name else f"is a word of {other!r}"
                raise SchemaError(f"article type {one.name!r}: {word!r} {clash} already; keep it in one of them")
    if circle := _circle({type_key(one.name): one.below for one in types}):
        raise SchemaError(f"article types stand below themselves: {' below '.join(circle)}; take one `below` away")


def _circle(below: Mapping[str, Iterable[str]]) -> list[str]:
    """Return types, as they are spelt in `below`, of which each stands below the next and the last is the first."""
    spelt = {type_key(name): name for names in below.values() for name in names}
    try:
        TopologicalSorter({key: [type_key(name) for name in names] for key, names in below.items()}).prepare()
    except CycleError as error:
        return [spelt[key] for key in reversed(error.args[1])]
    return []


@dataclass(frozen=True)
class ArticleTypes:
    """Every type that the settings, plugins and their attributes know, with its words.

    `settings` is the shop's own table; `plugins` are the types that each plugin knows, by the plugin's owner, those
    included that its attributes name. `absent` are owners that are broken just now: what they said last holds on. With
    `exact` no word has a type, and an attribute applies to the words that it names itself: so it was before there were
    tables.
    """

    settings: tuple[ArticleType, ...] = ()
    plugins: Mapping[str, tuple[ArticleType, ...]] = field(default_factory=dict)
    absent: frozenset[str] = field(default=frozenset(), compare=False)
    exact: bool = False

    # -- what is stored ----------------------------------------------------------------------------

    @cached_property
    def text(self) -> str:
        """The tables as JSON, always the same for the same tables; `read` reads it."""
        plugins = {owner: self.plugins[owner] for owner in sorted(self.plugins)}
        return json.dumps(jsonable({"settings": self.settings, "plugins": plugins}), sort_keys=True)

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the tables that `text` holds."""
        stored: dict[str, Any] = json.loads(text)

        def table(types: list[dict[str, Any]]) -> tuple[ArticleType, ...]:
            return tuple(ArticleType(one["name"], tuple(one["words"]), tuple(one["below"])) for one in types)

        return cls(table(stored["settings"]), {owner: table(types) for owner, types in stored["plugins"].items()})

    def after(self, followed: ArticleTypes) -> ArticleTypes:
        """Return the tables to follow after `followed`: those of broken plugins stay until they are mended."""
        kept = {owner: followed.plugins[owner] for owner in self.absent & followed.plugins.keys()}
        return replace(self, plugins={**self.plugins, **kept}) if kept else self

    # -- what a word is ----------------------------------------------------------------------------

    def resolve(self, word: str) -> TypeRule:
        """Return the type of a shop's word, and the rule that decided.

        All of the word is looked up first, in the shop's table, in the plugins' words and among the types' names, then
        each step of its path, the narrowest first. A word that two plugins give to two types has none: the shop's own
        table must decide.
        """
        return self._resolve(word)

    @cached_property
    def _resolve(self) -> Callable[[str], TypeRule]:
        return lru_cache(_REMEMBERED)(self._look_up)

    def _look_up(self, word: str) -> TypeRule:
        for reading in _readings(word):
            key = type_key(reading)
            if key in self._table:
                return TypeRule(self._names[self._table[key]][0], SETTINGS, None, reading)
            if owners := self._words.get(key):
                if len(owners) > 1:
                    break
                ((owner, plugins),) = owners.items()
                return TypeRule(self._names[owner][0], PLUGIN, ", ".join(plugins), reading)
            if key in self._names:
                return TypeRule(self._names[key][0], FOLD, None, reading)
        return TypeRule()

    def above(self, canonical: str) -> tuple[str, ...]:
        """Return the types that `canonical` stands below, the nearest first."""
        return tuple(self._names.get(key, (key,))[0] for key in self._chain(type_key(canonical))[1:])

    def _chain(self, key: str) -> list[str]:
        chain = [key]
        for here in chain:  # which grows meanwhile
            chain += [type_key(name) for name in self._below.get(here, ()) if type_key(name) not in chain]
        return chain

    # -- what is asked of it -----------------------------------------------------------------------

    def asks(self, attribute: Attribute, word: str | None) -> str:
        """Return ASKED, OUTSIDE or UNMAPPED: whether `attribute` is asked of products that a shop calls `word`.

        It is asked of a product without a type, of words that it names itself, and of the types that it names with all
        that stands below them.
        """
        named = _folded(attribute.applies_to)
        if not named or not word or _folded((word,)) <= named:
            return ASKED
        if self.exact:
            return OUTSIDE
        canonical = self.resolve(word).canonical
        if canonical is None:
            return UNMAPPED
        return OUTSIDE if named.isdisjoint(self._spellings(canonical)) else ASKED

    def _spellings(self, canonical: str) -> frozenset[str]:
        """Return the names of a type and of all above it, folded."""
        return self._remembered_spellings(canonical)

    @cached_property
    def _remembered_spellings(self) -> Callable[[str], frozenset[str]]:
        def spellings(canonical: str) -> frozenset[str]:
            keys = self._chain(type_key(canonical))
            return frozenset(fold(name) for key in keys for name in self._names.get(key, (key,)))

        return lru_cache(_REMEMBERED)(spellings)

    def changes(self, new: ArticleTypes, attribute: Attribute, words: Iterable[str]) -> dict[str, list[str]]:
        """Return the `words` whose products `attribute` is asked of otherwise under `new`, by what holds then."""
        changed: dict[str, list[str]] = {}
        if self.exact == new.exact and self.text == new.text:
            return changed
        for word in words:
            if (now := new.asks(attribute, word)) != self.asks(attribute, word):
                changed.setdefault(now, []).append(word)
        return changed

    # -- what is told ------------------------------------------------------------------------------

    def nearest(self, word: str, most: int = 3) -> tuple[str, ...]:
        """Return the types that an unmapped word may be: those that its last words are, then those spelt nearly so."""
        found: dict[str, None] = {}
        known = {**dict.fromkeys(self._names), **self._words, **self._table}
        for reading in _readings(word):
            words = fold(_APOSTROPHE.sub("", reading)).split()
            tails = [type_key(" ".join(words[start:])) for start in range(len(words))]
            close = get_close_matches(type_key(reading), known, n=most, cutoff=0.75)
            for key in (*(tail for tail in tails if tail in known), *close):
                for owner in self._owners(key):
                    found[self._names[owner][0]] = None
        return tuple(found)[:most]

    def _owners(self, key: str) -> Iterable[str]:
        if key in self._table:
            return (self._table[key],)
        return self._words.get(key) or (key,)

    def reports(
        self, products: Mapping[str, int], stated: Mapping[str, int], attributes: Iterable[Attribute]
    ) -> tuple[TypeReport, ...]:
        """Return the report of each word in `products`, the commonest first; `stated` are the labels there."""
        asked = sorted(attributes, key=lambda attribute: attribute.name)
        found: list[TypeReport] = []
        unmapped = 0
        for word in sorted(products, key=lambda word: (-products[word], word)):
            rule = self.resolve(word)
            unmapped += rule.canonical is None
            found.append(
                TypeReport(
                    article_type=word,
                    products=products[word],
                    canonical=rule.canonical,
                    rule=rule.rule,
                    by=rule.by,
                    above=self.above(rule.canonical) if rule.canonical else (),
                    attributes=tuple(a.name for a in asked if self.asks(a, word) == ASKED),
                    stated_labels=stated.get(word, 0),
                    nearest=() if rule.canonical or unmapped > _NEAREST else self.nearest(word),
                )
            )
        return tuple(found)

    def refused(self) -> str | None:
        """Return what is wrong with the shop's own table beside the plugins' ones, None if nothing is."""
        known = self._names.keys() - self._only_above_in_settings
        for one in self.settings:
            for name in one.below:
                if type_key(name) not in known:
                    spelt = {key: self._names[key][0] for key in known}
                    near = get_close_matches(type_key(name), spelt, n=1)
                    hint = f"write {spelt[near[0]]!r}" if near else f"declare it: {json.dumps(name)} = []"
                    return f"{one.name} -> below: {name!r} is a type of neither plugins nor settings; {hint}"
        circle = _circle(self._below)
        if circle and {type_key(one.name) for one in self.settings if one.below} & set(map(type_key, circle)):
            return f"types stand below themselves: {' below '.join(circle)}; plugins say one part of it"
        return None

    def conflicts(self) -> tuple[str, ...]:
        """Return in words what plugins say against each other; the shop's own table can settle it."""
        found = []
        for key, owners in self._words.items():
            if len(owners) > 1 and key not in self._table:
                said = " and ".join(
                    f"{self._names[owner][0]!r} ({', '.join(plugins)})" for owner, plugins in owners.items()
                )
                word = next(w for types in self.plugins.values() for t in types for w in t.words if type_key(w) == key)
                found.append(f"{word!r} is a word of {said}; write it under one of them in [article_types]")
        if circle := _circle(self._below):
            found.append(f"plugins put types below themselves: {' below '.join(circle)}; they count as one type")
        return tuple(found)

    # -- tables by key -----------------------------------------------------------------------------

    @cached_property
    def _names(self) -> dict[str, tuple[str, ...]]:
        """The spellings of each type's name, by key: the shop's first, then those of the plugins with words for it."""
        types = sorted((t for known in self.plugins.values() for t in known), key=lambda t: not (t.words or t.below))
        names: dict[str, tuple[str, ...]] = {}
        for one in (*self.settings, *types):
            for name in (one.name, *one.below):
                spelt = names.get(type_key(name), ())
                names[type_key(name)] = spelt if name in spelt else (*spelt, name)
        return names

    @cached_property
    def _only_above_in_settings(self) -> set[str]:
        """Keys of types that nothing knows but a `below` of the shop's own table."""
        named = {type_key(one.name) for one in self.settings}
        named |= {type_key(n) for types in self.plugins.values() for t in types for n in (t.name, *t.below)}
        return {type_key(name) for one in self.settings for name in one.below} - named

    @cached_property
    def _table(self) -> dict[str, str]:
        """Keys of types by the key of a word, from the shop's own table."""
        return {type_key(word): type_key(one.name) for one in self.settings for word in one.words}

    @cached_property
    def _words(self) -> dict[str, dict[str, list[str]]]:
        """Plugins by the key of a word and the key of its type."""
        words: dict[str, dict[str, list[str]]] = {}
        for owner in sorted(self.plugins):
            for one in self.plugins[owner]:
                for word in one.words:
                    plugins = words.setdefault(type_key(word), {}).setdefault(type_key(one.name), [])
                    if owner not in plugins:
                        plugins.append(owner)
        return words

    @cached_property
    def _below(self) -> dict[str, tuple[str, ...]]:
        """The types right above each type, by key: by the shop's own table if that says any, else by the plugins."""
        below: dict[str, tuple[str, ...]] = {}
        for one in (t for owner in sorted(self.plugins) for t in self.plugins[owner]):
            below[type_key(one.name)] = tuple(dict.fromkeys((*below.get(type_key(one.name), ()), *one.below)))
        return below | {type_key(one.name): one.below for one in self.settings if one.below}


#: What a catalogue follows that never had a table: attributes apply to the words that they name.
EXACT: Final = ArticleTypes(exact=True)
