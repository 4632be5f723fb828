"""init, ingest, status, relocate and db, as they are typed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from attributree.settings.file import load_settings
from support.projects import Project

Command = Callable[..., Any]


def test_init_writes_a_commented_configuration_and_a_catalogue(command: Command, tmp_path: Path) -> None:
    outcome = command("init", tmp_path / "new")
    assert outcome.code == 0
    assert outcome.out == ""
    config = tmp_path / "new" / "plugins.toml"
    assert outcome.err.splitlines() == [
        f"wrote {config}",
        f"catalogue sqlite:///{tmp_path}/new/attributree.db is up to date",
        "next: attributree ingest FILE --images ROOT",
    ]
    assert load_settings(config).trunk.backbone == "resnet34"
    assert "# Labelled images that an attribute needs before it is trained." in config.read_text()
    assert (tmp_path / "new" / "attributree.db").is_file()


@pytest.mark.both_databases("migrations differ")
def test_init_twice_keeps_what_is_there(project: Project) -> None:
    before, counts = project.config.read_text(), project.run("status", "--json").json["images"]
    outcome = project.command("init", project.folder)
    assert outcome.code == 0
    assert outcome.err.startswith(f"kept {project.config}\n")
    assert project.config.read_text() == before
    assert project.run("status", "--json").json["images"] == counts == 200


@pytest.mark.both_databases("the URL is the user's")
def test_init_can_be_told_another_database(
    command: Command, own_database: Callable[..., str] | None, tmp_path: Path
) -> None:
    url = own_database() if own_database else f"sqlite:///{tmp_path}/other.db"
    assert command("--database", url, "init", tmp_path / "new").code == 0
    assert command("--config", tmp_path / "new", "db", "check").code == 0
    assert not (tmp_path / "new" / "attributree.db").exists()
    assert load_settings(tmp_path / "new" / "plugins.toml").catalog.database == url


def test_init_where_nothing_can_be_written_is_one_line(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    outcome = command("init", tmp_path / "file" / "folder")
    assert outcome.code == 1
    assert outcome.err == (f"error: {tmp_path}/file/folder/plugins.toml cannot be written: Not a directory\n")


@pytest.mark.both_databases("the whole way once in each")
def test_ingest_shows_a_summary_and_as_json_all_of_it(new_project: Callable[..., Project]) -> None:
    project = new_project("garment", "sleeves", catalogue=False)
    assert project.run("db", "upgrade").code == 0
    labels = project.labels()
    outcome = project.run("ingest", labels, "--images", project.photos, "--json")
    assert outcome.code == 0
    (summary,) = outcome.json["files"]
    assert summary.keys() == {
        "file", "source", "rows", "images_new", "products_new", "observations_new", "observations_same",
        "quarantined", "unknown_values", "undeclared", "revision", "without_pictures", "remote_new",
    }  # fmt: skip
    assert (summary["rows"], summary["images_new"], summary["products_new"]) == (200, 200, 200)
    assert summary["source"] == "import"
    assert summary["undeclared"].keys() == {"tone"}  # garment and sleeves have plugins, though nothing was synced

    again = project.run("ingest", labels, "--images", project.photos)
    assert again.out == ""
    assert "200 rows, 0 new images of 0 new products; 0 new observations" in again.err
    assert "column tone: " in again.err


@pytest.mark.parametrize("source", ["text", "review", " text "])
def test_a_label_file_cannot_speak_for_a_reserved_source(new_project: Callable[..., Project], source: str) -> None:
    project = new_project("garment")
    project.run("db", "upgrade")
    outcome = project.run("ingest", project.labels(), "--images", project.photos, "--source", source)
    assert outcome.code == 1
    assert f"the source {source.strip()!r} is reserved for " in outcome.err
    assert project.run("status", "--json").json["images"] == 0


def test_a_source_that_reads_like_a_reserved_one_is_warned_of(
    new_project: Callable[..., Project], caplog: pytest.LogCaptureFixture
) -> None:
    project = new_project("garment")
    project.run("db", "upgrade")
    assert project.run("ingest", project.labels(), "--images", project.photos, "--source", "Review").code == 0
    assert "the source 'Review' is believed as 'review' is, that is as people who looked" in caplog.text


def test_ingest_takes_several_files_and_a_source(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    rows = project.garments.rows
    files = [project.labels(rows[:5], "a.csv"), project.labels(rows[5:8], "b.csv")]
    outcome = project.run("ingest", *files, "--images", project.photos, "--source", "supplier", "--json")
    assert [(f["rows"], f["source"]) for f in outcome.json["files"]] == [(5, "supplier"), (3, "supplier")]


def test_status_shows_every_attribute_with_all_keys(grown: Project) -> None:
    document = grown.run("status", "--json").json
    assert document.keys() == {
        "images", "products", "observations", "revision", "version", "attributes", "undeclared", "unmapped_types",
        "quarantined", "notes", "plan", "remote",
    }  # fmt: skip
    assert document["attributes"].keys() == {"garment", "sleeves"}
    for entry in document["attributes"].values():
        assert entry.keys() == {
            "declared_by", "labelled", "ambiguous", "not_applicable", "unknown", "unmapped", "branch", "state",
            "accuracy", "macro_f1", "unreadable",
        }  # fmt: skip
        assert sum(entry[state] for state in ("labelled", "ambiguous", "not_applicable", "unknown")) == 200
        assert entry["state"] == "live"
        assert 0 < entry["macro_f1"] <= 1
    assert document["plan"] == []
    assert document["version"] == 2
    assert document["undeclared"].keys() == {"tone"}
    assert document["unmapped_types"] == []


def test_status_tells_a_person_the_same(grown: Project) -> None:
    grown.plugin("tone")
    outcome = grown.run("status")
    assert "200 images of 200 products; tree version 2 is live" in outcome.out
    for word in ("garment", "sleeves", "tone", "due", "live", "register", "grow"):
        assert word in outcome.out
    plain = shutil.copy(grown.config, grown.folder / "plain.toml")
    grown.remove_plugin("tone")
    assert "sync-catalog has nothing to do" in grown.command("--config", plain, "status").err


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("due", lambda project: None),
        ("blocked", lambda project: project.settings(training={"min_labels": 5000})),
    ],
)
def test_status_of_an_attribute_without_a_branch(
    project: Project, state: str, change: Callable[[Project], None]
) -> None:
    change(project)
    document = project.run("status", "--json").json
    assert {entry["state"] for entry in document["attributes"].values()} == {state}
    assert {entry["branch"] for entry in document["attributes"].values()} == {None}
    assert document["version"] is None


@pytest.mark.both_databases("migrations differ")
def test_db_upgrade_current_and_check_agree(new_project: Callable[..., Project]) -> None:
    project = new_project(catalogue=False)
    assert project.run("db", "current").out == "none\n"
    missing = project.run("db", "check")
    assert missing.code == 1
    assert missing.err.startswith(f"error: no catalogue there yet ({project.url}): ")
    assert missing.err.endswith("run `attributree init`\n")
    upgraded = project.run("db", "upgrade")
    assert (upgraded.code, upgraded.out) == (0, "")
    revision = project.run("db", "current").out.strip()
    assert upgraded.err == f"the catalogue is at revision {revision}\n"
    assert project.run("db", "check").code == 0
    assert project.run("-q", "db", "upgrade").err == ""


def test_a_relative_database_is_written_down_where_it_was_made(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("--database", "sqlite:///here.db", "init", "there").code == 0
    assert (tmp_path / "here.db").is_file()
    assert load_settings(tmp_path / "there" / "plugins.toml").catalog.database == f"sqlite:///{tmp_path}/here.db"


def test_settings_of_a_misspelt_attribute_are_told(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.settings(attributes_garmant={"depth": "head"})
    said = project.run("status").err
    assert said.startswith("warning: attributes -> garmant: no plugin declares it; did you mean garment?\n")


def test_a_catalogue_can_be_made_without_a_configuration(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/alone.db"
    monkeypatch.chdir(tmp_path)
    assert command("--database", url, "db", "upgrade").code == 0
    assert command("--database", url, "db", "check").code == 0


def test_a_command_without_a_catalogue_says_what_to_type(new_project: Callable[..., Project]) -> None:
    project = new_project(catalogue=False)
    for command in (["status"], ["sync-catalog"], ["predict", "x.jpg"], ["versions"], ["ingest", project.labels()]):
        outcome = project.run(*command)
        assert outcome.code == 1
        assert outcome.err.count("\n") == 1
        assert outcome.err.endswith("run `attributree init`\n")


# -- images that were moved ------------------------------------------------------------------------


def test_a_moved_project_knows_its_images_and_a_moved_root_is_told_and_relocated(project: Project) -> None:
    project.own_photos()
    old, photos = project.garments.photos, project.photos
    moved = project.run("relocate", old, photos, "--json")
    assert (moved.code, moved.json["images"], moved.json["found"]) == (0, 200, 200)
    here = Project(project.folder.rename(project.folder.with_name(project.folder.name + " moved")), project.garments)
    photos = here.folder / "photos"
    again = here.run("ingest", here.folder / "labels.csv", "--images", photos, "--json").json["files"][0]
    assert (again["images_new"], again["observations_new"], again["quarantined"]) == (0, 0, [])
    assert here.run("status", "--json").json["notes"] == []
    photos.rename(here.folder / "pictures")
    told = f"the images root {photos} is gone; if it was moved, type: attributree relocate '{photos}' NEW"
    assert here.run("status", "--json").json["notes"] == [told]
    assert f"note: {told}\n" in here.run("sync-catalog", "--dry-run").err
    outcome = here.run("relocate", photos, here.folder / "pictures")
    assert outcome.err == f"{here.folder}/pictures: 200 of 200 images are there; they were in {photos}\n"
    assert here.run("status", "--json").json["notes"] == []


@pytest.mark.both_databases("the catalogue is written to")
def test_an_upgrade_keeps_roots_relative_that_were_not(project: Project) -> None:
    project.own_photos()
    assert project.run("relocate", project.garments.photos, project.photos).code == 0

    def folders(change: str = "") -> list[str]:
        engine = create_engine(project.url)
        with engine.begin() as connection:
            if change:
                connection.execute(text("UPDATE images_root SET folder = :folder"), {"folder": change})
            found = list(connection.execute(text("SELECT folder FROM images_root")).scalars())
        engine.dispose()
        return found

    assert folders() == ["photos"]
    assert folders(str(project.photos)) == [str(project.photos)]  # as an older attributree kept it
    assert project.run("db", "upgrade").code == 0
    assert folders() == ["photos"]
