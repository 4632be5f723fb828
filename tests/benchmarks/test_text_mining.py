"""The benchmark of mining: its texts are as misleading as it says, and the miner keeps its precision on them."""

import importlib
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from attributree.schema import SEPARATOR
from attributree.text.miner import Miner
from attributree_drawn_shop import garment_attributes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("text_mining")


def test_precision_with_slips_and_denials_is_at_least_98_percent(bench: ModuleType, tmp_path: Path) -> None:
    options = ["--products", "1000", "--seeds", "7", "--out", str(tmp_path)]
    outcome = CliRunner().invoke(bench.main, options, catch_exceptions=False)
    printed = json.loads(outcome.output)
    known = printed["sentences"]["known"]
    assert known["overall"]["mined"] > 1500
    assert known["overall"]["precision"] >= 0.98
    assert known["overall"]["recall_of_told"] >= 0.85
    assert known["attributes"].keys() == {attribute.name for attribute in garment_attributes()}
    assert printed["sentences"]["held out"]["overall"]["precision"] < known["overall"]["precision"]
    written = json.loads((tmp_path / "text_mining.json").read_text(encoding="utf-8"))
    assert written.pop("mistakes").keys() == {"known", "held out"}
    assert written == printed


def test_without_noise_every_mined_value_is_true(bench: ModuleType) -> None:
    shop = bench.Shop(3, bench.Noise(slips=0, denied=0, asides=0, reworded=0), "known")
    counts, wrong, _ = bench.judge(garment_attributes(), list(shop.products(300)))
    assert wrong == []
    assert sum(counts.values(), Counter())["right"] > 400


def test_misleading_sentences_name_values_that_are_not_there(bench: ModuleType) -> None:
    shop = bench.Shop(3, bench.Noise(slips=0, denied=1, asides=0, reworded=0), "known")
    plain = Miner(garment_attributes())
    for product in shop.products(100):
        named = plain.mine(product.style.article_type, product.misleading.split(" ", 1)[-1])
        for name, keys in named.items():
            assert set(keys).isdisjoint(product.style.labels[name].split(SEPARATOR)), product.misleading


def test_every_value_has_a_noun_and_an_adjective_to_mislead_with(bench: ModuleType) -> None:
    for attribute in garment_attributes():
        keys = set(attribute.labels.keys)
        assert bench.NOUNS[attribute.name].keys() == bench.ADJECTIVES[attribute.name].keys() == keys
        words = bench.COLOURS if attribute.name == "colour" else bench.OTHER_WORDS[attribute.name]
        assert words.keys() == keys
