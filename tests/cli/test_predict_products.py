"""predict --by-product and evaluate --by-product, as they are typed."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from attributree.errors import UnknownNameError
from attributree.inference.predict import UNMAPPED_TYPE
from support.projects import Project

KEYS = {"sku", "attribute", "value", "confidence", "decision", "image", "pictures", "version"}


def regroup(project: Project, rows: list[dict[str, str]], size: int = 3, **changes: str) -> list[list[str]]:
    """Make products P0, P1, ... of the pictures of `rows`, `size` each, and return their images."""
    groups = [[row["image"] for row in rows[i : i + size]] for i in range(0, len(rows), size)]
    new = [{"image": image, "sku": f"P{i}", **changes} for i, group in enumerate(groups) for image in group]
    assert project.run("ingest", project.labels(new, "regrouped.csv"), "--images", project.photos).code == 0
    return groups


def rows_of(project: Project, article_type: str, **labels: str) -> list[dict[str, str]]:
    rows = [row for row in project.garments.rows if row["article_type"] == article_type]
    return [row for row in rows if all(row[name] == label for name, label in labels.items())]


def by_picture(project: Project, images: list[str], attribute: str) -> dict[str, dict[str, Any]]:
    lines = project.run("predict", *(project.photos / image for image in images), "--attribute", attribute).lines
    return {Path(line["image"]).name: line for line in lines}


def test_a_line_a_product_and_attribute_names_the_picture_that_shows_it(grown: Project) -> None:
    groups = regroup(grown, rows_of(grown, "top")[:6])
    outcome = grown.run("predict", "--by-product", "P1", "P0")
    assert outcome.code == 0
    assert [(line["sku"], line["attribute"]) for line in outcome.lines] == [
        (sku, name) for sku in ("P1", "P0") for name in ("garment", "sleeves")
    ]
    for line in outcome.lines:
        assert line.keys() - {"reason", "contradiction"} == KEYS
        group = groups[int(line["sku"][1])]
        assert line["pictures"] == 3
        assert line["image"] in group
        alone = by_picture(grown, group, line["attribute"])
        if "contradiction" not in line:
            best = max(alone.values(), key=lambda p: (p["value"] == line["value"], p["confidence"]))
            assert line["image"] == Path(best["image"]).name
    with grown.open() as workspace:
        told = [p.to_json() for p in workspace.predict_products(["P1", "P0"])]
        assert told == outcome.lines
        with pytest.raises(UnknownNameError, match="product 'P9' is not in the catalogue"):
            workspace.predict_products(["P1", "P9"])


def test_a_product_with_one_picture_is_answered_as_its_picture(grown: Project) -> None:
    row = rows_of(grown, "dress")[0]
    (product,) = grown.run("predict", "--by-product", row["sku"], "--attribute", "sleeves").lines
    alone = by_picture(grown, [row["image"]], "sleeves")[row["image"]]
    same = ("sku", "attribute", "value", "confidence", "decision", "version")
    assert [product[key] for key in same] == [alone[key] for key in same]
    assert (product["image"], product["pictures"]) == (row["image"], 1)


def test_pictures_that_are_sure_of_different_answers_go_to_review_and_are_named(project: Project) -> None:
    grown = project
    grown.settings(training={"epochs": 20})
    assert grown.run("sync-catalog", "--only", "garment").code == 0
    rows = [*rows_of(grown, "jeans"), *rows_of(grown, "top")]
    alone = by_picture(grown, [row["image"] for row in rows], "garment")
    by_confidence = sorted(alone, key=lambda image: alone[image]["confidence"])
    sure = {alone[i]["value"]: i for i in by_confidence if alone[i]["decision"] == "accept"}  # the surest of each
    images = list(sure.values())[-2:]
    assert all(alone[image]["confidence"] > 0.6 for image in images)  # the target precision
    regroup(grown, [row for row in rows if row["image"] in images])
    (line,) = grown.run("predict", "--by-product", "P0", "--attribute", "garment").lines
    assert line["decision"] == "review"
    assert {w["image"]: w["value"] for w in line["contradiction"]} == {i: alone[i]["value"] for i in images}
    first, second = line["contradiction"]
    assert line["image"] == first["image"]
    shows = f"{first['image']} shows {first['value']}, {second['image']} shows {second['value']}"
    assert line["reason"] == shows


def test_a_picture_in_quarantine_or_away_does_not_spoil_its_product(grown: Project) -> None:
    grown.own_photos()
    rows = [dict(row, sku=f"P{i // 3}", split="test") for i, row in enumerate(rows_of(grown, "top")[:6])]
    bad, away = rows[0]["image"], rows[5]["image"]
    (grown.photos / bad).write_text("<html>not found</html>")
    assert grown.run("ingest", grown.labels(rows, "again.csv"), "--images", grown.photos).code == 0
    (grown.photos / away).unlink()
    grown.settings(catalog={"cache": "cold"})
    outcome = grown.run("predict", "--by-product", "P0", "P1", "--attribute", "garment")
    assert outcome.code == 0
    first, second = outcome.lines
    assert [(line["pictures"], line["value"] is not None) for line in outcome.lines] == [(2, True), (2, True)]
    assert first["unread"][0]["image"] == bad
    assert first["unread"][0]["reason"].startswith("not an image in one of JPEG")
    assert [unread["image"] for unread in second["unread"]] == [away]


def test_a_product_without_a_picture_that_can_be_read_is_an_error_in_its_place(grown: Project) -> None:
    grown.own_photos()
    rows = [dict(row, sku=f"P{i}") for i, row in enumerate(rows_of(grown, "top")[:2])]
    (grown.photos / rows[0]["image"]).write_text("no picture")
    assert grown.run("ingest", grown.labels(rows, "again.csv"), "--images", grown.photos).code == 0
    command = ("predict", "--by-product", rows[0]["sku"], rows[1]["sku"], "--attribute", "garment")
    outcome = grown.run(*command)
    bad, good = outcome.lines
    assert (bad["decision"], bad["value"], bad["image"], bad["pictures"]) == ("error", None, None, 0)
    assert bad["reason"] == "no picture of it can be looked at"
    assert good["decision"] in ("accept", "review")
    assert grown.run("--strict", *command).code == 3


def test_what_does_not_apply_is_not_pooled(grown: Project) -> None:
    jeans = rows_of(grown, "jeans")[0]["sku"]
    (line,) = grown.run("predict", "--by-product", jeans, "--attribute", "sleeves").lines
    assert (line["decision"], line["value"], line["confidence"], line["image"]) == ("not_applicable", None, None, None)
    ((detail, *others),) = regroup(grown, rows_of(grown, "top")[:3])
    said = grown.labels([{"image": detail, "sleeves": "n/a"}], "detail.csv")
    assert grown.run("ingest", said, "--images", grown.photos).code == 0
    (line,) = grown.run("predict", "--by-product", "P0", "--attribute", "sleeves").lines
    assert line["pictures"] == 2
    assert line["image"] in others


def test_missing_fills_the_gaps_of_products_and_stores_them(grown: Project) -> None:
    bare, unknown = rows_of(grown, "top", sleeves="bare"), rows_of(grown, "top", sleeves="")
    covered = rows_of(grown, "top", sleeves="covered")
    regroup(
        grown,
        [
            *(bare[0], unknown[0], unknown[1]),  # P0: one picture says it
            *(bare[1], covered[1], unknown[2]),  # P1: two pictures disagree
            *(unknown[3], unknown[4], unknown[5]),  # P2: no picture says it
        ],
    )
    outcome = grown.run("predict", "--missing", "--by-product", "--attribute", "sleeves")
    skus = {line["sku"] for line in outcome.lines}
    assert skus >= {"P1", "P2"}
    assert "P0" not in skus
    said = Counter(line["decision"] for line in outcome.lines)
    counts = ", ".join(f"{n} {decision}" for decision, n in sorted(said.items()))
    assert outcome.err == f"{len(outcome.lines)} gaps of products: {counts}\n"
    again = grown.run("predict", "--missing", "--by-product", "--attribute", "sleeves")
    assert again.lines == outcome.lines
    with grown.open() as workspace:
        images = {image.id: image for image in workspace.labels.images()}
        stored = {images[p.image_id].sku: p for p in workspace.registry.product_predictions("sleeves")}
    told = {line["sku"]: (line["value"], line["decision"], line["image"], line["pictures"]) for line in outcome.lines}
    assert told == {
        sku: ("|".join(p.values), p.decision, images[p.image_id].path, p.pictures) for sku, p in stored.items()
    }


def test_a_multi_label_attribute_names_the_picture_of_each_value(grown: Project) -> None:
    grown.plugin("tone", kind="MultiLabel")
    assert grown.run("sync-catalog", "--json").json["results"][0]["status"] == "promoted"
    groups = regroup(grown, rows_of(grown, "top")[:3])
    (line,) = grown.run("predict", "--by-product", "P0", "--attribute", "tone").lines
    assert line.keys() - {"reason", "contradiction"} == KEYS | {"values", "shown_by"}
    assert list(line["shown_by"]) == line["values"]
    assert set(line["shown_by"].values()) <= set(groups[0])


def test_evaluate_scores_products_beside_pictures(grown: Project) -> None:
    document = grown.run("evaluate", "--json").json
    rows = [row for row in grown.garments.rows if row["split"] == "test" and row["garment"] == "top"]
    regroup(grown, rows, split="test")
    both = grown.run("evaluate", "--by-product", "--json").json
    assert {name: both[name] for name in document} == document  # by picture, as ever
    garment = both["products"]["garment"]
    assert garment.keys() == document["attributes"]["garment"].keys() | {"pictures"}
    singles = 40 - len(rows)
    products = singles + -(-len(rows) // 3)
    assert garment["n"] == products
    assert garment["pictures"] == pytest.approx(40 / products, abs=0.01)
    shown = grown.run("evaluate", "--by-product")
    assert "on the test split, by picture" in shown.out
    assert "on the test split, by product" in shown.out
    alone = grown.run("evaluate", "--by-product", "--attribute", "sleeves", "--json").json
    assert list(alone["products"]) == ["sleeves"]


def test_products_with_one_picture_each_score_as_their_pictures(grown: Project) -> None:
    document = grown.run("evaluate", "--by-product", "--json").json
    for name, scores in document["attributes"].items():
        assert document["products"][name] == scores | {"pictures": 1.0}


@pytest.mark.parametrize(
    "arguments", [(), ("P0", "--missing"), ("P0", "--article-type", "top"), ("P0", "--sheet", "x.png")]
)
def test_what_to_predict_by_product_must_be_said_once(grown: Project, arguments: tuple[str, ...]) -> None:
    assert grown.run("predict", "--by-product", *arguments).code == 2


def test_an_unknown_product_is_one_line_before_anything_is_answered(grown: Project) -> None:
    outcome = grown.run("predict", "--by-product", grown.garments.rows[0]["sku"], "nowhere")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: product 'nowhere' is not in the catalogue; the sku is the image's path")


def test_what_was_predicted_of_products_is_exported_beside_their_gaps(grown: Project) -> None:
    unknown = rows_of(grown, "top", sleeves="")
    regroup(grown, unknown[:3])
    (line,) = [
        line
        for line in grown.run("predict", "--missing", "--by-product", "--attribute", "sleeves").lines
        if line["sku"] == "P0"
    ]
    outcome = grown.run("export", "-", "--by-product", "--predictions", "--format", "jsonl", "--attribute", "sleeves")
    (row,) = [row for row in outcome.lines if row["sku"] == "P0"]
    assert row["sleeves::state"] == "unknown"
    told = {key: row[f"sleeves::{word}"] for key, word in (("value", "predicted"), ("decision", "decision"))}
    assert told == {key: line[key] for key in told}
    assert row["sleeves::image"] == line["image"]
    assert grown.run("export", "x.csv", "--by-product", "--observations").code == 2


def test_a_product_of_an_unmapped_type_is_answered_for_review_and_is_no_gap(grown: Project) -> None:
    regroup(grown, rows_of(grown, "top", sleeves="")[:3], article_type="thing")
    (line,) = grown.run("predict", "--by-product", "P0", "--attribute", "sleeves").lines
    assert (line["decision"], line["reason"]) == ("review", UNMAPPED_TYPE)
    gaps = grown.run("predict", "--missing", "--by-product", "--attribute", "sleeves")
    assert "P0" not in {each["sku"] for each in gaps.lines}


def test_a_vocabulary_that_was_replaced_is_an_error_of_every_product(grown: Project) -> None:
    regroup(grown, rows_of(grown, "top")[:3])
    grown.plugin("sleeves", values=("raglan", "set_in"))
    assert grown.run("sync-catalog", "--no-train").code == 0
    (line,) = grown.run("predict", "--by-product", "P0", "--attribute", "sleeves").lines
    assert (line["decision"], line["value"]) == ("error", None)
    assert "none of that is a value today" in line["reason"]
    scores = grown.run("evaluate", "--by-product", "--json").json["products"]["sleeves"]
    assert "none of that is a value today" in scores["error"]
