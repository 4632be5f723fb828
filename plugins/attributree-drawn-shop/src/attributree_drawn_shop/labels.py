"""From true labels to a shop's label file: hidden, ambiguous, contradicted and misspelt cells."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Protocol

import numpy as np

from attributree.schema import NOT_APPLICABLE, SEPARATOR, Attribute, MultiLabel, Ordinal

#: What a hasty eye takes a value for. Ordinal values are taken for their neighbours, those not listed for any other.
_CONFUSABLE: Mapping[str, tuple[str, ...]] = {
    "crew": ("scoop", "boat"),
    "v_neck": ("scoop",),
    "scoop": ("crew", "square"),
    "boat": ("crew", "square"),
    "turtleneck": ("crew",),
    "square": ("scoop", "boat"),
    "solid": ("striped", "dotted"),
    "striped": ("checked",),
    "checked": ("striped",),
    "dotted": ("floral",),
    "floral": ("dotted",),
    "black": ("blue", "grey"),
    "white": ("grey", "pink"),
    "grey": ("white", "black"),
    "red": ("pink", "brown"),
    "blue": ("black", "green"),
    "green": ("blue", "brown"),
    "yellow": ("white", "brown"),
    "pink": ("red", "white"),
    "brown": ("red", "black"),
}


class Untidiness(Protocol):
    """The shares that `state_labels` works with; `GarmentOptions` has them."""

    @property
    def hidden(self) -> float: ...
    @property
    def ambiguous(self) -> float: ...
    @property
    def contradictory(self) -> float: ...
    @property
    def misspelt(self) -> float: ...


def state_labels(
    labels: Mapping[str, str],
    attributes: tuple[Attribute, ...],
    untidiness: Untidiness,
    rng: np.random.Generator,
    counts: MutableMapping[str, int],
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the cells that a label file states for `labels`, and those that a second source contradicts.

    What becomes of each cell is added to `counts`. With the same `rng`, the cells hidden at one share stay
    hidden at every higher one, so that catalogues of growing label shares are nested.
    """
    cells: dict[str, str] = {}
    contradicted: dict[str, str] = {}
    dice = rng.random((len(attributes), 2))
    for attribute, (first, second) in zip(attributes, dice.tolist(), strict=True):
        name, truth = attribute.name, labels[attribute.name]
        ambiguous = 0.0 if isinstance(attribute.labels, MultiLabel) else untidiness.ambiguous
        if truth == NOT_APPLICABLE:
            cells[name] = NOT_APPLICABLE if first < 0.5 else ""
            counts["not_applicable"] += 1
            continue
        if first < untidiness.hidden:
            cells[name] = ""
            counts["hidden"] += 1
            continue
        counts["stated"] += 1
        cells[name] = truth
        if second < ambiguous:
            candidates = {truth, _mistake(attribute, truth, rng)}
            cells[name] = SEPARATOR.join(key for key in attribute.labels.keys if key in candidates)
            counts["ambiguous"] += 1
        elif second < ambiguous + untidiness.contradictory:
            contradicted[name] = _mistake(attribute, truth, rng)
            counts["contradictory"] += 1
        elif second < ambiguous + untidiness.contradictory + untidiness.misspelt:
            cells[name] = _misspell(attribute, truth, rng)
            counts["misspelt"] += 1
    return cells, contradicted


def _mistake(attribute: Attribute, truth: str, rng: np.random.Generator) -> str:
    """Return a wrong but plausible cell: for several colours, one of them is mistaken."""
    if isinstance(attribute.labels, Ordinal):
        keys = attribute.labels.keys
        at = keys.index(truth)
        return str(rng.choice([*keys[max(at - 1, 0) : at], *keys[at + 1 : at + 2]]))
    present = truth.split(SEPARATOR)
    at = int(rng.integers(len(present)))
    others = [key for key in attribute.labels.keys if key not in present]
    wrong = str(rng.choice(_CONFUSABLE.get(present[at], others)))
    mistaken = [wrong if i == at else key for i, key in enumerate(present)]
    return SEPARATOR.join(dict.fromkeys(mistaken))


def _misspell(attribute: Attribute, truth: str, rng: np.random.Generator) -> str:
    """Return `truth` with one letter of its first value lost, doubled or swapped, so that no spelling fits."""
    key, *others = truth.split(SEPARATOR)
    while True:
        at = int(rng.integers(len(key) - 1))
        slips = (key[:at] + key[at + 1 :], key[: at + 1] + key[at:], key[:at] + key[at + 1] + key[at] + key[at + 2 :])
        slip = slips[int(rng.integers(3))]
        if slip.strip("_- ") and attribute.labels.find(slip) is None:
            return SEPARATOR.join([slip, *others])
