"""With mine_text a sync reads titles before it plans, and what they say lets a branch grow."""

from collections import Counter

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
KINDS = {"top": "upper", "dress": "frock", "jeans": "legs"}


@pytest.fixture
def told(grown: Project) -> Project:
    """A project whose titles tell of `kind`, for which there is a plugin and no label."""
    grown.plugin("kind", KIND)
    return grown


def test_labels_from_texts_let_a_branch_grow_beside_those_that_are_there(told: Project) -> None:
    told.settings(catalog={"mine_text": True}, attributes_kind={"depth": "head"})
    report = told.run("sync-catalog", "--json").json
    assert [(a["action"], a["attribute"]) for a in report["plan"]] == [("register", "kind"), ("grow", "kind")]
    (result,) = report["results"]
    assert (result["status"], result["unchanged"]["max_abs_diff"]) == ("promoted", 0.0)
    assert result["unchanged"]["attributes"] == ["garment", "sleeves"]
    with told.open() as workspace:
        labels = workspace.labels.label_set("kind")
        assert len(labels.weight) > 80
        assert (labels.weight > 0).all()
        assert (labels.weight < 1).all()
        photos = [told.photos / row["image"] for row in told.garments.rows]
        predictions = workspace.predict(photos, attributes=("kind",))
    truth = [KINDS[row["article_type"]] for row in told.garments.rows]
    right = sum(prediction.values == (key,) for prediction, key in zip(predictions, truth, strict=True))
    assert right > 1.2 * max(Counter(truth).values())


def test_the_next_sync_finds_nothing_new_in_the_same_texts(told: Project) -> None:
    told.settings(catalog={"mine_text": True}, training={"min_labels": 1000})
    told.run("sync-catalog", "--json")
    revision = told.run("status", "--json").json["revision"]
    told.run("sync-catalog", "--json")
    assert told.run("status", "--json").json["revision"] == revision


def test_without_the_setting_texts_are_not_read(told: Project) -> None:
    report = told.run("sync-catalog", "--json").json
    assert [(r["attribute"], r["status"]) for r in report["results"]] == [("kind", "blocked")]
    assert told.run("status", "--json").json["attributes"]["kind"]["labelled"] == 0
