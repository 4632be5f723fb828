"""What an attribute is: its name, its values and how it is answered.

Declarations are frozen and checked where they are written, so a plugin with a bad schema fails at
its own line and not in the middle of a training run.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, ClassVar

from .errors import SchemaError

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
#: Separates several values (multi-label) or several candidates (single-label, ordinal) in one cell.
SEPARATOR = "|"

_FOLD = re.compile(r"[\s_\-]+")


def fold(text: str) -> str:
    """Return `text` as it is compared: case, width, spaces, underscores and hyphens do not matter.

    >>> fold("V-Neck") == fold("v_neck ") == "v neck"
    True
    """
    return _FOLD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _texts(where: str, what: str, texts: object) -> tuple[str, ...]:
    """Return `texts` as a tuple of non-empty strings, or raise SchemaError naming the field."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise SchemaError(f"{where}: {what} must be a tuple of strings, not {texts!r}; write ({texts!r},)")
    out = tuple(texts)
    for text in out:
        if not isinstance(text, str) or not fold(text):
            raise SchemaError(f"{where}: {what} holds {text!r}; every entry must be a non-empty string")
        if SEPARATOR in text:
            raise SchemaError(f"{where}: {what} holds {text!r}; {SEPARATOR!r} separates values in a label file")
    return out


@dataclass(frozen=True)
class Value:
    """One answer. `key` is stable and stored; `synonyms` are read as it; `formerly` are keys it replaces."""

    key: str
    title: str = ""
    synonyms: tuple[str, ...] = ()
    formerly: tuple[str, ...] = ()

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
        if fold(NOT_APPLICABLE) in map(fold, self.spellings):
            raise SchemaError(f"{where}: key, title, synonyms and formerly must not hold {NOT_APPLICABLE!r}")

    @property
    def spellings(self) -> tuple[str, ...]:
        """Every text that is read as this value: key, title, synonyms, former keys."""
        return (self.key, self.title, *self.synonyms, *self.formerly)


@dataclass(frozen=True)
class Labels:
    """A label schema: its kind and its values, in the order that the model's outputs follow."""

    values: tuple[Value, ...]
    kind: ClassVar[str] = ""

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
        least = 1 if self.kind == "multi" else 2
        if len(values) < least:
            raise SchemaError(f"{where}: values has {len(values)} entries, at least {least} are needed")
        owner: dict[str, str] = {}
        for value in values:
            for text in value.spellings:
                other = owner.setdefault(fold(text), value.key)
                if other != value.key:
                    raise SchemaError(f"{where}: {text!r} stands for both {other!r} and {value.key!r}")
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
    def _by_spelling(self) -> dict[str, Value]:
        return {fold(text): value for value in self.values for text in value.spellings}

    def find(self, text: str) -> Value | None:
        """Return the value that `text` spells, or None. Never a guess."""
        return self._by_spelling.get(fold(text))

    def nearest(self, text: str) -> str | None:
        """Return the key of the value whose spelling is closest to `text`, for error messages only."""
        close = get_close_matches(fold(text), self._by_spelling, n=1, cutoff=0.6)
        return self._by_spelling[close[0]].key if close else None


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
    is asked of (empty: all of them). `normalized_by` is filled in when plugins are loaded: the plugins, with their
    versions, that are asked what a text means which no spelling matches. Raises SchemaError, naming the field, if
    anything is wrong.
    """

    name: str
    labels: Labels
    title: str = ""
    applies_to: tuple[str, ...] = ()
    description: str = field(default="", compare=False)
    normalized_by: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        where = f"attribute {self.name!r}"
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise SchemaError(f"{where}: name must be an identifier such as 'sleeve_length'")
        if self.name in RESERVED_COLUMNS:
            raise SchemaError(f"{where}: name is a reserved column of label files; choose another")
        if self.name in RESERVED_NAMES or self.name.startswith("_"):
            raise SchemaError(f"{where}: name cannot be a module key (torch uses it); choose another")
        if len(self.name) > 63:
            raise SchemaError(f"{where}: name is longer than 63 characters")
        if not isinstance(self.labels, Labels):
            raise SchemaError(f"{where}: labels must be SingleLabel, MultiLabel or Ordinal, not {self.labels!r}")
        if not isinstance(self.title, str):
            raise SchemaError(f"{where}: title must be a string, not {self.title!r}")
        object.__setattr__(self, "title", self.title or self.name.replace("_", " ").capitalize())
        object.__setattr__(self, "applies_to", _texts(where, "applies_to", self.applies_to))

    def applies(self, article_type: str | None) -> bool:
        """Return whether the attribute is asked of `article_type`; an unknown article type always is."""
        if not self.applies_to or not article_type:
            return True
        return fold(article_type) in {fold(text) for text in self.applies_to}

    def to_json(self) -> dict[str, Any]:
        """Return the declaration as JSON-ready data; `from_json` reads it back."""
        labels: dict[str, Any] = {
            "kind": self.labels.kind,
            "values": [
                {"key": v.key, "title": v.title, "synonyms": list(v.synonyms), "formerly": list(v.formerly)}
                for v in self.labels.values
            ],
        }
        if isinstance(self.labels, MultiLabel):
            labels["closed_world"] = self.labels.closed_world
        out = {
            "name": self.name,
            "title": self.title,
            "applies_to": list(self.applies_to),
            "description": self.description,
            "labels": labels,
        }
        return {**out, "normalized_by": self.normalized_by} if self.normalized_by else out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Attribute:
        """Return the attribute that `to_json` wrote. Raises SchemaError on an unknown kind."""
        labels = dict(data["labels"])
        kind = labels.pop("kind")
        if kind not in KINDS:
            raise SchemaError(f"attribute {data['name']!r}: kind {kind!r} is none of {', '.join(KINDS)}")
        values = tuple(
            Value(v["key"], v["title"], tuple(v["synonyms"]), tuple(v["formerly"])) for v in labels.pop("values")
        )
        return cls(
            name=data["name"],
            labels=KINDS[kind](values, **labels),
            title=data["title"],
            applies_to=tuple(data["applies_to"]),
            description=data.get("description", ""),
            normalized_by=data.get("normalized_by", ""),
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the declaration means: titles of the attribute and its description are left out."""
        meaning = self.to_json()
        del meaning["title"], meaning["description"]
        return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
