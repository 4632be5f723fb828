"""What could be declared: columns without an attribute, phrases and cells that no schema knows. Changes nothing."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from sqlalchemy import Connection

from ..labels import auto, coverage
from ..labels.queries import undeclared
from ..labels.records import UnknownValue
from ..labels.store import LabelStore
from ..labels.texts import product_texts
from ..schema import Attribute, key_of, reserved_column
from ..stems import stem
from .miner import BREAKS, STOP_WORDS, Vocabulary, Words, words

#: Different spellings of a column that are looked at, the commonest ones, and different phrases that are counted.
_MOST_SPELLINGS, _MOST_PHRASES = 400, 200_000
#: How alike two spellings are (0..1) if one is the other's slip, and how many times rarer the slip is at least.
_ALIKE, _RARER = 0.8, 4
#: Products that a phrase stands in at least, and words in the longest one.
_LEAST_PRODUCTS, _LONGEST = 3, 3
#: A phrase is left out if so much of its count comes from a longer one.
_PART = 0.8
#: What makes two alike texts two values: numbers, signs such as + and -, words too short to tell a slip.
_DISTINCT = re.compile(r"\d+|[^\w\s.,;:'’\"()]|(?<!\w)\w{1,2}(?!\w)")


@dataclass(frozen=True)
class SuggestedValue:
    """A value that a column's cells would make: its cells, and the other texts that are read as it."""

    key: str
    title: str
    count: int
    synonyms: tuple[str, ...] = ()


@dataclass(frozen=True)
class SuggestedColumn:
    """A column that no plugin declares; `multi` if cells hold several values, `article_types` empty for all of them."""

    column: str
    images: int
    multi: bool
    values: tuple[SuggestedValue, ...]
    article_types: tuple[str, ...]


@dataclass(frozen=True)
class Phrase:
    """Words of titles and descriptions that no schema knows.

    Perhaps a value of `attribute`, whose values are spelt with the same last word; if that is empty, of none there is.
    `products` have it; `unevenness`, 0..1, is how far their article types differ from the whole catalogue's; `score`
    is what phrases are ranked by.
    """

    text: str
    attribute: str
    products: int
    unevenness: float
    score: float
    article_types: tuple[str, ...]  # where it is commonest first


@dataclass(frozen=True)
class Suggestions:
    """Columns by their cells, phrases by score, unreadable texts by their cells."""

    columns: tuple[SuggestedColumn, ...]
    phrases: tuple[Phrase, ...]
    unreadable: tuple[UnknownValue, ...]


def suggest(labels: LabelStore, known: Mapping[str, Attribute], *, limit: int = 20) -> Suggestions:
    """Return up to `limit` suggestions of each kind; `known` are the attributes that are declared."""
    return labels.read(lambda connection: _suggest(connection, known, limit))


def _suggest(connection: Connection, known: Mapping[str, Attribute], limit: int) -> Suggestions:
    found = []
    for columns in auto.read_together(_free(undeclared(connection), known)):
        cells, types = auto.cells(connection, columns), auto.article_types(connection, columns)
        for column, counts in cells.items():
            several, values = auto.several_a_cell(counts), tuple(cluster(counts)[:limit])
            found.append(SuggestedColumn(column, sum(counts.values()), several, values, types[column]))
    texts: list[UnknownValue] = []
    for attribute in known.values():
        texts += (coverage.counted(connection, attribute) or coverage.coverage(connection, attribute)).unreadable
    written = ((p.article_type, (p.title, p.description)) for part in product_texts(connection) for p in part)
    return Suggestions(
        columns=tuple(sorted((c for c in found if c.images), key=lambda column: -column.images)[:limit]),
        phrases=tuple(phrases(written, Vocabulary(known.values()))[:limit]),
        unreadable=tuple(sorted(texts, key=lambda text: (-text.count, text.attribute, text.text))[:limit]),
    )


def _free(columns: Mapping[str, int], known: Mapping[str, Attribute]) -> dict[str, int]:
    """Return the columns that may become attributes: they are none, and none of the reserved ones."""
    return {name: n for name, n in columns.items() if name not in known and not reserved_column(name)}


# -- columns ---------------------------------------------------------------------------------------


def cluster(cells: Mapping[str, int]) -> list[SuggestedValue]:
    """Return the values that `cells` (text -> count) seem to mean, the commonest first.

    Texts that differ in case, spaces, hyphens or a plural are one value. So is one that is nearly like a much
    commoner one: a slip. Texts must agree in digits, signs and short words: "size -1" is no slip of "size 1".
    """
    texts = auto.spellings(cells)
    ranked = sorted(texts, key=lambda folded: (-texts[folded].total(), folded))[:_MOST_SPELLINGS]
    leaders: dict[str, list[str]] = {}
    for folded in ranked:
        for leader in leaders:
            if _same(leader, folded, texts[leader].total(), texts[folded].total()):
                leaders[leader].append(folded)
                break
        else:
            leaders[folded] = []
    values = [
        SuggestedValue(
            key=key_of(leader),
            title=auto.commonest(texts[leader]),
            count=sum(texts[folded].total() for folded in (leader, *others)),
            synonyms=tuple(auto.commonest(texts[folded]) for folded in others),
        )
        for leader, others in leaders.items()
    ]
    return sorted(values, key=lambda value: (-value.count, value.key))


def _same(leader: str, text: str, leading: int, count: int) -> bool:
    if [stem(word) for word in leader.split()] == [stem(word) for word in text.split()]:
        return True
    if _DISTINCT.findall(leader) != _DISTINCT.findall(text):
        return False
    # Two alike texts that are both common, such as "light" and "tight", are two values.
    return count * _RARER <= leading and SequenceMatcher(None, leader, text, autojunk=False).ratio() >= _ALIKE


# -- phrases ---------------------------------------------------------------------------------------


def phrases(products: Iterable[tuple[str, Sequence[str]]], vocabulary: Vocabulary) -> list[Phrase]:
    """Return the phrases of one to three words in `products`, (article type, texts), that `vocabulary` lacks.

    Ranked by how many products have them, less those that nearly all have, and by how unevenly they fall on article
    types. Phrases with an article type's word, and those that mostly are part of a longer one, are left out.
    """
    sizes: Counter[str] = Counter()
    by_type: dict[Words, Counter[str]] = defaultdict(Counter)
    written: dict[Words, Words] = {}
    for article_type, texts in products:
        sizes[article_type] += 1
        here = {tuple(map(stem, phrase)): phrase for text in texts for phrase in _unknown(words(text), vocabulary)}
        for stems, phrase in here.items():
            by_type[stems][article_type] += 1
            written.setdefault(stems, phrase)
        if len(by_type) > _MOST_PHRASES:  # what was seen once so far is most of it, and hardly worth a suggestion
            by_type = defaultdict(Counter, {stems: seen for stems, seen in by_type.items() if seen.total() > 1})
            written = {stems: written[stems] for stems in by_type}
    nouns = {stem(word) for article_type in sizes for word in words(article_type)}
    counts = {
        stems: seen.total()
        for stems, seen in by_type.items()
        if seen.total() >= _LEAST_PRODUCTS and nouns.isdisjoint(stems)
    }
    found = [
        _phrase(" ".join(written[stems]), vocabulary.attribute_of(stems), by_type[stems], sizes)
        for stems in counts.keys() - _parts(counts)
    ]
    return sorted((phrase for phrase in found if phrase.score > 0), key=lambda phrase: (-phrase.score, phrase.text))


def _unknown(text: Words, vocabulary: Vocabulary) -> Iterator[Words]:
    """Yield the phrases of `text` between clause marks and known spellings; none begins or ends with a stop word."""
    taken = {i for match in vocabulary.matches(text) for i in range(match.start, match.end)}
    for start in range(len(text)):
        for end in range(start + 1, min(len(text), start + _LONGEST) + 1):
            if end - 1 in taken or text[end - 1] in BREAKS:
                break
            first, last = text[start], text[end - 1]
            if first in STOP_WORDS or last in STOP_WORDS or not any(len(word) > 1 for word in text[start:end]):
                continue
            if not all(word.isdigit() for word in text[start:end]):
                yield text[start:end]


def _parts(counts: Mapping[Words, int]) -> set[Words]:
    """Return the phrases that mostly stand within a longer one."""
    return {
        longer[start:end]
        for longer, count in counts.items()
        for start in range(len(longer))
        for end in range(start + 1, len(longer) + 1)
        if end - start < len(longer) and count >= _PART * counts.get(longer[start:end], count + 1)
    }


def _phrase(text: str, attribute: str, seen: Counter[str], sizes: Counter[str]) -> Phrase:
    number, total = seen.total(), sizes.total()
    unevenness = sum(abs(seen[name] / number - size / total) for name, size in sizes.items()) / 2
    score = number * (1 - number / total) * (1 + unevenness)
    types = tuple(name for name, _ in sorted(seen.items(), key=lambda item: (-item[1], item[0])) if name)
    return Phrase(text, attribute, number, round(unevenness, 3), round(score, 3), types)
