"""The synthetic catalogue: reproducible, honest about its truth, and only answerable by looking."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attributree.schema import NOT_APPLICABLE, RESERVED_COLUMNS, SEPARATOR, MultiLabel, fold
from attributree_drawn_shop import (
    Garment,
    GarmentCatalogue,
    GarmentOptions,
    draw_garments,
    garment_attributes,
    write_catalogue,
)

ATTRIBUTES = {attribute.name: attribute for attribute in garment_attributes()}
WORN_ABOVE = {"top": 1.0, "dress": 1.0}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pixels(path: Path) -> np.ndarray:
    """Return a photo, (size, size, 3) uint8."""
    with Image.open(path) as photo:
        return np.asarray(photo)


@pytest.fixture(scope="module")
def garments() -> list[Garment]:
    return list(draw_garments(700, seed=3, size=64, article_types=WORN_ABOVE))


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> GarmentCatalogue:
    options = GarmentOptions(size=32, hidden=0.3, ambiguous=0.2, contradictory=0.1, misspelt=0.1)
    return write_catalogue(tmp_path_factory.mktemp("shop"), 400, seed=5, options=options)


# Reproducible


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
def test_same_seed_writes_the_same_bytes(tmp_path: Path, image_format: str) -> None:
    for name in ("a", "b"):
        write_catalogue(tmp_path / name, 12, seed=7, image_format=image_format)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_another_seed_draws_other_products() -> None:
    one, other = (list(draw_garments(10, seed=seed)) for seed in (0, 1))
    assert not {garment.sku for garment in one} & {garment.sku for garment in other}
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(one, other, strict=True))


def test_fewer_garments_are_a_prefix_of_more() -> None:
    few, many = list(draw_garments(5, seed=2)), list(draw_garments(9, seed=2))
    for garment, same in zip(few, many[:5], strict=True):
        assert np.array_equal(garment.image, same.image)
        assert (garment.sku, garment.labels, garment.title) == (same.sku, same.labels, same.title)


def test_a_small_catalogue_is_a_prefix_of_a_larger_one(tmp_path: Path) -> None:
    # 1, 2, 3, ... photos, so that one of the cuts falls between the two photos of a product.
    options = GarmentOptions(size=32, second_photo=0.5)
    large = write_catalogue(tmp_path / "large", 10, options=options)
    for count in range(1, 6):
        small = write_catalogue(tmp_path / str(count), count, options=options)
        for name in ("products.csv", "truth.jsonl"):
            lines = (small.folder / name).read_bytes().splitlines()
            assert lines == (large.folder / name).read_bytes().splitlines()[: len(lines)]
        for photo in small.photos.iterdir():
            assert photo.read_bytes() == (large.photos / photo.name).read_bytes()


def test_the_catalogue_photographs_the_garments_that_are_drawn(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path, 6, options=GarmentOptions(second_photo=0.0), image_format="png")
    for garment, (image, truth) in zip(draw_garments(6), catalogue.truth.items(), strict=True):
        assert truth == garment.labels
        assert np.array_equal(pixels(catalogue.photos / image), garment.image)


def test_cells_hidden_at_one_share_stay_hidden_at_a_higher_one(tmp_path: Path) -> None:
    hidden: list[set[tuple[str, str]]] = []
    for share in (0.2, 0.5):
        shop = write_catalogue(tmp_path / str(share), 60, options=GarmentOptions(size=32, hidden=share))
        rows = read_rows(shop.products)
        hidden.append({(row["image"], name) for row in rows for name in ATTRIBUTES if not row[name]})
    assert hidden[0] < hidden[1]


# Files


def test_every_photo_is_readable_and_every_row_has_one(catalogue: GarmentCatalogue) -> None:
    rows = read_rows(catalogue.products)
    assert [row["image"] for row in rows] == list(catalogue.truth)
    assert {row["image"] for row in rows} == {path.name for path in catalogue.photos.iterdir()}
    for row in rows:
        with Image.open(catalogue.photos / row["image"]) as photo:
            photo.load()
            assert (photo.size, photo.mode, photo.format) == ((32, 32), "RGB", "JPEG")


def test_columns_are_those_of_an_ingest_file(catalogue: GarmentCatalogue) -> None:
    for path in (catalogue.products, catalogue.supplier):
        columns = set(read_rows(path)[0])
        assert columns - RESERVED_COLUMNS == set(ATTRIBUTES)
        assert columns - set(ATTRIBUTES) == RESERVED_COLUMNS - {"split"}


def test_truth_file_holds_what_the_catalogue_returns(catalogue: GarmentCatalogue) -> None:
    lines = [json.loads(line) for line in catalogue.truth_file.read_text(encoding="utf-8").splitlines()]
    assert {line["image"]: line["labels"] for line in lines} == catalogue.truth


@pytest.mark.parametrize("size", [32, 48, 100, 256])
def test_garments_are_drawn_at_any_size(size: int) -> None:
    for garment in draw_garments(4, size=size):
        assert garment.image.shape == (size, size, 3)
        assert garment.image.dtype == np.uint8
        assert garment.image.std() > 5


def test_the_same_scene_is_drawn_at_every_size() -> None:
    for small, large in zip(draw_garments(6, size=64), draw_garments(6, size=128), strict=True):
        halved = large.image.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
        assert np.corrcoef(small.image.ravel(), halved.ravel())[0, 1] > 0.9


# Labels


def test_labels_parse_under_the_declared_attributes(catalogue: GarmentCatalogue) -> None:
    for truth in catalogue.truth.values():
        for name, text in truth.items():
            keys = ATTRIBUTES[name].labels.keys
            assert text == NOT_APPLICABLE or set(text.split(SEPARATOR)) <= set(keys)
            assert SEPARATOR not in text or isinstance(ATTRIBUTES[name].labels, MultiLabel)


def test_attributes_are_not_applicable_exactly_where_their_article_type_says(catalogue: GarmentCatalogue) -> None:
    for row in read_rows(catalogue.products):
        for name, attribute in ATTRIBUTES.items():
            applies = attribute.applies(row["article_type"])
            assert (catalogue.truth[row["image"]][name] != NOT_APPLICABLE) == applies
            assert applies or row[name] in ("", NOT_APPLICABLE)


def test_not_applicable_is_sometimes_written_and_sometimes_left_empty(catalogue: GarmentCatalogue) -> None:
    cells = Counter(row["neckline"] for row in read_rows(catalogue.products) if row["article_type"] == "jeans")
    assert set(cells) == {"", NOT_APPLICABLE}


def test_every_value_occurs(garments: list[Garment]) -> None:
    seen = {name: set[str]() for name in ATTRIBUTES}
    for garment in [*garments, *draw_garments(60, seed=1, size=32, article_types={"jeans": 1.0})]:
        for name, text in garment.labels.items():
            seen[name].update(text.split(SEPARATOR))
    for name, attribute in ATTRIBUTES.items():
        assert seen[name] - {NOT_APPLICABLE} == set(attribute.labels.keys)


def test_patterned_garments_have_two_colours_and_solid_ones_have_one(garments: list[Garment]) -> None:
    for garment in garments:
        colours = garment.labels["colour"].split(SEPARATOR)
        assert len(set(colours)) == len(colours) == (1 if garment.labels["pattern"] == "solid" else 2)


def test_attributes_are_independent_of_each_other(garments: list[Garment]) -> None:
    sleeves = ATTRIBUTES["sleeve_length"].labels.keys
    shares = {
        neckline: np.bincount(
            [sleeves.index(g.labels["sleeve_length"]) for g in garments if g.labels["neckline"] == neckline],
            minlength=len(sleeves),
        )
        for neckline in ATTRIBUTES["neckline"].labels.keys
    }
    for counts in shares.values():
        assert np.abs(counts / counts.sum() - 0.25).max() < 0.16


# Untidiness


def test_shares_of_hidden_ambiguous_and_contradicted_labels_are_as_asked(catalogue: GarmentCatalogue) -> None:
    counts = catalogue.counts
    assert counts["photos"] == 400
    applicable = counts["hidden"] + counts["stated"]
    assert applicable + counts["not_applicable"] == 400 * len(ATTRIBUTES)
    assert counts["hidden"] / applicable == pytest.approx(0.3, abs=0.05)
    candidates = sum(
        row[name] not in ("", NOT_APPLICABLE)
        for row in read_rows(catalogue.products)
        for name, attribute in ATTRIBUTES.items()
        if not isinstance(attribute.labels, MultiLabel)
    )
    assert counts["ambiguous"] / candidates == pytest.approx(0.2, abs=0.05)
    assert counts["contradictory"] / counts["stated"] == pytest.approx(0.1, abs=0.04)
    assert counts["misspelt"] / counts["stated"] == pytest.approx(0.1, abs=0.04)


def test_stated_cells_are_true_ambiguous_or_unknown_to_the_schema(catalogue: GarmentCatalogue) -> None:
    found: Counter[str] = Counter()
    for row in read_rows(catalogue.products):
        for name, attribute in ATTRIBUTES.items():
            cell, truth = row[name], catalogue.truth[row["image"]][name]
            if cell in ("", NOT_APPLICABLE):
                continue
            found["stated"] += 1
            parts = cell.split(SEPARATOR)
            if any(attribute.labels.find(part) is None for part in parts):
                found["misspelt"] += 1
            elif cell != truth:
                assert len(parts) == 2
                assert truth in parts
                found["ambiguous"] += 1
    assert found == {name: catalogue.counts[name] for name in ("stated", "misspelt", "ambiguous")}


def test_supplier_contradicts_what_the_shop_states(catalogue: GarmentCatalogue) -> None:
    shop = {row["image"]: row for row in read_rows(catalogue.products)}
    contradictions = 0
    for row in read_rows(catalogue.supplier):
        stated = {name: row[name] for name in ATTRIBUTES if row[name]}
        assert stated
        for name, cell in stated.items():
            assert set(cell.split(SEPARATOR)) <= set(ATTRIBUTES[name].labels.keys)
            assert shop[row["image"]][name] == catalogue.truth[row["image"]][name]
            assert set(cell.split(SEPARATOR)) != set(shop[row["image"]][name].split(SEPARATOR))
            contradictions += 1
    assert contradictions == catalogue.counts["contradictory"]


def test_ambiguous_ordinal_cells_name_neighbours(catalogue: GarmentCatalogue) -> None:
    keys = ATTRIBUTES["sleeve_length"].labels.keys
    pairs = [row["sleeve_length"].split(SEPARATOR) for row in read_rows(catalogue.products)]
    pairs = [pair for pair in pairs if len(pair) == 2 and set(pair) <= set(keys)]
    assert pairs
    assert all(keys.index(second) - keys.index(first) == 1 for first, second in pairs)


def test_two_photos_of_a_product_differ_and_share_sku_and_truth(catalogue: GarmentCatalogue) -> None:
    by_sku: dict[str, list[dict[str, str]]] = {}
    for row in read_rows(catalogue.products):
        by_sku.setdefault(row["sku"], []).append(row)
    pairs = [rows for rows in by_sku.values() if len(rows) == 2]
    assert len(by_sku) == catalogue.counts["products"]
    assert len(pairs) / len(by_sku) == pytest.approx(0.15, abs=0.06)
    for first, second in pairs:
        assert catalogue.truth[first["image"]] == catalogue.truth[second["image"]]
        assert first["title"] == second["title"]
        one, other = (pixels(catalogue.photos / row["image"]) for row in (first, second))
        assert np.abs(one.astype(int) - other).mean() > 3


def test_texts_mention_true_values_and_never_every_attribute(garments: list[Garment]) -> None:
    mentioned = 0
    for garment in garments:
        text = fold(f"{garment.title}. {garment.description}")
        silent = 0
        for name, attribute in ATTRIBUTES.items():
            if garment.labels[name] == NOT_APPLICABLE:
                continue
            said = {
                value.key
                for value in attribute.labels.values
                for spelling in value.spellings
                if re.search(rf"(?<!\w){re.escape(fold(spelling))}(?!\w)", text)
            }
            assert said in (set(), set(garment.labels[name].split(SEPARATOR))), text
            silent += not said
            mentioned += bool(said)
        assert silent, text
    assert mentioned > len(garments)


# Options


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden": 1.5}, "hidden is 1.5"),
        ({"ambiguous": 0.6, "contradictory": 0.6}, "more than all stated labels"),
        ({"size": 16}, "size is 16"),
        ({"article_types": {"sock": 1.0}}, "'sock' is none of top, dress, jeans"),
        ({"article_types": {"top": -1.0}}, "weight -1.0"),
        ({"article_types": {"top": 0.0}}, "gives no article type"),
    ],
)
def test_impossible_options_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GarmentOptions(**settings)


def test_drawing_refuses_impossible_arguments_before_the_first_garment() -> None:
    with pytest.raises(ValueError, match="size is 8"):
        draw_garments(3, size=8)


def test_an_unknown_image_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'tiff'"):
        write_catalogue(tmp_path, 1, image_format="tiff")
    assert not list(tmp_path.iterdir())


def test_options_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        GarmentOptions().size = 32  # type: ignore[misc]


def test_article_types_follow_their_weights() -> None:
    types = Counter(g.article_type for g in draw_garments(120, size=32, article_types={"jeans": 1.0, "dress": 3.0}))
    assert set(types) == {"jeans", "dress"}
    assert types["dress"] / 120 == pytest.approx(0.75, abs=0.12)


def test_all_labels_can_be_hidden(tmp_path: Path) -> None:
    catalogue = write_catalogue(tmp_path, 20, options=GarmentOptions(size=32, hidden=1.0))
    assert catalogue.counts["stated"] == 0
    assert read_rows(catalogue.supplier) == []


# Looking is needed


def score(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the accuracy on the last third of a linear classifier fitted to the first two."""
    cut = len(labels) * 2 // 3
    strength = 1.0 if features.shape[1] < 50 else 0.003
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=500))
    return float(model.fit(features[:cut], labels[:cut]).score(features[cut:], labels[cut:]))


def edge_histograms(image: np.ndarray, cells: int = 8, bins: int = 9) -> np.ndarray:
    """Return how much edge of each direction lies in each cell, (cells * cells * bins,)."""
    down, right = np.gradient(image.mean(axis=2))
    direction = np.minimum((np.arctan2(down, right) % np.pi / np.pi * bins).astype(int), bins - 1)
    rows, columns = np.indices(direction.shape) * cells // len(direction)
    histogram = np.zeros((cells, cells, bins))
    np.add.at(histogram, (rows, columns, direction), np.hypot(down, right))
    return np.sqrt(histogram.ravel() / (histogram.sum() + 1e-6))


@pytest.mark.parametrize(("name", "seen"), [("neckline", 0.29), ("sleeve_length", 0.55), ("pattern", 0.42)])
def test_shape_predicts_an_attribute_and_colour_or_one_pixel_does_not(
    garments: list[Garment], name: str, seen: float
) -> None:
    labels = np.array([garment.labels[name] for garment in garments])
    cut = len(labels) * 2 // 3
    commonest = Counter(labels[:cut]).most_common(1)[0][0]
    chance = max(float((labels[cut:] == commonest).mean()), 1 / ATTRIBUTES[name].labels.size)
    mean_colour = np.stack([garment.image.mean(axis=(0, 1)) for garment in garments])
    pixels = [np.stack([garment.image[row, 32] for garment in garments]) for row in (12, 32)]
    for blind in (mean_colour, *pixels):
        assert score(blind, labels) < chance + 0.09
    assert score(np.stack([edge_histograms(garment.image) for garment in garments]), labels) > max(seen, chance + 0.09)


def test_without_variation_photos_of_one_garment_agree_more(tmp_path: Path) -> None:
    spread = []
    for variation in (0.0, 1.0):
        options = GarmentOptions(size=32, second_photo=1.0, variation=variation)
        shop = write_catalogue(tmp_path / str(variation), 40, options=options)
        photos = np.stack([pixels(shop.photos / image) for image in shop.truth]).astype(float)
        spread.append(np.abs(photos[0::2] - photos[1::2]).mean())
    assert spread[0] < 0.8 * spread[1]


def test_the_package_leaves_torch_and_the_database_alone() -> None:
    program = "import sys, attributree_drawn_shop.garments; sys.exit(bool({'torch', 'sqlalchemy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
