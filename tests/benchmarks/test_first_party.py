"""The benchmark of all first-party plugins: it installs them all, and compares with what can be compared."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from attributree.plugins import load_plugins
from attributree_drawn_shop import garment_attributes

ROOT = Path(__file__).resolve().parents[2]
#: Another trade, and what declares no attribute.
#: Distributions that declare no attribute of fashion.
OTHERS = {
    "attributree-tiles",
    "attributree-fashion-types",
    "attributree-drawn-shop",
    "attributree-label-studio",
    "attributree-weights-efficientnet-lite0",
}


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("first_party")


def test_it_installs_every_fashion_plugin_and_no_more_is_drawn_than_they_declare(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = {path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")}
    assert set(bench.DISTRIBUTIONS) == there - OTHERS
    modules = {}
    for name in bench.DISTRIBUTIONS:
        monkeypatch.syspath_prepend(str(ROOT / "plugins" / name / "src"))
        modules[name] = importlib.import_module(name.replace("-", "_"))
    assert set(load_plugins(entry_points=(), extra=modules).attributes) == set(bench.ATTRIBUTES)


def test_the_commonest_answer_is_a_set_of_values_and_not_applicable_is_none(bench: ModuleType) -> None:
    blank = dict.fromkeys((attribute.name for attribute in garment_attributes(detailed=True)), "crew")
    truth = {
        "1.png": blank | {"colour": "blue|white", "hem_length": "n/a", "fit": "slim"},
        "2.png": blank | {"colour": "white|blue", "hem_length": "hip", "fit": "slim"},
        "3.png": blank | {"colour": "blue", "hem_length": "hip", "fit": "regular"},
    }
    shares = bench.majorities(truth)
    assert shares["colour"] == pytest.approx(2 / 3)
    assert shares["hem_length"] == 1.0
    assert shares["fit"] == pytest.approx(2 / 3)
    assert "occasion" not in shares


def test_an_attribute_that_was_not_grown_is_an_error_that_names_it(bench: ModuleType) -> None:
    grown: dict[str, Any] = {"status": "rejected", "seconds": 1.0, "metrics": {}, "unchanged": None}
    results = [{"attribute": name, **grown} for name in bench.ATTRIBUTES if name != "wash"]
    truth = {"1.png": dict.fromkeys(bench.ATTRIBUTES, "crew")}
    with pytest.raises(bench.BenchmarkError, match="did not grow wash"):
        bench.collect({"results": results, "plan": []}, {"attributes": {}}, truth)


def test_a_distribution_that_is_nowhere_is_an_error(bench: ModuleType) -> None:
    commands = importlib.import_module("commands")
    with (
        pytest.raises(commands.BenchmarkError, match="attributree-nowhere is neither in"),
        commands.with_plugins(commands.Runner(), "attributree-nowhere"),
    ):
        pass
