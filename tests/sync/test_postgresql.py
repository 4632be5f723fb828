"""The whole way on PostgreSQL: what a team's catalogue does, SQLite's does too, and the other way round."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from attributree import Workspace

Project = Any  # the class is in conftest.py, which cannot be imported


def test_a_catalogue_on_postgresql_grows_answers_and_finds_nothing_more_to_do(
    new_project: Callable[..., Project], new_database: Callable[..., str]
) -> None:
    project = new_project("garment", "sleeves")
    with Workspace.create(project.folder, database=new_database()) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        report = workspace.sync()
        assert {result.attribute: result.status for result in report.results} == {
            "garment": "promoted",
            "sleeves": "promoted",
        }
        assert report.results[-1].unchanged["max_abs_diff"] == 0.0
        assert workspace.sync().plan.actions == ()
        gaps = workspace.catalog.missing("sleeves")
        predicted = list(workspace.predict_missing(attributes=["sleeves"]))
        assert sorted(p.image_id or 0 for p in predicted) == gaps
        stored = workspace.catalog.predictions("sleeves", gaps)
        assert Counter(p.values for p in stored) == Counter(p.values for p in predicted)
        assert workspace.evaluate("test")["attributes"]["garment"]["n"] > 0


def test_two_syncs_at_once_on_postgresql_do_the_work_once(
    new_project: Callable[..., Project], new_database: Callable[..., str]
) -> None:
    project = new_project("garment")
    url = new_database()
    with Workspace.create(project.folder, database=url) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        both = [project.start("--database", url, "sync-catalog") for _ in range(2)]
        ends = [(process.communicate(timeout=240), process.returncode) for process in both]
        assert [code for _, code in ends] == [0, 0], ends
        assert [run.status for run in workspace.catalog.runs()] == ["promoted"]
        assert len(workspace.versions()) == 1
