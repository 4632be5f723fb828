"""What titles and descriptions say: values found by their spellings. Pure; the database is in `mine`.

    Miner(attributes).mine("tile", "Striped tile, not glossy") == {"pattern": ("striped",)}

Precision comes before recall: what could be meant otherwise is left out, and nothing is guessed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ..article_types import ASKED, EXACT, ArticleTypes
from ..schema import MARKS, Attribute, fold
from ..stems import stem

#: Words that tie others together; no phrase begins or ends with one, and none is a value by itself.
STOP_WORDS = frozenset(
    """
    a about above all also an and any are as at be been but by can could did do does each every for from get has have
    how if in into is it its just more most much must nor of off on one only or other our out over own same she so some
    such than that the their them then there these they this those through to too under up us very was we were when
    which while who will with would you your yours yes no not none non without never unknown true false
    """.split()
)
#: Words that say something only beside a noun: "short" in "short legs", and not in "a short delivery time".
GENERAL_WORDS = frozenset(
    """
    back big bottom center centre closed dark deep elbow extra four front full half heavy high knee large left light
    long low medium mid middle narrow normal open quarter regular right short side single small square standard straight
    thick thin three top two wide
    breit dunkel eng gross hell hoch klein kurz lang mittel schmal tief voll weit
    bas clair court foncé grand haut large moyen petit alto bajo corto largo medio basso lungo medio kort licht lang
    """.split()
)
#: Where a clause ends, a line (¶) and a cell of a table (|) among them; no spelling reaches across.
BREAKS = frozenset(".,;:!?()|•¶")
_SENTENCE_ENDS = BREAKS - {",", ":"}
#: Words that deny what follows in their clause: English, German, French, Spanish, Italian, Dutch, Portuguese.
NEGATIONS = frozenset(
    """
    no not non none nothing zero without never nor neither hardly barely scarcely lacks lacking minus than instead
    unlike except avoid avoids omit omits omitted skip skips skipped goodbye
    arent cant didnt doesnt dont hasnt havent isnt wasnt wont
    ohne nicht kein keine keinem keinen keiner keines nie weder statt
    sans pas ni jamais aucun aucune
    sin nunca senza né mai zonder geen niet nooit sem não nem
    """.split()
)
#: Words after which a sentence is about other goods, or about other colours of this one.
_ASIDES = frozenset(
    """
    accessories anything available bought browse buy customers discover explore match matched matches matching other
    pair paired pairing pairs photographed see shop similar styled team teamed teams wear wearing wears worn
    erhältlich kombinieren kombiniert passend passt assorti assortie disponible porter combina combinar
    """.split()
)
#: Words that turn a clause round, and words that put together what is listed.
_CONTRASTS = frozenset("but sondern aber mais sino pero ma maar mas".split())
_OR = frozenset("or nor oder noch ou ni o né".split())
_AND = frozenset("and und et y e en".split())
#: Answers that deny what stands before them: "stripes: none", "stripes | no".
_DENIALS = frozenset("no none not nein keine keiner kein non nee geen não without absent false 0".split())
#: Two words that deny together, and two that lead to other goods.
_DENYING_PAIRS = frozenset(
    {("free", "of"), ("free", "from"), ("far", "from"), ("rid", "of")}
    | {("left", "out"), ("leave", "out"), ("leaves", "out")}
)
_ASIDE_PAIRS = frozenset(
    {("also", "in"), ("also", "come"), ("also", "comes"), ("also", "offered"), ("also", "sold")}
    | {("complete", "the"), ("completes", "the"), ("goes", "with")}
)
#: Words of their own, though a slip in a negation would make them.
_NO_SLIPS = frozenset("bears ever hairs lever mother night patch ships slacks tears void watch years".split())
#: How many words, besides those that tie others together, may stand between a negation and what it denies.
_REACH = 2

#: What stands between a question and its answer, as in "hood = no"; a cross is a no.
_CELL = re.compile(r"</?(?:td|th|dt|dd)(?:\s[^<>]{0,300})?>", re.IGNORECASE)
_TAB = re.compile(r"(?<=\S)[ ]*\t\s*(?=\S)")
_EQUALS = re.compile(r"[-=–—]+>|[=→⇒➔]+")
_CROSS = re.compile(r"(^|[\n.;|])\s*[✗✘✕✖❌☒]", re.MULTILINE)
_CROSSED = re.compile(r"[✗✘✕✖❌☒]")
_INLINE = re.compile(r"</?(?:a|abbr|b|em|font|i|mark|small|span|strong|sub|sup|u)(?:\s[^<>]{0,300})?>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-z!][^<>]{0,300}>", re.IGNORECASE)
_DASH = re.compile(rf"\s[-–—]+\s|—|(?:\s[-–—]+|[-–—]+\s+)(?=(?:{'|'.join(sorted(_DENIALS))})\b)", re.IGNORECASE)
_NOT = re.compile(r"n?['\u2019]t\b|n['\u2019](?!s\b)[a-z]?\b", re.IGNORECASE)
_NON = re.compile(r"\b(?:un|non)[-_\u2010\u2011](?=\w)", re.IGNORECASE)
_OWNER = re.compile(r"['\u2019]s\b", re.IGNORECASE)
# A number or a single letter with its sign, which is another one without it.
_SIGNED = r"(?<![^\W_])[+-]\d+|(?<![^\W_])(?:[^\W\d_]|\d+)[+-](?![^\W_])"
# Letters with the vowel signs and accents that Python does not count among them.
_WORD = re.compile(rf"\d+/\d+|{_SIGNED}|(?:[^\W_]|[{MARKS}])+|[.,;:!?()|•¶]")


def _slips(known: Iterable[str]) -> frozenset[str]:
    """Return `known` and, of its words of five letters and more, all that one wrong, lost or swapped letter makes."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    found = set(known)
    for word in [word for word in found if len(word) >= 5]:
        for i in range(len(word)):
            head, tail = word[:i], word[i:]
            found |= {head + tail[1:], head + tail[1:2] + tail[:1] + tail[2:]}
            found |= {head + letter + rest for letter in letters for rest in (tail, tail[1:])}
    return frozenset(found - _NO_SLIPS)


# A slip must not turn what is denied into what is said; what it costs is only found less often.
_DENYING, _TURNING = _slips(NEGATIONS), _slips(_ASIDES)

Words = tuple[str, ...]
Owner = tuple[str, str]  # attribute, key


def words(text: str) -> Words:
    """Return the words of `text` as they are compared, with the marks that end a clause; HTML tags end one too.

    What leads from a question to its answer is a mark, too: a cell of a table, "=", an arrow.

    >>> words("Bull-Nose, <b>3/4</b> inches isn't")
    ('bull', 'nose', ',', '3/4', 'inches', 'is', 'not')
    """
    plain = html.unescape(_TAG.sub(" . ", _CELL.sub(" | ", _INLINE.sub("", text))))
    plain = _EQUALS.sub(" : ", _TAB.sub(" | ", _CROSSED.sub(" : no . ", _CROSS.sub(r"\1 no ", plain))))
    plain = _DASH.sub(" . ", re.sub(r"[\r\n]+", " ¶ ", plain)).replace("&", " and ")
    plain = _OWNER.sub("", _NOT.sub(" not", _NON.sub("non ", plain)))
    return tuple(_WORD.findall(fold(plain).replace("\u2044", "/")))


@dataclass(frozen=True, slots=True)
class Match:
    """A spelling in a text: the words from `start` to before `end`, and the values that it means.

    Several owners share a spelling; none means that it says too little by itself.
    """

    start: int
    end: int
    owners: frozenset[Owner]

    @property
    def attributes(self) -> set[str]:
        """The attributes whose values are spelt so."""
        return {attribute for attribute, _ in self.owners}


class Vocabulary:
    """Every spelling of some attributes' values, looked up word by word; see `Value.spellings_in`."""

    def __init__(self, attributes: Iterable[Attribute], languages: Collection[str] = ()) -> None:
        self._exact: dict[Words, set[Owner]] = {}
        self._stems: dict[Words, set[Owner]] = {}
        self._longest: dict[str, int] = {}  # words in the longest spelling, by the stem of its first
        self._nouns: dict[str, set[str]] = {}  # attributes, by the stem that a spelling of several words ends with
        for attribute in attributes:
            for value in attribute.labels.values:
                for spelling in value.spellings_in(languages):
                    self._add(words(spelling), (attribute.name, value.key))

    def _add(self, spelling: Words, owner: Owner) -> None:
        if not spelling:
            return
        stems = tuple(map(stem, spelling))
        for known in (self._exact.setdefault(spelling, set()), self._stems.setdefault(stems, set())):
            known.update({owner} if _telling(spelling) else ())
        self._longest[stems[0]] = max(self._longest.get(stems[0], 0), len(stems))
        if len(stems) > 1:
            self._nouns.setdefault(stems[-1], set()).add(owner[0])

    def attribute_of(self, phrase: Words) -> str:
        """Return the one attribute that has spellings with the last word of `phrase`; empty if none or several do."""
        attributes = self._nouns.get(stem(phrase[-1]), set())
        return next(iter(attributes)) if len(attributes) == 1 else ""

    def matches(self, text: Words) -> list[Match]:
        """Return the spellings in `text` from left to right; of two that share a word, the longer one."""
        stems = tuple(map(stem, text))
        found = []
        for start, first in enumerate(stems):
            for end in range(min(len(text), start + self._longest.get(first, 0)), start, -1):
                owners = self._owners(text[start:end], stems[start:end])
                if owners is not None:
                    found.append(Match(start, end, frozenset(owners)))
                    break
        taken: set[int] = set()
        kept = []
        for match in sorted(found, key=lambda match: (match.start - match.end, match.start)):
            if taken.isdisjoint(range(match.start, match.end)):
                taken.update(range(match.start, match.end))
                kept.append(match)
        return sorted(kept, key=lambda match: match.start)

    def _owners(self, spelling: Words, stems: Words) -> Collection[Owner] | None:
        exact = self._exact.get(spelling)
        if exact is not None:
            return exact
        alike = self._stems.get(stems)
        return () if alike and not _telling(spelling) else alike


class Miner:
    """Finds values in texts. `attributes` are all that are declared: a spelling of one may be part of another's.

    By `types` an attribute is asked of a product or not; of an unmapped type nothing is mined.
    """

    def __init__(
        self, attributes: Iterable[Attribute], languages: Collection[str] = (), types: ArticleTypes = EXACT
    ) -> None:
        self._types = types
        self._attributes = tuple(attributes)
        self._languages = tuple(languages)
        self._applying: dict[str, tuple[Vocabulary, tuple[Attribute, ...]]] = {}

    def mine(self, article_type: str, *texts: str) -> dict[str, tuple[str, ...]]:
        """Return the keys that `texts` name, in the schema's order, for each attribute that they name any of.

        An attribute that can have one value has it from the first text that names any: descriptions digress, titles do
        not. Several keys in that are candidates. Left out are spellings that are negated or about
        something else, that values of two attributes share, and that say little by themselves, such as "short".
        """
        if article_type not in self._applying:
            here = tuple(
                attribute for attribute in self._attributes if self._types.asks(attribute, article_type) == ASKED
            )
            self._applying[article_type] = (Vocabulary(here, self._languages), here)
        vocabulary, attributes = self._applying[article_type]
        said: set[Owner] = set()
        for text in texts:
            named = {a.name for a in attributes if a.labels.exclusive} & {name for name, _ in said}
            said |= {owner for owner in _said(vocabulary, words(text)) if owner[0] not in named}
        found = {a.name: tuple(key for key in a.labels.keys if (a.name, key) in said) for a in attributes}
        return {name: keys for name, keys in found.items() if keys}


def _telling(spelling: Words) -> bool:
    """Return whether a spelling means its value wherever it stands."""
    if len(spelling) > 1:
        return not GENERAL_WORDS.issuperset(spelling)
    (word,) = spelling
    return len(word) > 1 and any(map(str.isalpha, word)) and word not in STOP_WORDS and word not in GENERAL_WORDS


def _said(vocabulary: Vocabulary, text: Words) -> set[Owner]:
    """Return the values that `text` affirms."""
    matches = vocabulary.matches(text)
    taken = {i for match in matches for i in range(match.start, match.end)}
    said: set[Owner] = set()
    denied: Match | None = None  # the spelling before this one, if a negation has reached it
    for match in matches:
        if (denied and _listed(text[denied.end : match.start], denied, match)) or _negated(text, match, taken):
            denied = match
            continue
        # The "no" of "no handles or stripes" is part of one spelling, and denies the next.
        denied = match if text[match.start] in NEGATIONS else None
        if len(match.owners) == 1 and not _aside(text, match, taken) and not _asked(text, match):
            said |= match.owners
    return said


def _listed(between: Words, denied: Match, match: Match) -> bool:
    """Return whether `match` stands in one list with the denied spelling before it."""
    *commas, last = between or ("",)
    if last in _OR or last in _AND:
        return not commas or commas == [","]
    return between == (",",) and bool(denied.attributes & match.attributes)


def _negated(text: Words, match: Match, taken: Collection[int]) -> bool:
    after = text[match.end : match.end + 2]
    if match.end not in taken and after[:1] in (("free",), ("less",)):
        return True
    if _answered_no(text, match):
        return True
    # Where "or" ends a list, as in "no border, stripes or dots", all of it is denied.
    listed = bool(_OR.intersection((*text[match.start - 1 : match.start], *after[:1])))
    between = 0
    for i in range(match.start - 1, -1, -1):
        word = text[i]
        if word in ("¶", ":") and _open_negation(text, i, taken):
            return True
        if word in _CONTRASTS or (word in BREAKS and not (word == "," and listed)):
            return False
        if i not in taken and (word in _DENYING or text[i : i + 2] in _DENYING_PAIRS):
            return word != "non" or between == 0
        between += word not in STOP_WORDS and word not in BREAKS
        if between > _REACH:
            return False
    return False


def _answered_no(text: Words, match: Match) -> bool:
    """Return whether what follows says no to `match`: "hood: no", "hood (zipped) | no", "no" on the line below it."""
    if text[match.end : match.end + 1] and text[match.end] in _DENIALS:  # "hood no", and not "hood no. 1"
        mark, number = (*text[match.end + 1 : match.end + 3], ".", "")[:2]
        return mark in BREAKS and not number.isdigit()
    start = match.end
    if text[start : start + 1] == ("(",) and ")" in text[start:]:
        start = text.index(")", start) + 1
    while start < min(len(text), match.end + _REACH) and text[start] not in BREAKS:
        start += 1
    end = start
    while end < len(text) and text[end] in BREAKS:
        end += 1
    if end == start or end == len(text) or text[end] not in _DENIALS:
        return False
    return text[match.end : end] == (":",) or _alone(text, end)


def _alone(text: Words, place: int) -> bool:
    """Return whether nothing else stands between the marks around the word at `place`."""
    return all(word in BREAKS for word in (*text[max(0, place - 1) : place], *text[place + 1 : place + 2]))


def _open_negation(text: Words, end: int, taken: Collection[int]) -> bool:
    """Return whether a negation before the mark at `end` has nothing to deny yet, as in "without any ¶ stripes".

    The "no" of "hood | no ¶" and of "hood no ¶" has: it is an answer.
    """
    place = end - 1
    while place >= 0 and text[place] in STOP_WORDS and text[place] not in _DENYING:
        place -= 1
    if place < 0 or not (text[place] in _DENYING or text[place - 1 : place + 1] in _DENYING_PAIRS):
        return False
    answers = place - 1 in taken or (_alone(text, place) and not BREAKS.issuperset(text[:place]))
    return text[place] not in _DENIALS or not answers


def _aside(text: Words, match: Match, taken: Collection[int]) -> bool:
    """Return whether the sentence is not about what the picture shows when it comes to `match`."""
    for i in range(match.start - 1, -1, -1):
        if text[i] in _SENTENCE_ENDS:
            return False
        if i not in taken and (text[i] in _TURNING or text[i : i + 2] in _ASIDE_PAIRS):
            return True
    return False


def _asked(text: Words, match: Match) -> bool:
    """Return whether `match` stands in a question."""
    end = next((word for word in text[match.end :] if word in _SENTENCE_ENDS), "")
    return end == "?"
