"""The commands on PostgreSQL, in the order in which a team meets them: they do what they do on SQLite."""

from collections.abc import Callable
from typing import Any

import pytest

Project = Any  # the class is in conftest.py, which cannot be imported


@pytest.fixture(scope="module")
def team(new_project: Callable[..., Project], new_database: Callable[..., str]) -> Project:
    """A project on PostgreSQL that was made, filled and synced from the command line."""
    project = new_project("garment", "sleeves")
    project.settings(catalog={"database": new_database()})
    assert project.command("--config", project.config, "init", project.folder).code == 0
    labels = project.labels([{**row, "tone": ""} for row in project.garments.rows])
    done = project.run("ingest", labels, "--images", project.photos, "--json").json["files"][0]
    assert (done["rows"], done["images_new"], done["quarantined"]) == (200, 200, [])
    assert project.run("ingest", labels, "--images", project.photos, "--json").json["files"][0]["observations_new"] == 0
    report = project.run("sync-catalog", "--json").json
    assert {result["attribute"]: result["status"] for result in report["results"]} == {
        "garment": "promoted",
        "sleeves": "promoted",
    }
    return project


def test_nothing_is_left_to_do_and_status_says_what_is_live(team: Project) -> None:
    assert team.run("sync-catalog", "--json").json["plan"] == []
    status = team.run("status", "--json").json
    assert status["images"] == 200
    assert {name: found["state"] for name, found in status["attributes"].items()} == {
        "garment": "live",
        "sleeves": "live",
    }
    assert team.run("db", "check").code == 0


def test_the_live_tree_predicts_fills_gaps_and_is_evaluated(team: Project) -> None:
    photo = team.photos / team.garments.rows[0]["image"]
    assert team.run("predict", photo, "--attribute", "garment").code == 0
    gaps = team.run("predict", "--missing", "--attribute", "sleeves").out.splitlines()
    assert len(gaps) == team.run("status", "--json").json["attributes"]["sleeves"]["unknown"]
    assert team.run("evaluate", "--json").json["attributes"]["garment"]["n"] > 0


def test_a_retraining_is_rolled_back_and_garbage_collected(team: Project) -> None:
    before = team.run("versions", "--json").json["versions"]
    live = next(version["id"] for version in before if version["live"])
    report = team.run("sync-catalog", "--retrain", "garment", "--json").json
    assert [result["status"] for result in report["results"]] == ["promoted"]
    assert team.run("rollback").code == 0
    after = team.run("versions", "--json").json["versions"]
    assert len(after) == len(before) + 1
    assert next(version["id"] for version in after if version["live"]) == live
    assert team.run("runs").code == 0
    assert team.run("gc").code == 0
    assert team.run("sync-catalog", "--json").json["plan"] == []


def test_a_product_is_shown_and_forgotten(team: Project) -> None:
    sku = team.garments.rows[-1]["sku"]
    assert team.run("history", sku).code == 0
    assert team.run("forget", sku, "--yes").code == 0
    assert team.run("history", sku).code == 1
