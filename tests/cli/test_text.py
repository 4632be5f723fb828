"""mine and suggest, as they are typed."""

from typing import Any

import pytest

from support.projects import Project

KIND = """
from attributree import Attribute, SingleLabel, Value, hookimpl

@hookimpl
def attributree_attributes():
    values = (
        Value("upper", synonyms=("tee", "blouse", "jersey top")),
        Value("frock", synonyms=("jersey dress",)),
        Value("legs", synonyms=("wide leg", "straight leg", "skinny leg")),
    )
    return [Attribute("kind", SingleLabel(values))]
"""


@pytest.fixture
def told(project: Project) -> Project:
    """A project whose titles tell of `kind`, an attribute that no label file has."""
    project.plugin("kind", KIND)
    return project


def test_mine_stores_what_titles_say_and_the_second_time_nothing(told: Project) -> None:
    outcome = told.run("mine", "--attribute", "kind", "--json")
    assert outcome.code == 0
    summary = outcome.json
    assert summary.keys() == {
        "products", "attributes", "observations_new", "observations_same", "withdrawn", "revision", "dry_run",
    }  # fmt: skip
    kind = summary["attributes"]["kind"]
    assert summary["products"] == 200
    assert summary["observations_new"] == kind["products"] == sum(kind["values"].values()) > 80
    assert kind["ambiguous"] == 0
    again = told.run("mine", "--attribute", "kind")
    assert f"0 observations stored, {kind['products']} known already, 0 withdrawn" in again.err
    assert "found in the texts of 200 products" in again.out


def test_what_was_mined_is_counted_once_the_attribute_is_registered(told: Project) -> None:
    mined = told.run("mine", "--json").json["attributes"]["kind"]["products"]
    told.run("sync-catalog", "--no-train")
    assert told.run("status", "--json").json["attributes"]["kind"]["labelled"] == mined


def test_a_dry_run_shows_examples_and_stores_nothing(told: Project) -> None:
    before = told.run("status", "--json").json["observations"]
    outcome = told.run("mine", "--dry-run", "--attribute", "kind")
    assert outcome.code == 0
    assert sum(line.startswith("kind: ") for line in outcome.err.splitlines()) == 3
    assert "observations would be stored" in outcome.err
    assert told.run("status", "--json").json["observations"] == before


def test_history_says_when_a_text_took_its_word_back(told: Project) -> None:
    told.run("mine")
    row = next(row for row in told.garments.rows if "tee" in row["title"].lower().split())
    told.run("ingest", told.labels([row | {"title": "Nameless"}], "more.csv"), "--images", told.photos)
    told.run("mine")
    lines = [line for line in told.run("history", row["sku"]).out.splitlines() if " text " in line and " kind " in line]
    assert ["upper" in line for line in lines] == [True, False]
    assert "(withdrawn)" in lines[1]


def test_an_attribute_that_nobody_declares_is_one_line(told: Project) -> None:
    outcome = told.run("mine", "--attribute", "knid")
    assert outcome.code == 1
    assert outcome.err == "error: no attribute 'knid' is declared; there are: garment, kind, sleeves\n"


def test_mine_without_attributes_says_what_is_missing(told: Project) -> None:
    for name in ("garment", "sleeves", "kind"):
        told.remove_plugin(name)
    outcome = told.run("mine")
    assert (outcome.code, outcome.out) == (0, "")
    assert "no attribute is declared; install a plugin" in outcome.err


def test_languages_come_from_the_settings(told: Project) -> None:
    told.plugin("kind", KIND.replace('"jersey dress",)', '"jersey dress",), translations={"de": ("slim fit",)}'))
    counts = {}
    for language in ("fr", "de"):
        told.settings(catalog={"languages": [language]})
        counts[language] = told.run("mine", "--dry-run", "--json").json["attributes"]["kind"]["values"]["frock"]
    assert 0 < counts["fr"] < counts["de"]


def test_suggest_shows_columns_phrases_and_cells_that_nobody_reads(told: Project) -> None:
    rows = [{"image": row["image"], "sleeves": "barre"} for row in told.garments.rows[:4]]
    told.run("ingest", told.labels(rows, "more.csv"), "--images", told.photos, "--source", "supplier")
    document = told.run("suggest", "--json").json
    assert document.keys() == {"columns", "phrases", "unreadable"}
    (column,) = document["columns"]
    assert column["column"] == "tone"
    assert {value["key"] for value in column["values"]} == {"dark", "bright"}
    assert "regular fit" in {phrase["text"] for phrase in document["phrases"]}
    assert document["unreadable"] == [{"attribute": "sleeves", "text": "barre", "count": 4, "nearest": "bare"}]
    outcome = told.run("suggest", "--limit", "1")
    assert outcome.code == 0
    for title in ("column tone: ", "phrases that no schema knows", "cells that no value spells"):
        assert title in outcome.out


def test_nothing_to_suggest_is_said(new_project: Any) -> None:
    project = new_project("garment")
    outcome = project.run("suggest")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "nothing to suggest\n")
