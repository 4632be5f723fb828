"""Doubt in training labels: the arms hit the same cells, and the catalogue reads them as they are meant."""

import importlib
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel
from attributree.catalog import Catalog
from attributree.database.migrate import upgrade

ROOT = Path(__file__).resolve().parents[2]
FIT = Attribute("fit", Ordinal(("slim", "regular", "loose")))
COLLAR = Attribute("collar", SingleLabel(("none", "stand", "turned")))
COLOURS = Attribute("colours", MultiLabel(("red", "green")))
ATTRIBUTES = (FIT, COLLAR, COLOURS)
TRAIN = 200

Rows = list[dict[str, str]]


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("label_noise")


@pytest.fixture
def rows() -> Rows:
    """Of every ten rows: eight train, one val, one test; fit: eight labelled; collar: six labelled."""
    collars = ("none", "stand", "turned", "none", "stand", "turned", "", "n/a", "none|stand", "turned")
    splits = (*["train"] * 8, "val", "test")
    return [
        {
            "image": f"{i}.png",
            "split": splits[i % 10],
            "fit": FIT.labels.keys[i % 3],
            "collar": collars[i // 10 % 10],
            "colours": ("red", "red|green", "")[i % 3],
        }
        for i in range(TRAIN * 10 // 8)
    ]


def changes(before: Rows, after: Rows) -> dict[tuple[int, str], str]:
    """Return the cells of `after` that differ, by row and column."""
    pairs = enumerate(zip(before, after, strict=True))
    return {(i, name): new[name] for i, (old, new) in pairs for name in old if old[name] != new[name]}


def test_the_share_is_of_the_labelled_training_cells_of_each_attribute(noise: ModuleType, rows: Rows) -> None:
    disputed = noise.choose_cells(rows, ATTRIBUTES, share=0.25, seed=1)
    labelled = {
        attribute.name: sum(row["split"] == "train" and row[attribute.name] in attribute.labels.keys for row in rows)
        for attribute in (FIT, COLLAR)
    }
    assert Counter(cell.attribute for cell in disputed) == {n: round(0.25 * k) for n, k in labelled.items()}
    assert {rows[cell.row]["split"] for cell in disputed} == {"train"}
    for cell in disputed:
        assert cell.truth == rows[cell.row][cell.attribute] != cell.other
        assert cell.guess in (cell.truth, cell.other)
    assert len({(cell.row, cell.attribute) for cell in disputed}) == len(disputed)
    assert noise.choose_cells(rows, ATTRIBUTES, share=0) == ()


def test_every_other_value_may_contradict_and_half_of_the_guesses_are_wrong(noise: ModuleType, rows: Rows) -> None:
    disputed = noise.choose_cells(rows, (FIT,), share=1.0)
    assert len(disputed) == TRAIN
    wrong = Counter((cell.truth, cell.other) for cell in disputed)
    assert len(wrong) == 6
    assert min(wrong.values()) > 15
    assert 0.4 < sum(cell.guess == cell.truth for cell in disputed) / TRAIN < 0.6


def test_one_seed_hits_the_same_cells_whatever_attributes_are_asked_for(noise: ModuleType, rows: Rows) -> None:
    both = noise.choose_cells(rows, (FIT, COLLAR), seed=4)
    assert noise.choose_cells(rows, (COLLAR, FIT), seed=4) == (*both[40:], *both[:40])
    assert noise.choose_cells(rows, (COLLAR,), seed=4) == both[40:]
    assert noise.choose_cells(rows, (FIT, COLLAR), seed=5) != both


def test_the_arms_differ_from_the_clean_rows_in_the_disputed_cells_alone(noise: ModuleType, rows: Rows) -> None:
    before = [dict(row) for row in rows]
    disputed = noise.choose_cells(rows, ATTRIBUTES)
    assert changes(rows, noise.with_candidates(rows, disputed)) == {
        (cell.row, cell.attribute): f"{cell.truth}|{cell.other}" for cell in disputed
    }
    assert changes(rows, noise.with_guesses(rows, disputed)) == {
        (cell.row, cell.attribute): cell.other for cell in disputed if cell.guess == cell.other
    }
    said = {row["image"]: row for row in noise.contradictions(rows, disputed)}
    assert {(image, name): text for image, row in said.items() for name, text in row.items() if name != "image"} == {
        (rows[cell.row]["image"], cell.attribute): cell.other for cell in disputed
    }
    assert rows == before


def test_a_contradicted_cell_has_the_same_candidates_as_one_that_names_both(
    noise: ModuleType, rows: Rows, tmp_path: Path
) -> None:
    fashion = importlib.import_module("fashion_mnist")
    rows = rows[:60]
    for row in rows:
        Image.new("L", (8, 8)).save(tmp_path / row["image"])
    disputed = noise.choose_cells(rows, ATTRIBUTES)
    files = {"clean": rows, "candidates": noise.with_candidates(rows, disputed)}
    files["second"] = noise.contradictions(rows, disputed)
    for name, written in files.items():
        fashion.write_rows(tmp_path / f"{name}.csv", list(rows[0]), written)
    assert noise.read_rows(tmp_path / "candidates.csv") == files["candidates"]

    annotations = []
    for arm in (("candidates",), ("clean", "second")):
        url = f"sqlite:///{tmp_path}/{arm[0]}.db"
        upgrade(url)
        with Catalog.open(url) as catalog:
            for attribute in ATTRIBUTES:
                catalog.labels.declare(attribute, "test")
            for name in arm:
                catalog.labels.ingest(tmp_path / f"{name}.csv", source=name)
            sets = [catalog.labels.label_set(attribute.name) for attribute in ATTRIBUTES]
            candidates = [part.target > 0 for part in sets]  # (N, C)
            annotations.append([(a.tolist(), b.ambiguous.tolist()) for a, b in zip(candidates, sets, strict=True)])
            assert sets[0].ambiguous.sum() == sum(cell.attribute == "fit" for cell in disputed)
    assert annotations[0] == annotations[1]


def test_a_share_that_cannot_be_is_refused(noise: ModuleType, rows: Rows) -> None:
    with pytest.raises(ValueError, match="from 0 to 1, not 20"):
        noise.choose_cells(rows, ATTRIBUTES, share=20)
