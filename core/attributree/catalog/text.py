"""What titles and descriptions say: values found by their spellings. Pure; the database is in `mine`.

    Miner(attributes).mine("dress", "Striped dress, no collar") == {"pattern": ("striped",)}

Precision comes before recall: what could be meant otherwise is left out, and nothing is guessed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ..schema import Attribute, fold

#: Words that tie others together; no phrase begins or ends with one, and none is a value by itself.
STOP_WORDS = frozenset(
    """
    a about above all also an and any are as at be been but by can each every for from get has have how if in into is it
    its just more most much must nor of off on one only or other our out over own same she so some such than that the
    their them then there these they this those through to too under up us very was we when which while who will with
    you your yours yes no not none non without never other unknown true false
    """.split()
)
#: Words that say something only beside a noun: "short" in "short sleeves", and not in "a short jacket".
GENERAL_WORDS = frozenset(
    """
    back big bottom center centre closed dark deep elbow extra front full half heavy high knee large left light long low
    medium mid middle narrow normal open regular right short side single small square standard straight thick thin top
    waist wide
    """.split()
)
#: Where a clause ends; no spelling and no negation reaches across.
BREAKS = frozenset(".,;:!?()|•")
_BEFORE = frozenset({"without", "no", "not", "non", "never", "nor"})
_AFTER = frozenset({"free", "less"})
#: How many words before a spelling a negation may stand.
_REACH = 2

_TAG = re.compile(r"<[^<>]{1,300}>|\n")
_WORD = re.compile(r"\d+/\d+|[^\W_]+(?:'[^\W_]+)*|[.,;:!?()|•]")

Words = tuple[str, ...]
Owner = tuple[str, str]  # attribute, key


def words(text: str) -> Words:
    """Return the words of `text` as they are compared, with the marks that end a clause; HTML tags end one too.

    >>> words("V-Neck, 3/4 sleeves")
    ('v', 'neck', ',', '3/4', 'sleeves')
    """
    plain = html.unescape(_TAG.sub(" . ", text))
    return tuple(_WORD.findall(fold(plain).replace("\u2019", "'").replace("\u2044", "/")))


def stem(word: str) -> str:
    """Return `word` without the ending of a plural, s or es.

    >>> stem("sleeves"), stem("dresses"), stem("sleeveless")
    ('sleeve', 'dress', 'sleeveless')
    """
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


@dataclass(frozen=True, slots=True)
class Match:
    """A spelling in a text: the words from `start` to before `end`, and the values that are spelt so."""

    start: int
    end: int
    owners: frozenset[Owner]


class Vocabulary:
    """Every spelling of some attributes' values, looked up word by word."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self._exact: dict[Words, set[Owner]] = {}
        self._stems: dict[Words, set[Owner]] = {}
        self._longest: dict[str, int] = {}  # words in the longest spelling, by the stem of its first
        for attribute in attributes:
            for value in attribute.labels.values:
                for spelling in value.spellings:
                    self._add(words(spelling), (attribute.name, value.key))

    def _add(self, spelling: Words, owner: Owner) -> None:
        if not spelling:
            return
        stems = tuple(map(stem, spelling))
        self._exact.setdefault(spelling, set()).add(owner)
        self._stems.setdefault(stems, set()).add(owner)
        self._longest[stems[0]] = max(self._longest.get(stems[0], 0), len(stems))

    def matches(self, text: Words) -> list[Match]:
        """Return the spellings in `text` from left to right; of two that share a word, the longer one."""
        stems = tuple(map(stem, text))
        found = []
        for start, first in enumerate(stems):
            for end in range(min(len(text), start + self._longest.get(first, 0)), start, -1):
                owners = self._exact.get(text[start:end]) or self._stems.get(stems[start:end])
                if owners:
                    found.append(Match(start, end, frozenset(owners)))
                    break
        taken: set[int] = set()
        kept = []
        for match in sorted(found, key=lambda match: (match.start - match.end, match.start)):
            if taken.isdisjoint(range(match.start, match.end)):
                taken.update(range(match.start, match.end))
                kept.append(match)
        return sorted(kept, key=lambda match: match.start)


class Miner:
    """Finds values in texts. `attributes` are all that are declared: a spelling of one may be part of another's."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        self._attributes = tuple(attributes)
        self._applying: dict[str, tuple[Vocabulary, tuple[Attribute, ...]]] = {}

    def mine(self, article_type: str, *texts: str) -> dict[str, tuple[str, ...]]:
        """Return the keys that `texts` name, in the schema's order, for each attribute that they name any of.

        Several keys of a single-label attribute are candidates. Left out are negated spellings, spellings that values
        of two attributes share, and single words that say little, such as "short".
        """
        if article_type not in self._applying:
            here = tuple(attribute for attribute in self._attributes if attribute.applies(article_type))
            self._applying[article_type] = (Vocabulary(here), here)
        vocabulary, attributes = self._applying[article_type]
        said: set[Owner] = set()
        for text in texts:
            said |= _said(vocabulary, words(text))
        found = {a.name: tuple(key for key in a.labels.keys if (a.name, key) in said) for a in attributes}
        return {name: keys for name, keys in found.items() if keys}


def _said(vocabulary: Vocabulary, text: Words) -> set[Owner]:
    """Return the values that `text` affirms."""
    matches = vocabulary.matches(text)
    taken = {i for match in matches for i in range(match.start, match.end)}
    said: set[Owner] = set()
    denied = -1  # where the last negated spelling ended
    for match in matches:
        listed = text[denied : match.start] in (("or",), ("nor",)) if denied >= 0 else False
        if listed or _negated(text, match, taken):
            denied = match.end
        elif len(match.owners) == 1 and _telling(text[match.start : match.end]):
            said |= match.owners
    return said


def _negated(text: Words, match: Match, taken: Collection[int]) -> bool:
    if text[match.end : match.end + 1] and text[match.end] in _AFTER and match.end not in taken:
        return True
    for i in range(match.start - 1, max(-1, match.start - 1 - _REACH), -1):
        if text[i] in BREAKS:
            return False
        # The "no" of "no sleeves" belongs to that spelling, and says nothing about the next.
        if i not in taken and (text[i] in _BEFORE or text[i].endswith("n't")):
            return True
    return False


def _telling(spelling: Sequence[str]) -> bool:
    """Return whether a spelling means its value wherever it stands."""
    if len(spelling) > 1:
        return True
    (word,) = spelling
    return len(word) > 1 and not word.isdigit() and word not in STOP_WORDS and word not in GENERAL_WORDS
