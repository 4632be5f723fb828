"""A column that no plugin declares becomes an attribute by itself, if the settings say so."""

import random
import string

import pytest

from attributree.catalog import Catalog
from attributree.labels.auto import LEAST_IMAGES
from support.catalogues import Shop
from support.projects import Project


@pytest.fixture
def automatic(grown: Project) -> Project:
    """A project whose column tone has labels and no plugin."""
    grown.settings(catalog={"auto_attributes": True})
    return grown


def test_a_new_column_grows_a_branch_by_sync_catalog_alone(automatic: Project) -> None:
    report = automatic.run("sync-catalog", "--json").json
    assert [(a["action"], a["attribute"]) for a in report["plan"]] == [("register", "tone"), ("grow", "tone")]
    (result,) = report["results"]
    assert (result["status"], result["unchanged"]["max_abs_diff"]) == ("promoted", 0.0)
    assert result["unchanged"]["attributes"] == ["garment", "sleeves"]
    status = automatic.run("status", "--json").json
    assert status["attributes"]["tone"]["declared_by"] == "catalogue"
    assert status["undeclared"] == {}
    photo = automatic.photos / automatic.garments.rows[0]["image"]
    lines = automatic.run("predict", photo, "--attribute", "tone").lines
    assert {line["value"] for line in lines} <= {"dark", "bright"}
    assert automatic.run("sync-catalog", "--json").json["plan"] == []


def test_without_the_setting_the_column_waits(grown: Project) -> None:
    assert grown.run("sync-catalog", "--json").json["plan"] == []
    assert grown.run("status", "--json").json["undeclared"]["tone"] > 0


def test_a_text_too_long_for_an_index_is_no_value(automatic: Project) -> None:
    draw = random.Random(0)
    care = "".join(draw.choice(string.ascii_letters) for _ in range(9000))  # compressed, a plainer text would fit
    rows = [
        {"image": row["image"], "care": (care, "wash", "iron")[i % 3]} for i, row in enumerate(automatic.garments.rows)
    ]
    with automatic.open() as workspace:
        workspace.ingest(automatic.labels(rows, "care.csv"), images=automatic.photos)
        workspace.sync(train=False)
        assert sorted(workspace.labels.attributes()["care"].schema.labels.keys) == ["iron", "wash"]


def test_values_are_appended_and_spellings_of_one_value_are_one(automatic: Project) -> None:
    with automatic.open() as workspace:
        workspace.sync(train=False)
        before = workspace.labels.attributes()["tone"].schema
        assert sorted(before.labels.keys) == ["bright", "dark"]
        rows = [{"image": row["image"], "tone": "Very-Bright"} for row in automatic.garments.rows[:8]]
        rows += [{"image": row["image"], "tone": "very bright"} for row in automatic.garments.rows[8:12]]
        rows += [{"image": row["image"], "tone": "murky"} for row in automatic.garments.rows[12:15]]
        workspace.ingest(automatic.labels(rows, "more.csv"), images=automatic.photos, source="supplier")
        (evolve,) = workspace.sync(train=False).plan.of("evolve")
        assert evolve.reason == "new: very_bright"
        after = workspace.labels.attributes()["tone"].schema
        assert after.labels.keys == (*before.labels.keys, "very_bright")
        assert after.labels.values[-1].title == "Very-Bright"


def test_values_that_differ_in_a_sign_are_two_and_a_dash_is_none(automatic: Project) -> None:
    cells = [text for text in ("1", "-1", "A", "A-", "-") for _ in range(10)]
    rows = [{"image": row["image"], "fit": cell} for row, cell in zip(automatic.garments.rows, cells, strict=False)]
    with automatic.open() as workspace:
        workspace.ingest(automatic.labels(rows, "more.csv"), images=automatic.photos)
        workspace.sync(train=False)
        labels = workspace.labels.attributes()["fit"].schema.labels
        assert labels.keys == ("-1", "1", "a", "a-")
        assert [labels.find(cell) and labels.find(cell).key for cell in cells[::10]] == ["1", "-1", "a", "a-", None]


def test_cells_that_say_none_of_them_make_a_column_multi_label(automatic: Project) -> None:
    cells = ["[]"] * 20 + ["lace"] * 20
    rows = [{"image": row["image"], "trim": cell} for row, cell in zip(automatic.garments.rows, cells, strict=False)]
    with automatic.open() as workspace:
        workspace.ingest(automatic.labels(rows, "more.csv"), images=automatic.photos)
        workspace.sync(train=False)
        trim = workspace.labels.attributes()["trim"].schema
        assert (trim.labels.kind, trim.labels.keys) == ("multi", ("lace",))
        assert workspace.labels.coverage(trim).labelled == 40


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("remark", [f"text number {i}" for i in range(40)]),
        ("not a name", ["red", "green"] * 20),
        ("season", ["winter"] * 40),
    ],
)
def test_a_column_of_free_text_or_of_one_value_is_no_attribute(
    automatic: Project, column: str, cells: list[str]
) -> None:
    rows = [{"image": row["image"], column: cell} for row, cell in zip(automatic.garments.rows, cells, strict=False)]
    with automatic.open() as workspace:
        workspace.ingest(automatic.labels(rows, "more.csv"), images=automatic.photos)
        assert column not in workspace.declared.attributes
        assert column in workspace.status()["undeclared"]


def test_a_plugin_s_declaration_takes_the_place_of_the_column_s_own(automatic: Project) -> None:
    with automatic.open() as workspace:
        workspace.sync(train=False)
    automatic.plugin("tone")
    with automatic.open() as workspace:
        assert workspace.declared.declared_by["tone"] != "catalogue"
        workspace.sync(train=False)
        assert workspace.labels.attributes()["tone"].declared_by != "catalogue"


def test_a_plugin_may_rename_what_the_catalogue_declared_by_itself(automatic: Project) -> None:
    with automatic.open() as workspace:
        workspace.sync(train=False)
    automatic.plugin(
        "tone",
        source="""\
from attributree import Attribute, SingleLabel, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute("shade", SingleLabel(("dark", "bright")), formerly=("tone",))]
""",
    )
    with automatic.open() as workspace:
        evolve, _ = workspace.sync(train=False).plan.actions
        assert (evolve.action, evolve.attribute) == ("evolve", "shade")
        assert evolve.reason.startswith("tone is now shade")
        assert workspace.labels.attributes().keys() == {"garment", "sleeves", "shade"}
        change = workspace.labels.changes("tone")[-1]
        assert change.declared_by.endswith("tone.py")
        assert str(change.plugin_version).startswith("sha256 ")
        assert workspace.sync(train=False).plan.of("register", "evolve") == ()
        assert workspace.status()["undeclared"] == {}


def test_a_rare_article_type_is_asked_although_nothing_was_said_there_and_a_common_one_is_not(
    catalog: Catalog, shop: Shop
) -> None:
    rows = [f"{i}.png,top,{'plain' if i % 2 else 'striped'}" for i in range(24)]
    rows += [f"rare{i}.png,saree," for i in range(LEAST_IMAGES - 1)]
    rows += [f"denied{i}.png,tie,n/a" for i in range(2)]
    catalog.labels.ingest(shop.labels("image,article_type,pattern", *rows))
    assert catalog.labels.auto_attributes(())["pattern"].applies_to == ("saree", "top")
    catalog.labels.ingest(shop.labels("image,article_type", "one_more.png,saree", name="more.csv"))
    assert catalog.labels.auto_attributes(())["pattern"].applies_to == ("top",)
