"""Detailed garments: plain ones with everything that the first-party plugins ask, drawn so that it can be seen."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from attributree.schema import NOT_APPLICABLE, RESERVED_COLUMNS, SEPARATOR
from attributree_drawn_shop import Garment, GarmentOptions, draw_garments, garment_attributes, write_catalogue
from attributree_drawn_shop.details import add_details
from attributree_drawn_shop.paint import photograph
from attributree_drawn_shop.style import draw_style

ATTRIBUTES = {attribute.name: attribute for attribute in garment_attributes(detailed=True)}
KEPT = ("neckline", "sleeve_length", "pattern", "colour", "wash")


@pytest.fixture(scope="module")
def garments() -> list[Garment]:
    weights = {"top": 0.36, "dress": 0.36, "jeans": 0.28}
    return list(draw_garments(900, seed=4, size=64, variation=0.1, article_types=weights, detailed=True))


def test_details_leave_what_a_plain_garment_is() -> None:
    for plain, detailed in zip(draw_garments(30, seed=2), draw_garments(30, seed=2, detailed=True), strict=True):
        assert detailed.sku == plain.sku
        assert [detailed.labels[name] for name in KEPT] == [plain.labels[name] for name in KEPT]
        assert detailed.labels["dress_length"] == plain.labels["hem"]
        assert not np.array_equal(detailed.image, plain.image)


def test_the_same_seed_draws_the_same_details() -> None:
    for one, other in zip(
        draw_garments(12, seed=6, detailed=True), draw_garments(12, seed=6, detailed=True), strict=True
    ):
        assert np.array_equal(one.image, other.image)
        assert one.labels == other.labels


def test_every_value_of_every_attribute_occurs_and_no_other(garments: list[Garment]) -> None:
    for name, attribute in ATTRIBUTES.items():
        seen = {key for garment in garments for key in garment.labels[name].split(SEPARATOR)}
        assert seen - {NOT_APPLICABLE} == set(attribute.labels.keys), name


def test_an_attribute_has_a_label_where_it_applies_and_a_style_only_where_there_is_a_sleeve(
    garments: list[Garment],
) -> None:
    for garment in garments:
        for name, attribute in ATTRIBUTES.items():
            asked = attribute.applies(garment.article_type)
            if name == "sleeve_style":
                asked = asked and garment.labels["sleeve_length"] != "sleeveless"
            assert (garment.labels[name] != NOT_APPLICABLE) == asked, (name, garment.labels)


def test_a_collar_needs_a_neckline_that_has_room_for_it(garments: list[Garment]) -> None:
    collared = {garment.labels["neckline"] for garment in garments if garment.labels["collar"] != "collarless"}
    assert collared - {NOT_APPLICABLE} == {"crew", "v_neck", "scoop", "boat"}


def test_the_occasion_follows_from_the_rest_but_not_always(garments: list[Garment]) -> None:
    ripped = Counter("party" in g.labels["occasion"] for g in garments if g.labels["distress"] == "heavy")
    assert ripped[True] > 5 * ripped[False] > 0


def test_the_fit_that_a_text_names_is_true(garments: list[Garment]) -> None:
    for garment in garments:
        fit, name = ("leg", "jeans_fit") if garment.article_type == "jeans" else ("fit", "fit")
        said = f"{garment.labels[name].removesuffix('_leg')} {fit}"
        assert said in garment.description.lower()


def test_a_detailed_catalogue_has_a_column_for_each_attribute(tmp_path: Path) -> None:
    options = GarmentOptions(size=32, contradictory=0.3, misspelt=0.2, ambiguous=0.2, detailed=True)
    shop = write_catalogue(tmp_path, 60, seed=1, options=options)
    for path in (shop.products, shop.supplier):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert set(rows[0]) - RESERVED_COLUMNS == set(ATTRIBUTES)
    assert all(set(truth) == set(ATTRIBUTES) for truth in shop.truth.values())
    assert all(shop.counts[name] for name in ("hidden", "ambiguous", "contradictory", "misspelt"))


def test_each_collar_changes_what_is_seen_at_the_neck() -> None:
    style = add_details(draw_style(np.random.default_rng(5), "top"), np.random.default_rng(0))
    photos = {}
    for collar in ATTRIBUTES["collar"].labels.keys:
        sewn = replace(style, labels={**style.labels, "collar": collar})
        photos[collar] = photograph(sewn, np.random.default_rng(1), 64, variation=0.0).astype(int)
    for one, other in combinations(photos, 2):
        changed = (np.abs(photos[one] - photos[other]).max(axis=2) > 25).nonzero()[0]
        assert len(changed) > 40, (one, other)
        assert np.median(changed) < 32, (one, other)


def look(image: np.ndarray) -> np.ndarray:
    """Return what a simple eye sees: edges by direction and lightness, both on a coarse grid."""
    grey = image.mean(axis=2)
    down, right = np.gradient(grey)
    direction = np.minimum((np.arctan2(down, right) % np.pi / np.pi * 6).astype(int), 5)
    rows, columns = np.indices(grey.shape) // 4
    edges = np.zeros((16, 16, 6))
    np.add.at(edges, (rows, columns, direction), np.hypot(down, right))
    return np.concatenate([np.sqrt(edges).ravel(), grey.reshape(16, 4, 16, 4).mean(axis=(1, 3)).ravel()])


#: Collars are small; so simple an eye would need thousands of them.
SEEN = [name for name in ATTRIBUTES if name not in (*KEPT, "collar", "occasion")]


@pytest.mark.parametrize("name", SEEN)
def test_a_detail_can_be_seen(garments: list[Garment], name: str) -> None:
    shown = [garment for garment in garments if garment.labels[name] != NOT_APPLICABLE]
    labels = np.array([garment.labels[name] for garment in shown])
    features = np.stack([look(garment.image) for garment in shown])
    cut = len(shown) * 2 // 3
    commonest = Counter(labels[cut:].tolist()).most_common(1)[0][1] / len(labels[cut:])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
    score = float(model.fit(features[:cut], labels[:cut]).score(features[cut:], labels[cut:]))
    assert score > commonest + 0.12, (score, commonest)
