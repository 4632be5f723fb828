"""Titles and descriptions of synthetic garments, in a shop's words.

A text never mentions every attribute of its garment, and what it does mention is true and complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from attributree.schema import NOT_APPLICABLE, SEPARATOR

from .style import Style

_Words = Mapping[str, tuple[tuple[str, ...], str]]

_HEMS: _Words = {
    "mini": (("mini",), "mini length"),
    "knee": (("knee length",), "knee length"),
    "midi": (("midi", "calf length"), "midi length"),
    "maxi": (("maxi", "ankle length"), "maxi length"),
}
#: How a title says each value (the words stand before the noun), and how a sentence does.
_WORDS: Mapping[str, _Words] = {
    "neckline": {
        "crew": (("crew neck", "round neck"), "a round neck"),
        "v_neck": (("V-neck", "vee neck"), "a V-neck"),
        "scoop": (("scoop neck", "scoop"), "a scooped neckline"),
        "boat": (("boat neck", "bateau", "slash neck"), "a boat neck"),
        "turtleneck": (("turtleneck", "roll neck", "polo neck"), "a roll neck"),
        "square": (("square neck",), "a square neckline"),
    },
    "sleeve_length": {
        "sleeveless": (("sleeveless",), "no sleeves"),
        "short": (("short sleeve", "short sleeved"), "short sleeves"),
        "three_quarter": (("3/4 sleeve", "three-quarter sleeve"), "three-quarter sleeves"),
        "long": (("long sleeve", "long sleeved"), "long sleeves"),
    },
    "pattern": {
        "solid": (("plain", "plain", "solid"), "a plain"),
        "striped": (("striped", "stripy"), "a striped"),
        "checked": (("checked", "gingham", "plaid"), "a checked"),
        "dotted": (("polka dot", "spotted", "dotted"), "a polka dot"),
        "floral": (("floral", "flowery"), "a floral"),
    },
    "colour": {
        "black": (("black", "black", "jet black"), "black"),
        "white": (("white", "white", "ivory"), "white"),
        "grey": (("grey", "grey", "gray"), "grey"),
        "red": (("red", "red", "scarlet"), "red"),
        "blue": (("blue", "blue", "cobalt"), "blue"),
        "green": (("green", "green", "emerald"), "green"),
        "yellow": (("yellow", "yellow", "lemon"), "yellow"),
        "pink": (("pink", "pink", "blush"), "pink"),
        "brown": (("brown", "brown", "chocolate"), "brown"),
    },
    "hem": _HEMS,
    "dress_length": _HEMS,
    "wash": {
        "light": (("light wash", "bleached"), "a light wash"),
        "medium": (("medium wash", "mid wash"), "a medium wash"),
        "dark": (("dark wash", "rinse wash"), "a dark wash"),
        "black": (("black wash",), "a black wash"),
    },
}
#: The order of adjectives in a title.
_ORDER = ("colour", "wash", "pattern", "neckline", "sleeve_length", "hem", "dress_length")
_SENTENCES = {
    "neckline": ("Finished with {}.", "It has {}."),
    "sleeve_length": ("Comes with {}.", "Made with {}."),
    "pattern": ("Cut from {} fabric.", "Made in {} weave."),
    "colour": ("The photo shows it in {}.", "Yours in {}."),
    "hem": ("It is cut to {}.", "The skirt is {}."),
    "dress_length": ("It is cut to {}.", "The skirt is {}."),
    "wash": ("Finished in {}.", "Dyed to {}."),
}
_NOUNS = {"top": ("top", "tee", "jersey top", "blouse"), "dress": ("dress", "jersey dress"), "jeans": ("jeans",)}
_MATERIALS = {
    "top": ("organic cotton", "linen blend", "viscose jersey", "ribbed cotton"),
    "dress": ("organic cotton", "linen blend", "viscose jersey", "crinkled crepe"),
    "jeans": ("stretch denim", "rigid denim", "recycled cotton"),
}
_CLOSINGS = ("A wardrobe favourite.", "Easy to wear with anything.", "New this season.", "Iron on the reverse.", "")


@dataclass(frozen=True)
class Texts:
    """What a shop writes of a garment, and which attributes it `told`."""

    title: str
    description: str
    told: frozenset[str]


def write_texts(style: Style, rng: np.random.Generator) -> Texts:
    """Return title and description of a garment; together they leave at least one attribute unmentioned."""
    told = [name for name in _ORDER if style.labels.get(name, NOT_APPLICABLE) != NOT_APPLICABLE]
    mentions = [told[int(i)] for i in rng.permutation(len(told))][: len(told) - 1]
    in_title = mentions[: int(rng.choice((0, 1, 2), p=(0.12, 0.48, 0.40)))]
    in_body = mentions[len(in_title) :][: int(rng.choice((0, 1, 2), p=(0.35, 0.45, 0.20)))]

    words = [_title_words(name, style.labels[name], rng) for name in _ORDER if name in in_title]
    if rng.random() < 0.3:
        words.append(style.fit)
    title = " ".join([*words, _one_of(_NOUNS[style.article_type], rng)])
    sentences = [f"{style.fit} in {_one_of(_MATERIALS[style.article_type], rng)}.".capitalize()]
    sentences += [_one_of(_SENTENCES[name], rng).format(_noun(name, style.labels[name])) for name in in_body]
    sentences.append(_one_of(_CLOSINGS, rng))
    return Texts(title[0].upper() + title[1:], " ".join(sentences).strip(), frozenset((*in_title, *in_body)))


def _title_words(name: str, label: str, rng: np.random.Generator) -> str:
    return " and ".join(_one_of(_WORDS[name][key][0], rng) for key in label.split(SEPARATOR))


def _noun(name: str, label: str) -> str:
    return " and ".join(_WORDS[name][key][1] for key in label.split(SEPARATOR))


def _one_of(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
