"""What an attribute is: its name, its values and how it is answered.

Declarations are frozen and checked where they are written, so a plugin with a bad schema fails at
its own line and not in the middle of a training run.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar

from .errors import SchemaError
from .jsonable import jsonable

#: Columns of an ingest file that are not attributes.
RESERVED_COLUMNS = frozenset({"image", "sku", "article_type", "title", "description", "split"})

#: Names that `torch.nn.ModuleDict` needs for itself (a test compares this with the installed torch).
RESERVED_NAMES = frozenset(
    """
    T_destination add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter get_submodule half
    ipu items keys load_state_dict modules mtia named_buffers named_children named_modules
    named_parameters parameters pop register_backward_hook register_buffer register_forward_hook
    register_forward_pre_hook register_full_backward_hook register_full_backward_pre_hook
    register_load_state_dict_post_hook register_load_state_dict_pre_hook register_module
    register_parameter register_state_dict_post_hook register_state_dict_pre_hook requires_grad_
    set_extra_state set_submodule share_memory state_dict to to_empty train training type update values
    xpu zero_grad
    """.split()
)

#: The parts of a catalogue: trained on, chosen by, and reported.
SPLITS = ("train", "val", "test")

#: The cell that says "this attribute does not apply to this image".
NOT_APPLICABLE = "n/a"
#: The cell that says of a multi-label attribute that none of its values holds: an empty list, as JSON has it.
NONE_OF_THEM = "[]"
#: Separates several values (multi-label) or several candidates (single-label, ordinal) in one cell.
SEPARATOR = "|"

#: Vowel signs and accents, which Python does not count among the letters; the inside of a class of characters.
MARKS = "\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0900-\u0dff"
_LETTER = r"[^\W_]"
#: Blanks, underscores and hyphens between two letters or digits. A hyphen between a blank and a digit is a sign.
_BETWEEN = re.compile(rf"(?:(?<={_LETTER})|(?<=[{MARKS}]))(?:[ _-]*[ _](?=-\d)|[ _-]+(?={_LETTER}))")
#: What names a language, as BCP 47 has it.
LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*")


def fold(text: str) -> str:
    """Return `text` as it is compared: neither case, width nor what separates two letters or digits matters.

    Blanks, underscores and hyphens separate; where there is nothing else, nothing is said. Signs keep their meaning:
    "-1" is not "1", "A-" is not "A".

    >>> fold("Half-Round") == fold("half_round ") == "half round"
    True
    >>> fold("-1"), fold("A-"), fold("size_-1"), fold("10-20")
    ('-1', 'a-', 'size -1', '10 20')
    """
    folded = _BETWEEN.sub(" ", " ".join(unicodedata.normalize("NFKC", text).casefold().split()))
    return folded if folded.strip(" _-") else ""


def key_of(text: str) -> str:
    """Return `text` as the key of a value: folded, with underscores where that means the same.

    >>> key_of("Two-tone"), key_of("A + B")
    ('two_tone', 'a + b')
    """
    folded = fold(text)
    key = folded.replace(" ", "_")
    return key if fold(key) == folded else folded


_RESERVED = {fold(name): name for name in sorted(RESERVED_COLUMNS)}
#: A whole number as data frames write it whose column has gaps: 1009.0.
_FLOAT = re.compile(r"(-?(?:0|[1-9]\d*))\.0", re.ASCII)


def reserved_column(heading: str) -> str | None:
    """Return the reserved column of label files that `heading` names, None if it names none.

    >>> reserved_column("Article Type"), reserved_column("SKU"), reserved_column("size")
    ('article_type', 'sku', None)
    """
    return _RESERVED.get(fold(heading))


def whole(text: str) -> str:
    """Return "1009" for "1009.0", and any other text as it is."""
    found = _FLOAT.fullmatch(text)
    return found[1] if found else text


def sku_of(text: str) -> str:
    """Return the one spelling of a sku: accents as single characters (NFC), whole numbers without a fraction."""
    return whole(unicodedata.normalize("NFC", text))


def _texts(where: str, what: str, texts: object, *, cells: bool = True) -> tuple[str, ...]:
    """Return `texts` as a tuple of non-empty strings, or raise SchemaError naming the field.

    With `cells` they may stand in a cell beside others, so none holds the separator.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise SchemaError(f"{where}: {what} must be a tuple of strings, not {texts!r}; write ({texts!r},)")
    out = tuple(texts)
    for text in out:
        if not isinstance(text, str) or not fold(text):
            raise SchemaError(f"{where}: {what} holds {text!r}; every entry must be a non-empty string")
        if cells and SEPARATOR in text:
            raise SchemaError(f"{where}: {what} holds {text!r}; {SEPARATOR!r} separates values in a label file")
    return out


def _translations(where: str, translations: object) -> dict[str, tuple[str, ...]]:
    """Return texts by language tag, in order of the tags, or raise SchemaError naming the field."""
    if not isinstance(translations, Mapping):
        raise SchemaError(f"{where}: translations must map language tags to texts, not be {translations!r}")
    for tag in translations:
        if not isinstance(tag, str) or not LANGUAGE_TAG.fullmatch(tag):
            raise SchemaError(f"{where}: translations holds {tag!r}; write a language tag such as 'de' or 'pt-BR'")
    return {tag: _texts(where, f"translations[{tag!r}]", translations[tag]) for tag in sorted(translations)}


def _check_name(where: str, name: object) -> None:
    """Raise SchemaError unless `name` can be a column of label files and a module key."""
    if not isinstance(name, str) or not name.isidentifier():
        raise SchemaError(f"{where} must be an identifier such as 'edge_shape'")
    if name in RESERVED_COLUMNS:
        raise SchemaError(f"{where} is a reserved column of label files; choose another")
    if name in RESERVED_NAMES or name.startswith("_"):
        raise SchemaError(f"{where} cannot be a module key (torch uses it); choose another")
    if len(name) > 63:
        raise SchemaError(f"{where} is longer than 63 characters")


@dataclass(frozen=True)
class Value:
    """One answer. `key` is stable and stored; `synonyms` are read as it; `formerly` are keys it replaces.

    `translations` are synonyms by language tag: {"de": ("gestreift", "Streifen"), "pt-BR": ("listrado",)}.
    A former key that several values name was split into them: whatever says it means one of them.
    """

    key: str
    title: str = ""
    synonyms: tuple[str, ...] = ()
    formerly: tuple[str, ...] = ()
    translations: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        where = f"value {self.key!r}"
        (key,) = _texts(where, "key", (self.key,))
        if key != key.strip():
            raise SchemaError(f"{where}: key must have no spaces around it")
        if not isinstance(self.title, str) or (self.title and not fold(self.title)):
            raise SchemaError(f"{where}: title must be a string with a letter in it, not {self.title!r}")
        object.__setattr__(self, "title", self.title or key.replace("_", " ").capitalize())
        object.__setattr__(self, "synonyms", _texts(where, "synonyms", self.synonyms))
        object.__setattr__(self, "formerly", _texts(where, "formerly", self.formerly))
        object.__setattr__(self, "translations", _translations(where, self.translations))
        for text in (NOT_APPLICABLE, NONE_OF_THEM):
            if fold(text) in map(fold, self.spellings):
                raise SchemaError(f"{where}: key, title, synonyms, formerly and translations must not hold {text!r}")

    def to_json(self) -> dict[str, Any]:
        """Return the value as JSON-ready data."""
        return _told(self, "translations")

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every text that is read as this value: key, title, synonyms, former keys, translations."""
        return self.spellings_in()

    def spellings_in(self, languages: Collection[str] = ()) -> tuple[str, ...]:
        """Return the spellings with the translations into `languages` only (empty: all); "de" covers "de-AT"."""
        wanted = tuple(map(str.casefold, languages))
        translated = (
            text
            for tag, texts in self.translations.items()
            if not wanted or f"{tag}-".casefold().startswith(tuple(f"{language}-" for language in wanted))
            for text in texts
        )
        return (self.key, self.title, *self.synonyms, *self.formerly, *translated)


@dataclass(frozen=True)
class Labels:
    """A label schema: its kind and its values, in the order that the model's outputs follow."""

    values: tuple[Value, ...]
    kind: ClassVar[str] = ""
    #: Whether one value alone holds of an image: then the values share one probability, and a cell `a|b` is either.
    exclusive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        where = type(self).__name__
        if not self.kind:
            raise SchemaError("labels: use SingleLabel, MultiLabel or Ordinal")
        if isinstance(self.values, str) or not isinstance(self.values, Iterable):
            raise SchemaError(f"{where}: values must be a tuple of Value, not {self.values!r}")
        values = tuple(Value(v) if isinstance(v, str) else v for v in self.values)
        for value in values:
            if not isinstance(value, Value):
                raise SchemaError(f"{where}: values holds {value!r}, which is not a Value")
        object.__setattr__(self, "values", values)
        least = 2 if self.exclusive else 1
        if len(values) < least:
            raise SchemaError(f"{where}: values has {len(values)} entries, at least {least} are needed")
        owner: dict[str, str] = {}
        formers = {fold(text) for value in values for text in value.formerly}
        # What a value is called today was not split into others.
        shared = formers - {fold(text) for value in values for text in (value.key, value.title, *value.synonyms)}
        for value in values:
            for text in value.spellings:
                other = owner.setdefault(fold(text), value.key)
                if other != value.key and fold(text) not in shared:
                    both = f"{where}: {text!r} stands for both {other!r} and {value.key!r}"
                    out = "; to split a value, give each part a key of its own" if fold(text) in formers else ""
                    raise SchemaError(both + out)
        keys = [value.key for value in values]
        if len(set(keys)) != len(keys):
            twice = next(key for key in keys if keys.count(key) > 1)
            raise SchemaError(f"{where}: value {twice!r} is declared twice")

    @property
    def size(self) -> int:
        """Number of values, C."""
        return len(self.values)

    @property
    def outputs(self) -> int:
        """Number of logits a head returns: C, or C - 1 thresholds for an ordinal attribute."""
        return self.size

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The values' keys, in order."""
        return tuple(value.key for value in self.values)

    @cached_property
    def _by_spelling(self) -> dict[str, tuple[Value, ...]]:
        found: dict[str, tuple[Value, ...]] = {}
        for value in self.values:
            for text in dict.fromkeys(map(fold, value.spellings)):
                found[text] = (*found.get(text, ()), value)
        return found

    def read(self, text: str) -> tuple[Value, ...]:
        """Return the values that `text` may mean: several if it is a former key that was split, none if unknown.

        A whole number may be written with a fraction: "5.0" is read as "5" where no value is spelt "5.0".
        """
        found = self._by_spelling.get(fold(text))
        return found or self._by_spelling.get(fold(whole(text.strip())), ())

    def find(self, text: str) -> Value | None:
        """Return the value that `text` spells, or None. Never a guess, so None for a key that was split."""
        found = self.read(text)
        return found[0] if len(found) == 1 else None

    def nearest(self, text: str) -> str | None:
        """Return the key of the value whose spelling is closest to `text`, for error messages only."""
        close = get_close_matches(fold(text), self._by_spelling, n=1, cutoff=0.6)
        return self._by_spelling[close[0]][0].key if close else None


@dataclass(frozen=True)
class SingleLabel(Labels):
    """Exactly one value holds."""

    kind: ClassVar[str] = "single"


@dataclass(frozen=True)
class MultiLabel(Labels):
    """Any number of values hold.

    With `closed_world` (the default) a value that is not listed for an image is absent from it; without,
    it is unknown, and only weakly taken for absent in training.
    """

    closed_world: bool = True
    kind: ClassVar[str] = "multi"
    exclusive: ClassVar[bool] = False


@dataclass(frozen=True)
class Ordinal(Labels):
    """Exactly one value holds, and the values are listed from least to most."""

    kind: ClassVar[str] = "ordinal"

    @property
    def outputs(self) -> int:
        return self.size - 1


KINDS: Mapping[str, type[Labels]] = {cls.kind: cls for cls in (SingleLabel, MultiLabel, Ordinal)}


@dataclass(frozen=True)
class Attribute:
    """One question about an image.

    `name` is its column in label files and its key everywhere; `applies_to` lists the article types it
    is asked of (empty: all of them). `formerly` are names that it had: their columns are read as its own, and what the
    catalogue holds under one of them becomes this attribute's. `normalized_by` is filled in when plugins are loaded:
    those, with their versions, that are asked what a text means which no spelling matches. Raises SchemaError, naming
    the field, if anything is wrong.
    """

    name: str
    labels: Labels
    title: str = ""
    applies_to: tuple[str, ...] = ()
    description: str = field(default="", compare=False)
    formerly: tuple[str, ...] = ()
    normalized_by: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        where = f"attribute {self.name!r}"
        _check_name(f"{where}: name", self.name)
        if not isinstance(self.labels, Labels):
            raise SchemaError(f"{where}: labels must be SingleLabel, MultiLabel or Ordinal, not {self.labels!r}")
        if not isinstance(self.title, str):
            raise SchemaError(f"{where}: title must be a string, not {self.title!r}")
        object.__setattr__(self, "title", self.title or self.name.replace("_", " ").capitalize())
        object.__setattr__(self, "applies_to", _texts(where, "applies_to", self.applies_to))
        object.__setattr__(self, "formerly", _texts(where, "formerly", self.formerly))
        for former in self.formerly:
            _check_name(f"{where}: formerly holds {former!r}, which", former)
            if fold(former) == fold(self.name):
                raise SchemaError(f"{where}: formerly holds {former!r}, its own name; leave it out")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of label files that speak of it: its name and its former ones."""
        return (self.name, *self.formerly)

    def applies(self, article_type: str | None) -> bool:
        """Return whether the attribute is asked of `article_type`; an unknown article type always is."""
        if not self.applies_to or not article_type:
            return True
        return fold(article_type) in {fold(text) for text in self.applies_to}

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON-ready data; `from_json` reads it back."""
        told = _told(self, "formerly", "normalized_by")
        told["labels"]["kind"] = self.labels.kind
        return told

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Attribute:
        """Return the attribute that `to_json` wrote. Raises SchemaError if another version of attributree wrote it."""
        where = f"attribute {data.get('name')!r}"
        _check_keys(where, cls, data)
        labels = dict(data["labels"])
        kind = labels.pop("kind", None)
        if kind not in KINDS:
            raise SchemaError(f"{where}: kind {kind!r} is none of {', '.join(KINDS)}")
        _check_keys(f"{where}: labels", KINDS[kind], labels)
        for value in labels["values"]:
            _check_keys(f"{where}: value {value.get('key')!r}", Value, value)
        values = tuple(Value(**value) for value in labels.pop("values"))
        return cls(**{**data, "labels": KINDS[kind](values, **labels)})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the declaration means: titles of the attribute and its description are left out."""
        meaning = self.to_json()
        del meaning["title"], meaning["description"]
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class ArticleType:
    """A type of product that attributes apply to.

    `words` are what shops call it, besides its name; `below` are the types that it is one of: what applies to them
    applies to it. Raises SchemaError, naming the field, if anything is wrong.
    """

    name: str
    words: tuple[str, ...] = ()
    below: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"article type {self.name!r}"
        _texts(where, "name", (self.name,))
        object.__setattr__(self, "words", _texts(where, "words", self.words, cells=False))
        object.__setattr__(self, "below", _texts(where, "below", self.below))


def _check_keys(where: str, cls: type[Attribute | Labels | Value], data: Mapping[str, Any]) -> None:
    """Raise SchemaError if stored `data` has a key that `cls` does not know, or lacks one that it needs."""
    known = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(cls)}
    if unknown := sorted(data.keys() - known.keys()):
        others = ", ".join(map(repr, unknown))
        raise SchemaError(f"{where}: the stored schema has {others}, which a newer attributree wrote; upgrade this one")
    if lacking := sorted(name for name, needed in known.items() if needed and name not in data):
        raise SchemaError(f"{where}: the stored schema lacks {', '.join(map(repr, lacking))}; declare it anew")


def _told(declared: Value | Attribute, *younger: str) -> dict[str, Any]:
    """Return the fields, without `younger` ones that are empty: digests stay what they were before there were such."""
    told = {field.name: jsonable(getattr(declared, field.name)) for field in fields(declared)}
    return {key: value for key, value in told.items() if value or key not in younger}
