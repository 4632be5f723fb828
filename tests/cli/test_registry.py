"""versions and promote, as they are typed."""

from typing import Any

import pytest
from sqlalchemy import select

from attributree.database.tables import PromotionRow
from attributree.registry.records import Work
from support.projects import Project


def said(project: Project) -> list[dict[str, Any]]:
    """Return what the live tree says of garments, without the version that says it."""
    photos = [project.photos / row["image"] for row in project.garments.rows[:20]]
    lines = project.run("predict", *photos, "--attribute", "garment").lines
    return [{key: value for key, value in line.items() if key != "version"} for line in lines]


def test_versions_lists_them_with_all_keys_oldest_first(grown: Project) -> None:
    versions = grown.run("versions", "--json").json["versions"]
    assert [version["id"] for version in versions] == [1, 2]
    assert [version["live"] for version in versions] == [False, True]
    for version in versions:
        assert version.keys() == {
            "id", "live", "parent", "created_at", "actor", "reason", "trunk", "branches", "unchanged",
            "manifest",
        }  # fmt: skip
    assert [version["parent"] for version in versions] == [None, 1]
    assert [sorted(version["branches"]) for version in versions] == [["garment"], ["garment", "sleeves"]]
    assert versions[1]["unchanged"]["max_abs_diff"] == 0.0


def test_versions_shows_a_person_a_table(grown: Project) -> None:
    outcome = grown.run("versions")
    assert "tree versions" in outcome.out
    assert "garment, sleeves" in outcome.out


def test_promoting_a_former_version_gives_its_predictions_exactly(grown: Project) -> None:
    # Wrong labels, so that the retrained branch says something else.
    turned = {"top": "dress", "dress": "jeans", "jeans": "top"}
    rows = [{"image": row["image"], "garment": turned[row["garment"]]} for row in grown.garments.rows]
    before = said(grown)
    grown.run("ingest", grown.labels(rows, "turned.csv"), "--images", grown.photos)
    assert grown.run("sync-catalog", "--only", "garment", "--json").json["version"] == 3
    assert [line["value"] for line in said(grown)] != [line["value"] for line in before]

    outcome = grown.run("promote", "2", "--reason", "an incident")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "tree version 2 is live\n")
    assert said(grown) == before
    assert [v["live"] for v in grown.run("versions", "--json").json["versions"]] == [False, True, False]
    with grown.open() as workspace:
        newest = select(PromotionRow.reason).order_by(PromotionRow.id.desc()).limit(1)
        assert workspace.registry.read(lambda connection: connection.execute(newest).scalar()) == "an incident"


def test_a_version_without_a_branch_does_not_answer_for_its_attribute(grown: Project) -> None:
    grown.run("-q", "promote", "1")
    photo = grown.photos / grown.garments.rows[0]["image"]
    assert [line["attribute"] for line in grown.run("predict", photo).lines] == ["garment"]


def test_an_unknown_version_is_one_line(grown: Project) -> None:
    outcome = grown.run("promote", "9")
    assert outcome.code == 1
    assert outcome.err == "error: tree version 9 is not in the catalogue (there: 1, 2)\n"
    assert grown.run("promote", "two").code == 2


# -- rollback --------------------------------------------------------------------------------------


def retrain_wrongly(project: Project) -> None:
    """Give garment a branch that learnt wrong labels."""
    turned = {"top": "dress", "dress": "jeans", "jeans": "top"}
    rows = [{"image": row["image"], "garment": turned[row["garment"]]} for row in project.garments.rows]
    project.run("ingest", project.labels(rows, "turned.csv"), "--images", project.photos)
    assert project.run("sync-catalog", "--only", "garment", "--json").json["version"] == 3


def test_rollback_gives_the_former_predictions_exactly_and_is_not_undone_by_the_next_sync(grown: Project) -> None:
    before = said(grown)
    retrain_wrongly(grown)
    assert said(grown) != before
    outcome = grown.run("rollback", "--reason", "wrong labels")
    assert (outcome.code, outcome.err) == (0, "tree version 2 is live\n")
    assert said(grown) == before
    plan = grown.run("sync-catalog", "--json").json["plan"]
    assert [(action["action"], action["attribute"]) for action in plan] == [("blocked", "garment")]
    assert said(grown) == before


def test_one_branch_is_rolled_back_beside_what_came_later(grown: Project) -> None:
    before = said(grown)
    retrain_wrongly(grown)
    grown.plugin("tone")
    assert grown.run("sync-catalog", "--only", "tone", "--json").json["version"] == 4
    outcome = grown.run("rollback", "--attribute", "garment")
    assert (outcome.code, outcome.err) == (0, "tree version 5 is live: garment has branch 1 again\n")
    assert said(grown) == before
    with grown.open() as workspace:
        live = workspace.registry.live()
        assert live is not None
        assert sorted(live.branches) == ["garment", "sleeves", "tone"]
        assert live.proof["attributes"] == ["sleeves", "tone"]
        assert live.proof["max_abs_diff"] == 0.0


def test_where_there_is_nothing_to_go_back_to_it_says_so(grown: Project) -> None:
    assert "sleeves has had one branch only" in grown.run("rollback", "--attribute", "sleeves").err
    assert "no branch in tree version 2 (there: garment, sleeves)" in grown.run("rollback", "--attribute", "hem").err
    assert grown.run("rollback").code == 0
    outcome = grown.run("rollback")
    assert (outcome.code, outcome.err) == (
        1,
        "error: tree version 1 was made from none; there is nothing to go back to\n",
    )


def test_a_version_with_a_damaged_part_does_not_go_live(grown: Project) -> None:
    grown.run("rollback")
    with grown.open() as workspace:
        part = workspace.registry.version(2).branches["sleeves"].parts[-1]
    path = next((grown.folder / "artifacts").glob(f"*/{part}.safetensors"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    outcome = grown.run("promote", "2")
    assert outcome.code == 1
    assert "tree version 2 cannot go live: sleeves:" in outcome.err
    assert "is damaged" in outcome.err
    assert [v["live"] for v in grown.run("versions", "--json").json["versions"]] == [True, False]


# -- gc and runs -----------------------------------------------------------------------------------


@pytest.mark.both_databases("which parts are named is asked by gc alone")
def test_gc_deletes_what_no_branch_is_made_of_and_nothing_else(grown: Project) -> None:
    artifacts = grown.folder / "artifacts"
    before = sorted(artifacts.glob("*/*.safetensors"))
    (artifacts / "ab").mkdir(exist_ok=True)
    orphan, leftover = artifacts / "ab" / f"ab{'0' * 62}.safetensors", artifacts / "ab" / ".partial-1-0"
    orphan.write_bytes(b"x" * 2_000_000)
    leftover.write_bytes(b"x")
    dry = grown.run("gc", "--dry-run", "--json").json
    assert dry == {"deleted": 1, "bytes": 2_000_000, "kept": len(before), "leftovers": 1, "dry_run": True}
    assert orphan.exists()
    outcome = grown.run("gc")
    assert outcome.err == f"1 part deleted (2.0 MB), {len(before)} kept, 1 leftovers of killed writers swept\n"
    assert sorted(artifacts.glob("*/*")) == before
    assert grown.run("evaluate", "--json").code == 0


def test_gc_waits_for_nobody_and_says_who_trains(grown: Project) -> None:
    with grown.open() as workspace:
        workspace.registry.claim_run(Work("garment", "retrain", "f" * 64, "s" * 64, "c" * 64, 1), "host-b:1:x")
    outcome = grown.run("gc")
    assert outcome.code == 1
    assert "training is under way (garment by host-b:1:x)" in outcome.err


def test_runs_tells_why_and_how_long_and_cancels(grown: Project) -> None:
    runs = grown.run("runs", "--json").json["runs"]
    assert [(run["attribute"], run["status"], run["branch_id"]) for run in runs] == [
        ("garment", "promoted", 1),
        ("sleeves", "promoted", 2),
    ]
    assert all(run["reason"].startswith("no branch yet; ") and run["seconds"] > 0 for run in runs)
    assert "no branch yet" in grown.run("runs", "--attribute", "sleeves").out
    with grown.open() as workspace:
        workspace.registry.claim_run(Work("garment", "retrain", "f" * 64, "s" * 64, "c" * 64, 1), "host-b:1:x")
    cancelled = grown.run("runs", "--cancel", "3", "--limit", "1", "--json").json["runs"]
    assert [run["status"] for run in cancelled] == ["cancelled"]
    assert grown.run("runs", "--cancel", "1").err == "error: training run 1 is not running: it was promoted\n"
