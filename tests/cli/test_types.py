"""types, and what other commands say of article types, as they are typed."""

from collections.abc import Callable

import pytest

from support.projects import Project

WORDS = """
from attributree import ArticleType, hookimpl

@hookimpl
def attributree_article_types():
    return [ArticleType("tshirt", ("Tees",), below=("top",))]
"""
TYPES = ("Damen > Blusen", "Tees", "Dresses", "Jeans", "Gadgets", "")


@pytest.fixture
def shop(new_project: Callable[..., Project]) -> Project:
    """A project of whose products none has the type that plugins call so, with labels of sleeves and tones."""
    project = new_project("sleeves", "tone")
    project.settings(article_types={"top": ["Blusen"]})
    project.plugin("words", WORDS)
    rows = [
        {**row, "article_type": TYPES[i % 6], "sleeves": "bare" if i < 6 else "", "tone": "dark" if i < 12 else ""}
        for i, row in enumerate(project.garments.rows[:30])
    ]
    with project.open() as workspace:
        workspace.create(project.folder).close()
        workspace.ingest(project.labels(rows), images=project.photos)
    return project


def test_types_says_what_each_word_is_by_which_rule_and_what_is_asked_of_it(shop: Project) -> None:
    document = shop.run("types", "--json").json
    told = {one["article_type"]: one for one in document["types"]}
    assert {word: (one["canonical"], one["rule"], one["by"]) for word, one in told.items()} == {
        "Damen > Blusen": ("top", "settings", None),
        "Tees": ("tshirt", "plugin", "words"),
        "Dresses": ("dress", "fold", None),
        "Jeans": ("jeans", "fold", None),
        "Gadgets": (None, None, None),
    }
    assert {word for word, one in told.items() if "sleeves" in one["attributes"]} == {
        "Damen > Blusen",
        "Tees",
        "Dresses",
    }
    assert all("tone" in one["attributes"] for one in told.values())
    assert told["Tees"].keys() >= {"products", "stated_labels", "nearest", "above"}
    assert (told["Tees"]["products"], told["Tees"]["stated_labels"], told["Tees"]["above"]) == (5, 8, ["top"])
    assert document["without_type"] == 5


def test_types_proposes_what_to_write_of_an_unmapped_word(shop: Project) -> None:
    outcome = shop.run("types")
    assert "5 article types of 25 products; 1 unmapped" in outcome.out
    assert "tshirt < top" in outcome.out
    assert "# ? = ['Gadgets']  # 5 products, 8 labels stated" in outcome.err
    assert "5 products have no article type" in outcome.err


def test_status_lists_what_is_unmapped_and_keeps_it_apart_from_not_applicable(shop: Project) -> None:
    document = shop.run("status", "--json").json
    (unmapped,) = document["unmapped_types"]
    assert (unmapped["article_type"], unmapped["products"], unmapped["stated_labels"]) == ("Gadgets", 5, 8)
    sleeves = document["attributes"]["sleeves"]
    assert {key: sleeves[key] for key in ("labelled", "not_applicable", "unknown", "unmapped")} == {
        "labelled": 5,  # what is stated of a gadget counts; what is stated of jeans does not
        "not_applicable": 5,
        "unknown": 20,
        "unmapped": 4,
    }
    assert document["attributes"]["tone"]["unmapped"] == 0
    assert "1 article type is unmapped (Gadgets, 5 products)" in shop.run("status").err


def test_another_table_is_a_plan_with_its_reason_and_a_revision_once(shop: Project) -> None:
    assert shop.run("sync-catalog", "--no-train", "--json").code == 0
    shop.settings(article_types={"top": ["Blusen"], "phone": ["Gadgets"]})
    plan = shop.run("sync-catalog", "--dry-run", "--json").json
    reasons = {action["attribute"]: action["reason"] for action in plan["plan"] if action["action"] == "evolve"}
    assert reasons == {
        "sleeves": "the article types changed (not applicable to Gadgets, 5 products): what was said is read again"
    }
    assert plan["notes"] == []
    shop.run("sync-catalog", "--no-train")
    document = shop.run("status", "--json").json
    assert (document["attributes"]["sleeves"]["not_applicable"], document["unmapped_types"]) == (10, [])
    again = shop.run("sync-catalog", "--no-train", "--json").json
    assert [action for action in again["plan"] if action["action"] == "evolve"] == []
    assert shop.run("status", "--json").json["revision"] == document["revision"]


def test_a_broken_plugins_words_stay_until_it_is_mended(shop: Project) -> None:
    before = shop.run("types", "--json").json
    shop.plugin("words", "raise OSError('gone')")
    after = shop.run("types", "--json").json
    assert after["types"] == before["types"]
    shop.remove_plugin("words")
    told = {one["article_type"]: one["canonical"] for one in shop.run("types", "--json").json["types"]}
    assert told["Tees"] is None


def test_predictions_of_an_unmapped_type_are_asked_for_by_name_only_and_never_accepted(grown: Project) -> None:
    photo = grown.photos / grown.garments.rows[0]["image"]
    ask = ("predict", photo, "--attribute", "sleeves", "--article-type")
    (line,) = grown.run(*ask, "Gadgets").lines
    assert (line["decision"], bool(line["value"])) == ("review", True)
    assert line["reason"].startswith("its article type is unmapped")
    assert grown.run(*ask, "JEANS").lines[0]["decision"] == "not_applicable"
    rows = [{"image": row["image"], "article_type": "Gadgets"} for row in grown.garments.rows if not row["sleeves"]]
    grown.run("ingest", grown.labels(rows, "types.csv"), "--images", grown.photos)
    outcome = grown.run("predict", "--missing", "--attribute", "sleeves")
    assert not {row["image"] for row in rows} & {line["image"] for line in outcome.lines}
    assert "of 1 unmapped article type; see attributree types" in outcome.err
    assert "unmapped" not in grown.run("predict", "--missing", "--attribute", "garment").err
