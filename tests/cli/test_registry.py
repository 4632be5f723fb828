"""versions and promote, as they are typed."""

from typing import Any

Project = Any  # the class is in conftest.py, which cannot be imported


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
        assert workspace.catalog.promotions()[-1].reason == "an incident"


def test_a_version_without_a_branch_does_not_answer_for_its_attribute(grown: Project) -> None:
    grown.run("-q", "promote", "1")
    photo = grown.photos / grown.garments.rows[0]["image"]
    assert [line["attribute"] for line in grown.run("predict", photo).lines] == ["garment"]


def test_an_unknown_version_is_one_line(grown: Project) -> None:
    outcome = grown.run("promote", "9")
    assert outcome.code == 1
    assert outcome.err == "error: tree version 9 is not in the catalogue (there: 1, 2)\n"
    assert grown.run("promote", "two").code == 2
