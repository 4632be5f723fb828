"""What the benchmark of a real shop hides, and how it counts."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from attributree import Attribute, SingleLabel, Value

ROOT = Path(__file__).resolve().parents[2]
ROWS = [{"image": f"{n}.jpg", "sku": str(n), "gender": "Men" if n % 2 else "", "season": "Fall"} for n in range(20)]
SEASON = Attribute("season", SingleLabel((Value("fall", "Fall", synonyms=("Autumn",)), Value("winter", "Winter"))))


@pytest.fixture
def real_shop(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("real_shop")


def line(sku: str, value: str, confidence: float, decision: str = "accept") -> dict[str, object]:
    return {"sku": sku, "value": value, "confidence": confidence, "decision": decision}


def test_half_of_the_stated_cells_are_hidden_and_nothing_else(real_shop: ModuleType) -> None:
    kept, hidden = real_shop.hide(ROWS, 0.5, 0)
    assert {name: len(cells) for name, cells in hidden.items()} == {"gender": 5, "season": 10}
    for before, after in zip(ROWS, kept, strict=True):
        for name, text in before.items():
            gone = before["sku"] in hidden.get(name, {})
            assert after[name] == ("" if gone else text)
            assert not gone or hidden[name][before["sku"]] == text


def test_a_seed_always_hides_the_same_and_another_one_other_cells(real_shop: ModuleType) -> None:
    assert real_shop.hide(ROWS, 0.5, 0) == real_shop.hide(ROWS, 0.5, 0) != real_shop.hide(ROWS, 0.5, 1)


def test_cells_are_read_as_the_attribute_spells_its_values(real_shop: ModuleType) -> None:
    cells = {"1": "FALL", "2": "autumn", "3": "Spring"}
    assert real_shop.keys_of(SEASON, cells) == {"1": "fall", "2": "fall", "3": "(Spring)"}


def test_a_value_that_nobody_can_know_counts_as_wrong(real_shop: ModuleType) -> None:
    found = real_shop.measure(
        {"1": "fall", "2": "winter", "3": "(Spring)"}, dict.fromkeys("123", "fall"), ("fall", "winter")
    )
    assert (found.n, found.unknown, found.accuracy) == (3, pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert found.macro_f1 == pytest.approx((2 * 1 / (3 + 1) + 0) / 2)


def test_accepted_answers_are_counted_apart(real_shop: ModuleType) -> None:
    lines = [line("1", "fall", 0.9), line("2", "fall", 0.8), line("3", "winter", 0.4, "review"), line("9", "fall", 1.0)]
    found = real_shop.of_predictions({"1": "fall", "2": "winter", "3": "winter"}, lines, ("fall", "winter"))
    assert (found.n, found.accuracy, found.accepted) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert found.right_of_accepted == 0.5
    assert found.ece == pytest.approx((abs(0.9 - 1) + 0.8 + abs(0.4 - 1)) / 3)


@pytest.mark.parametrize("lines", [[], [line("1", "fall", 0.9, "not_applicable")]])
def test_a_hidden_cell_without_an_answer_is_an_error(real_shop: ModuleType, lines: list[dict[str, object]]) -> None:
    with pytest.raises(real_shop.BenchmarkError, match="hidden cells"):
        real_shop.of_predictions({"1": "fall"}, lines, ("fall", "winter"))


def test_confidence_that_keeps_its_word_has_no_error(real_shop: ModuleType) -> None:
    confidence, right = np.full(10, 0.8), np.arange(10) < 8
    assert real_shop.confidence_error(confidence, right) == pytest.approx(0.0)
    assert real_shop.confidence_error(np.ones(10), right) == pytest.approx(0.2)


def test_data_that_are_not_there_are_no_error(
    real_shop: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ATTRIBUTREE_DATA", raising=False)
    assert real_shop.below("shop") is None
    assert "skipped" in CliRunner().invoke(real_shop.main, [], catch_exceptions=False).output
    monkeypatch.setenv("ATTRIBUTREE_DATA", str(tmp_path))
    assert real_shop.below("shop") is None
    (tmp_path / "shop").mkdir()
    assert real_shop.below("shop") == tmp_path / "shop"
