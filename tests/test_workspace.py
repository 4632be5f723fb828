"""The Python interface: what a notebook or a script holds on to."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from attributree import Attribute, SingleLabel, Workspace, hookimpl
from attributree.errors import AttributreeError, CatalogVersionError, ConfigError, PluginError, UnknownNameError
from attributree.inference.predict import Prediction
from attributree.labels.records import IngestSummary
from attributree.reports import SyncReport
from attributree.training.linear import MOST_LAYERS
from support.projects import Project


def plugin(name: str) -> SimpleNamespace:
    """Return an object that is a plugin with one attribute."""

    @hookimpl
    def attributree_attributes() -> list[Attribute]:
        return [Attribute(name, SingleLabel(("dark", "bright")))]

    return SimpleNamespace(attributree_attributes=attributree_attributes)


@pytest.mark.both_databases("the whole way once in each")
def test_the_four_lines_of_the_readme_work(new_project: Callable[..., Project]) -> None:
    project = new_project("garment", catalogue=False)
    Workspace.create(project.folder).close()
    labels = project.labels()

    ws = Workspace.open(str(project.config))
    summary = ws.ingest(str(labels), images=str(project.photos))
    report = ws.sync()
    photos = [str(project.photos / row["image"]) for row in project.garments.rows[:3]]
    predictions = ws.predict(photos)
    ws.close()

    assert isinstance(summary, IngestSummary)
    assert isinstance(report, SyncReport)
    assert [result.status for result in report.results] == ["promoted"]
    assert [type(prediction) for prediction in predictions] == [Prediction] * 3
    assert [prediction.image for prediction in predictions] == photos


def test_a_prediction_is_frozen_and_its_json_is_the_command_lines(grown: Project) -> None:
    photo = grown.photos / grown.garments.rows[0]["image"]
    with grown.open() as workspace:
        predictions = workspace.predict([photo])
    assert [p.to_json() for p in predictions] == grown.run("predict", photo).lines
    with pytest.raises(AttributeError):
        predictions[0].decision = "accept"


def test_attributes_may_be_any_iterable(grown: Project) -> None:
    photo = grown.photos / grown.garments.rows[0]["image"]
    with grown.open() as workspace:
        assert [p.attribute for p in workspace.predict([photo], attributes=iter(["sleeves"]))] == ["sleeves"]


def test_no_image_is_no_prediction(grown: Project) -> None:
    with grown.open() as workspace:
        assert workspace.predict([]) == []


def test_an_object_can_be_a_plugin_without_an_installation(grown: Project) -> None:
    with grown.open(extra_plugins={"in-hand": plugin("tone")}) as workspace:
        assert workspace.plugins.declared_by["tone"] == "in-hand"
        assert [(a.action, a.attribute) for a in workspace.plan().actions] == [("register", "tone"), ("grow", "tone")]
        assert [result.status for result in workspace.sync().results] == ["promoted"]


def test_a_text_that_no_value_spells_is_asked_about_once(new_project: Callable[..., Project]) -> None:
    project, asked = new_project("garment"), list[str]()

    @hookimpl
    def attributree_normalize_label(text: str) -> str | None:
        asked.append(text)
        return "top" if text == "tpo" else None

    project.run("db", "upgrade")
    extra = {"shop": SimpleNamespace(attributree_normalize_label=attributree_normalize_label)}
    with Workspace.open(project.config, extra_plugins=extra) as workspace:
        workspace.sync(train=False)
        photos = sorted(project.photos.iterdir())
        for photo in photos[:2]:
            file = project.labels([{"image": photo.name, "garment": "tpo"}])
            assert workspace.ingest(file, images=project.photos).unknown_values == ()
    assert asked == ["tpo"]


@pytest.mark.both_databases("predictions are read while others are written")
def test_gaps_are_filled_lazily_and_stored(grown: Project) -> None:
    with grown.open() as workspace:
        gaps = workspace.live().predict_missing(["sleeves"])
        assert workspace.registry.predictions("sleeves") == []
        found = list(gaps)
        assert len(workspace.registry.predictions("sleeves")) == len(found)


def test_evaluate_and_status_are_the_command_lines(grown: Project) -> None:
    with grown.open() as workspace:
        assert workspace.live().evaluate("val") == grown.run("evaluate", "--split", "val", "--json").json
        assert workspace.status() == grown.run("status", "--json").json


def test_versions_are_oldest_first(grown: Project) -> None:
    with grown.open() as workspace:
        assert [(version.id, version.live) for version in workspace.registry.versions()] == [(1, False), (2, True)]


def test_progress_is_told_to_its_end(grown: Project) -> None:
    told: list[tuple[str, int, int]] = []
    grown.plugin("tone")
    with grown.open() as workspace:
        workspace.sync(progress=lambda what, done, of: told.append((what, done, of)))
    ends = {what: (done, of) for what, done, of in told}
    assert ends["decoding"] == ends["trunk features"] == (200 - 29, 200 - 29)  # the known and the ambiguous
    assert ends["tone: head"][1] == MOST_LAYERS
    assert all(0 <= done <= of for _, done, of in told)


def test_a_second_create_keeps_configuration_and_catalogue(project: Project) -> None:
    before = project.config.read_bytes()
    with Workspace.create(project.folder) as workspace:
        assert workspace.labels.counts().images == 200
    assert project.config.read_bytes() == before


def test_create_makes_the_folders_that_are_missing(tmp_path: Path) -> None:
    with Workspace.create(tmp_path / "a" / "b") as workspace:
        assert workspace.labels.counts().images == 0
        assert workspace.settings.folder == tmp_path / "a" / "b"


def test_a_catalogue_that_is_not_there_is_refused_when_it_is_first_needed(new_project: Callable[..., Project]) -> None:
    with new_project(catalogue=False).open() as workspace:
        assert workspace.plugins.attributes == {}
        with pytest.raises(CatalogVersionError, match="attributree init"):
            workspace.status()


def test_another_database_can_be_given(project: Project, tmp_path: Path) -> None:
    with Workspace.open(project.config, database=f"sqlite:///{tmp_path}/other.db") as workspace:
        assert workspace.settings.catalog.database == f"sqlite:///{tmp_path}/other.db"


def test_strict_turns_a_broken_plugin_into_an_error(grown: Project) -> None:
    grown.plugin("torn", "import not_there")
    with grown.open() as workspace:
        assert [info.name for info in workspace.plugins.problems] == ["torn"]
    with grown.open(strict=True) as workspace, pytest.raises(PluginError, match="not_there"):
        workspace.status()
    grown.settings(plugins={"strict": True})
    with grown.open() as workspace, pytest.raises(PluginError, match="not_there"):
        workspace.status()


def test_names_that_are_not_there_are_refused(grown: Project) -> None:
    with grown.open() as workspace:
        for wrong in (
            lambda: workspace.sync(only=["hem"]),
            lambda: workspace.plan(retrain=["hem"]),
            lambda: workspace.predict([], attributes=["hem"]),
            lambda: list(workspace.live().predict_missing(["hem"])),
            lambda: workspace.live().evaluate("test", ["hem"]),
        ):
            with pytest.raises(UnknownNameError, match="'hem'"):
                wrong()


def test_a_missing_configuration_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="attributree init") as caught:
        Workspace.open(tmp_path / "plugins.toml")
    assert isinstance(caught.value, AttributreeError)
