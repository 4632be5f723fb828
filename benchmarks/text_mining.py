"""How right, and how complete, are labels that are read off titles and descriptions; `make bench` runs this.

    python benchmarks/text_mining.py [--products 4000] [--seeds 0,1,2] [--slips 0.03] [--denied 0.5] [--asides 0.2]

Draws garments and what a shop writes of them (`attributree_drawn_shop`), and makes it worse: other wordings that no
schema knows, sentences that deny a value or speak of other goods, spelling slips, lost hyphens, capitals and HTML.
Mines it with the garments' own schemas and compares with the truth. Written as build/bench/text_mining.json.
"""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from attributree import Attribute
from attributree.schema import NOT_APPLICABLE, SEPARATOR
from attributree.text.miner import Miner
from attributree_drawn_shop import garment_attributes
from attributree_drawn_shop.style import ARTICLE_TYPES, Style, draw_style
from attributree_drawn_shop.text import write_texts
from commands import ROOT

Pool = Mapping[str, Mapping[str, Sequence[str]]]

#: How else a shop says a value, behind "This one:" or in a sentence of its own. Some of it no schema knows.
OTHER_WORDS: Pool = {
    "neckline": {
        "crew": ("a neat crewneck", "a high, round neckline", "a classic crew-neck collar"),
        "v_neck": ("a plunging V", "a V neckline", "a deep v-neck"),
        "scoop": ("a low scoop at the front", "a generously scooped neck", "a scoop-neck front"),
        "boat": ("a wide bateau neckline", "a neckline from shoulder to shoulder", "a boat-neck cut"),
        "turtleneck": ("a cosy funnel collar", "a fold-over roll-neck", "a turtle neck"),
        "square": ("a square-cut neckline", "a squared-off neck", "a square neck at the front"),
    },
    "sleeve_length": {
        "sleeveless": ("bare arms", "no sleeves at all", "a sleeveless cut"),
        "short": ("short, fluttery sleeves", "sleeves that end above the elbow", "short sleeves"),
        "three_quarter": ("3/4-length sleeves", "sleeves to just below the elbow", "three quarter sleeves"),
        "long": ("sleeves down to the wrist", "full-length sleeves", "long, cuffed sleeves", "long sleeves"),
    },
    "pattern": {
        "solid": ("one colour throughout", "an unpatterned look", "a plain finish"),
        "striped": ("pinstripes", "fine stripes all over", "a stripe down the side", "stripy fabric"),
        "checked": ("a tartan check", "small gingham checks", "a plaid design"),
        "dotted": ("a scatter of dots", "tiny polka dots", "a spotted design"),
        "floral": ("a ditsy flower print", "blossoms all over", "a floral print"),
    },
    "hem": {
        "mini": ("a hem well above the knee", "a mini skirt part", "a thigh-length skirt"),
        "knee": ("a hem that meets the knee", "a knee-length skirt"),
        "midi": ("a hem halfway down the calf", "a midi hem", "a calf-length skirt"),
        "maxi": ("a hem that sweeps the floor", "a maxi hem", "an ankle-length skirt"),
    },
    "wash": {
        "light": ("a pale, faded look", "a bleached finish", "a light-wash denim"),
        "medium": ("a classic mid tone", "a mid wash", "a medium-wash denim"),
        "dark": ("deep indigo", "a dark rinse", "a dark-wash denim"),
        "black": ("overdyed denim", "black denim"),
    },
}
COLOURS: Mapping[str, Sequence[str]] = {
    "black": ("inky black", "jet-black", "noir"),
    "white": ("optic white", "ivory", "off-white"),
    "grey": ("grey marl", "charcoal", "gray"),
    "red": ("a warm red", "crimson", "scarlet"),
    "blue": ("navy blue", "cobalt", "sky blue"),
    "green": ("bottle green", "emerald", "olive"),
    "yellow": ("mustard yellow", "lemon", "buttercup"),
    "pink": ("hot pink", "blush", "rose"),
    "brown": ("chocolate brown", "tan", "brown"),
}
#: A value as a noun ("no ..."), and as an adjective ("not ...").
NOUNS: Pool = {
    "neckline": {
        "crew": ("crew neck", "round neck"),
        "v_neck": ("V-neck", "vee neck"),
        "scoop": ("scoop neck",),
        "boat": ("boat neck",),
        "turtleneck": ("turtleneck", "roll neck", "polo neck"),
        "square": ("square neckline",),
    },
    "sleeve_length": {
        "sleeveless": ("sleeveless cut",),
        "short": ("short sleeves",),
        "three_quarter": ("3/4 sleeves", "three-quarter sleeves"),
        "long": ("long sleeves", "full sleeves"),
    },
    "pattern": {
        "solid": ("plain fabric",),
        "striped": ("stripes",),
        "checked": ("checks", "gingham", "plaid"),
        "dotted": ("polka dots",),
        "floral": ("flower print", "florals"),
    },
    "hem": {
        "mini": ("mini length",),
        "knee": ("knee length",),
        "midi": ("midi length",),
        "maxi": ("maxi length",),
    },
    "wash": {"light": ("light wash",), "medium": ("mid wash",), "dark": ("dark wash",), "black": ("black wash",)},
    "colour": {key: (key,) for key in COLOURS},
}
ADJECTIVES: Pool = {
    **NOUNS,
    "sleeve_length": {
        "sleeveless": ("sleeveless",),
        "short": ("short-sleeved",),
        "three_quarter": ("three-quarter sleeved",),
        "long": ("long-sleeved",),
    },
    "pattern": {
        "solid": ("plain", "solid"),
        "striped": ("striped", "stripy"),
        "checked": ("checked", "plaid"),
        "dotted": ("spotted", "dotted"),
        "floral": ("floral", "flowery"),
    },
    "hem": {"mini": ("mini",), "knee": ("knee-length",), "midi": ("midi",), "maxi": ("maxi",)},
}
#: What is said of a value that the garment does not have: {n} and {m} are nouns, {a} and {b} adjectives.
DENIALS = (
    "No {n}.",
    "No {n} and no {m}.",
    "Without {n}.",
    "Without {n} or {m}, just good fabric.",
    "Comes without the usual {n}.",
    "There is no {n} here.",
    "Does not have a {n}.",
    "Doesn't need {n}.",
    "Not {a}.",
    "It is not {a}!",
    "It isn't {a}, and it isn't {b}.",
    "Neither {a} nor {b}.",
    "Never {a}.",
    "Please note: this is not the {a} version.",
    "Anything but {a}.",
    "Non-{a}.",
    "{a}? No.",
    "Free of {n}.",
    "A style with no trace of {n}.",
    "No zip, {n} or pockets.",
    "Made for those who don't like {n}.",
    "Rather than {n} we chose simplicity.",
    "More than just another {a} piece.",
    "You won't find any {n} on this one.",
    "We left out the {n}.",
    "This piece skips the {n}.",
    "Not your average {a} piece.",
    "Definitely not {a}.",
    "Say goodbye to {n}.",
    "Zero {n}, all comfort.",
    "With neither {n} nor {m}.",
    "Nothing {a} about it.",
    "{n}: none.",
    "Has no visible {n}.",
    "Can't stand {n}? This is for you.",
    "Far from {a}.",
    "Hardly {a}.",
    "It's not a {a} one, as an earlier listing said.",
    "Minus the {n}.",
    "Skips {n}, {m} and all that.",
    "We don't do {n}.",
    "Cut with no {n} whatsoever.",
    "Not {a}, not {b}, simply good.",
)
ASIDES = (
    "Also available in {a}.",
    "Also comes in {a} and {b}.",
    "Available with {n} as well.",
    "Pairs well with {a} pieces.",
    "Wear it over a {a} layer.",
    "Team it with our {a} range.",
    "Looks great next to anything {a}.",
    "Looking for {n}? See our other styles.",
    "Unlike our {a} version.",
    "Our model wears a size S and {a} shoes.",
    "Customers also bought: {a} socks.",
    "Shop all {a} pieces.",
    "The matching {a} version is sold separately.",
    "Goes with everything, even {a} shoes.",
    "See also: {a} styles.",
    "Photographed with a {a} scarf.",
    "Complete the look with {a} accessories.",
    "Other colours and cuts: {a}, {b}.",
    "Worn here with {a} leggings.",
)
#: The same in other words, written when the miner was done; it has not been changed after a look at them.
HELD_OUT_DENIALS = (
    "There's not a hint of {n} in sight.",
    "Gone are the {n} of last season.",
    "Refuses to be {a}.",
    "No more {n}.",
    "You asked for it without {n}, here it is.",
    "Isn't it time for something other than {n}?",
    "Ditches {n} for comfort.",
    "No {a} fabric was used.",
    "Some call it {a}, it is not.",
    "Don't expect {n}.",
    "Not in {a}, sorry.",
    "We dropped the {n} this year.",
    "Doesn't come with {n}.",
    "None of the {n} you may know.",
    "The opposite of {a}.",
    "Never with {n}, always comfortable.",
    "Neither {n} nor zip.",
    "Sans {n}.",
    "{n} are nowhere to be found.",
    "It has no {n} and needs none.",
)
HELD_OUT_ASIDES = (
    "You may also like our {a} range.",
    "Ideal under a {a} blazer.",
    "Add a {a} belt to finish the outfit.",
    "Pairs beautifully with {a} sandals.",
    "Comes with a detachable {a} bag.",
    "Available online in {a}.",
    "Matches our {a} set.",
    "Perfect with {a} trousers.",
)
#: Sentences that deny and sentences on other goods, by the name of the set.
SETS = {"known": (DENIALS, ASIDES), "held out": (HELD_OUT_DENIALS, HELD_OUT_ASIDES)}
NEIGHBOURS = "qwertyuiop asdfghjkl zxcvbnm"


@dataclass(frozen=True)
class Product:
    """A garment, its text, the attributes that the text tells of, and the sentence that may mislead."""

    style: Style
    title: str
    description: str
    told: frozenset[str]
    misleading: str


@dataclass(frozen=True)
class Noise:
    """Shares: of words with a slip, of products with a denial, of products with an aside, of those told otherwise."""

    slips: float
    denied: float
    asides: float
    reworded: float


class Shop:
    """Writes products, each from its own seed."""

    def __init__(self, seed: int, noise: Noise, sentences: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.noise = noise
        self.denials, self.asides = SETS[sentences]

    def products(self, count: int) -> Iterator[Product]:
        """Yield products, two tops and two dresses for each pair of jeans."""
        for _ in range(count):
            article_type = str(self.rng.choice(ARTICLE_TYPES, p=(0.4, 0.4, 0.2)))
            yield self._product(draw_style(self.rng, article_type))

    def _product(self, style: Style) -> Product:
        texts = write_texts(style, self.rng)
        told, sentences, misleading = set(texts.told), [texts.description], []
        if self._luck(self.noise.reworded):
            name, words = self._other_words(style)
            told.add(name)
            sentences.append(self._one_of((f"You get {words}.", f"With {words}.", f"Details: {words}")))
        for share, templates in ((self.noise.denied, self.denials), (self.noise.asides, self.asides)):
            if self._luck(share):
                misleading.append(self._mislead(style, self._one_of(templates)))
        sentences += misleading
        order = self.rng.permutation(len(sentences))
        glue = self._one_of((" ", " ", "\n", "<br>", "</p><p>"))
        body = glue.join(self._mark_up(sentences[i], html="<" in glue) for i in order)
        title = texts.title
        if self._luck(0.1):
            title = title.upper()
        if misleading and self._luck(0.15):
            title = f"{title} - {misleading[0].rstrip('.').lower()}"
        return Product(style, self._misspell(title), self._misspell(body), frozenset(told), " / ".join(misleading))

    def _other_words(self, style: Style) -> tuple[str, str]:
        names = [name for name in (*OTHER_WORDS, "colour") if style.labels[name] != NOT_APPLICABLE]
        name = self._one_of(names)
        keys = style.labels[name].split(SEPARATOR)
        return name, " and ".join(
            self._one_of((COLOURS if name == "colour" else OTHER_WORDS[name])[key]) for key in keys
        )

    def _mislead(self, style: Style, template: str) -> str:
        names = [name for name in NOUNS if style.labels[name] != NOT_APPLICABLE]
        name = self._one_of(names)
        wrong = [key for key in NOUNS[name] if key not in style.labels[name].split(SEPARATOR)]
        first, second = (wrong[int(i)] for i in self.rng.permutation(len(wrong))[:2])
        text = template.format(
            n=self._one_of(NOUNS[name][first]),
            m=self._one_of(NOUNS[name][second]),
            a=self._one_of(ADJECTIVES[name][first]),
            b=self._one_of(ADJECTIVES[name][second]),
        )
        return text[0].upper() + text[1:]

    def _mark_up(self, sentence: str, *, html: bool) -> str:
        words = sentence.split(" ")
        if html and len(words) > 2 and self._luck(0.3):
            i = int(self.rng.integers(len(words)))
            words[i] = f"<b>{words[i]}</b>"
        return ("&nbsp;" if html and self._luck(0.1) else " ").join(words)

    def _misspell(self, text: str) -> str:
        if self._luck(0.1):
            text = text.replace("-", self._one_of((" ", "", "\u2011")))
        return " ".join(self._slip(word) if self._luck(self.noise.slips) else word for word in text.split(" "))

    def _slip(self, word: str) -> str:
        at = [i for i, letter in enumerate(word) if letter.isalpha()][1:]
        if len(at) < 3 or "<" in word or "&" in word:
            return word
        i = self._one_of(at)
        kind = int(self.rng.integers(4))
        if kind == 0:
            return word[:i] + word[i + 1 :]
        if kind == 1:
            return word[:i] + word[i] + word[i:]
        if kind == 2:
            return word[: i - 1] + word[i] + word[i - 1] + word[i + 1 :]
        near = NEIGHBOURS.find(word[i].lower())
        return word[:i] + NEIGHBOURS[near - 1].replace(" ", "x") + word[i + 1 :]

    def _luck(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def _one_of(self, options: Sequence[Any]) -> Any:
        return options[int(self.rng.integers(len(options)))]


def judge(
    attributes: Sequence[Attribute], products: Sequence[Product]
) -> tuple[dict[str, Counter[str]], list[Any], float]:
    """Mine the products; return counts by attribute, what was wrong, and the seconds that mining took."""
    miner = Miner(attributes)
    start = time.perf_counter()
    found = [miner.mine(p.style.article_type, p.title, p.description) for p in products]
    seconds = time.perf_counter() - start
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    wrong = []
    for product, mined in zip(products, found, strict=True):
        for attribute in attributes:
            name, truth = attribute.name, set(product.style.labels[attribute.name].split(SEPARATOR))
            if truth == {NOT_APPLICABLE}:
                continue
            keys, count = set(mined.get(name, ())), counts[name]
            doubtful = attribute.labels.kind != "multi" and len(keys) > 1
            count["mined"] += len(keys)
            count["right"] += len(keys & truth)
            count["candidates"] += doubtful
            count["labels"] += 0 if doubtful else len(keys)
            count["labels right"] += 0 if doubtful else len(keys & truth)
            count["true"] += len(truth)
            if name in product.told:
                count["told"] += len(truth)
                count["told right"] += len(keys & truth)
            if keys - truth:
                where = {"title": product.title, "description": product.description, "misleading": product.misleading}
                wrong.append({"attribute": name, "mined": sorted(keys), "truth": sorted(truth), **where})
    return counts, wrong, seconds


def scores(count: Mapping[str, int]) -> dict[str, float | int]:
    """Return precision and recall: `precision` of every value mined, `label_precision` of those without rivals."""
    return {
        "mined": count["mined"],
        "precision": count["right"] / max(1, count["mined"]),
        "candidates": count["candidates"],
        "label_precision": count["labels right"] / max(1, count["labels"]),
        "recall_of_told": count["told right"] / max(1, count["told"]),
        "recall_of_all": count["right"] / max(1, count["true"]),
    }


def measure(sentences: str, products: int, seeds: Sequence[int], noise: Noise) -> tuple[dict[str, Any], list[Any]]:
    """Return the scores over all seeds with one set of misleading sentences, and every mistake."""
    attributes = garment_attributes()
    total: dict[str, Counter[str]] = defaultdict(Counter)
    by_seed: dict[int, Any] = {}
    wrong: list[Any] = []
    seconds = 0.0
    for seed in seeds:
        counts, mistakes, took = judge(attributes, list(Shop(seed, noise, sentences).products(products)))
        for name, count in counts.items():
            total[name] += count
        by_seed[seed] = scores(sum(counts.values(), Counter()))
        wrong += mistakes
        seconds += took
    report = {
        "overall": scores(sum(total.values(), Counter())),
        "attributes": {name: scores(count) for name, count in sorted(total.items())},
        "seeds": by_seed,
        "products_a_second": products * len(seeds) / seconds,
    }
    return report, wrong


@click.command()
@click.option("--products", default=4000, show_default=True, help="Products a seed.")
@click.option("--seeds", default="0,1,2", show_default=True, help="Seeds, separated by commas.")
@click.option("--slips", default=0.03, show_default=True, help="Share of words with a spelling slip.")
@click.option("--denied", default=0.5, show_default=True, help="Share of products with a denied value.")
@click.option("--asides", default=0.2, show_default=True, help="Share of products with a sentence on other goods.")
@click.option("--reworded", default=0.4, show_default=True, help="Share of products with a value in other words.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build/bench", help="Folder to write."
)
def main(products: int, seeds: str, slips: float, denied: float, asides: float, reworded: float, out: Path) -> None:
    """Measure precision and recall of mined labels."""
    noise = Noise(slips, denied, asides, reworded)
    measured, mistakes = {}, {}
    for name in SETS:
        measured[name], mistakes[name] = measure(name, products, [int(seed) for seed in seeds.split(",")], noise)
    report = {"parameters": {"products": products, "seeds": seeds, **noise.__dict__}, "sentences": measured}
    print(json.dumps(report, indent=2))
    out.mkdir(parents=True, exist_ok=True)
    (out / "text_mining.json").write_text(
        json.dumps(report | {"mistakes": mistakes}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
