"""export, as it is typed."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.projects import Project


@pytest.fixture
def registered(project: Project) -> Project:
    """A project whose attributes are registered, with a supplier who contradicts two rows."""
    assert project.run("sync-catalog", "--no-train").code == 0
    other = [{"image": row["image"], "garment": "dress"} for row in project.garments.rows if row["garment"] == "top"]
    labels = project.labels(other[:2], "supplier.csv")
    assert project.run("ingest", labels, "--images", project.photos, "--source", "supplier").code == 0
    return project


def coverage(project: Project) -> Any:
    entries = project.run("status", "--json").json["attributes"]
    return {name: {key: entry[key] for key in entry if key != "declared_by"} for name, entry in entries.items()}


@pytest.mark.parametrize("name", ["export.csv", "export.jsonl", "export.parquet"])
def test_an_export_is_ingested_into_an_empty_catalogue_with_the_same_coverage(
    registered: Project, new_project: Callable[..., Project], name: str
) -> None:
    outcome = registered.run("export", registered.folder / name)
    assert (outcome.code, outcome.out) == (0, "")
    assert f"{name}: 200 images in 204 rows (revision " in outcome.err
    assert "  2 images have a further row for each source that they are disputed between" in outcome.err
    other = new_project("garment", "sleeves")
    assert other.run("ingest", registered.folder / name, "--images", registered.photos).code == 0
    assert other.run("sync-catalog", "--no-train").code == 0
    assert coverage(other) == coverage(registered)
    assert coverage(other)["garment"]["ambiguous"] == 2


def test_an_export_goes_to_stdout_and_nothing_else_does(registered: Project) -> None:
    outcome = registered.run("export", "-", "--format", "csv", "--attribute", "tone", "--no-provenance")
    rows = list(csv.DictReader(outcome.out.splitlines()))
    assert len(rows) == 200
    assert rows[1].keys() == {
        "image", "sku", "article_type", "title", "description", "split", "::source", "::annotator", "tone",
    }  # fmt: skip
    lines = registered.run("-q", "export", "-", "--format", "jsonl", "--observations").lines
    assert {line["::source"] for line in lines} == {"import", "supplier"}


def test_an_export_is_summed_up_as_json(registered: Project) -> None:
    summary = registered.run("export", registered.folder / "a.csv", "--json").json
    assert summary["file"] == str(registered.folder / "a.csv")
    assert (summary["format"], summary["images"], summary["rows"], summary["disputed"]) == ("csv", 200, 204, 2)
    assert summary["columns"] == ["garment", "sleeves", "tone"]
    assert summary["roots"] == [str(registered.photos)]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["export", "-"], 2, "stdout needs --format csv or --format jsonl"),
        (["export", "-", "--format", "csv", "--json"], 2, "stdout holds either the file or --json"),
        (["export", "x.csv", "--observations", "--predictions"], 2, "--predictions go beside what is known"),
        (["export", "x.xlsx"], 1, "x.xlsx: .xlsx is not known; name it .csv, .jsonl or .parquet, or give --format"),
        (["export", "x.csv", "--attribute", "tune"], 1, "'tune' is neither declared nor a column"),
        (["export", "nowhere/x.csv"], 1, "nowhere/x.csv cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    registered: Project, arguments: list[str], code: int, problem: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = registered.run(*arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert problem in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_predictions_of_gaps_are_exported_beside_them(grown: Project, new_project: Callable[..., Project]) -> None:
    gaps = len(grown.run("predict", "--missing").lines)
    file = grown.folder / "export.jsonl"
    assert f", {gaps} predictions (revision " in grown.run("export", file, "--predictions").err
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    filled = [row for row in rows if "sleeves::predicted" in row]
    assert len(filled) == gaps
    assert {row["sleeves::state"] for row in filled} == {"unknown"}
    assert {row["sleeves::version"] for row in filled} == {2}
    assert not [row for row in filled if "sleeves" in row]
    other = new_project("garment", "sleeves")
    other.run("ingest", file, "--images", grown.photos)
    other.run("sync-catalog", "--no-train")
    assert coverage(other)["sleeves"]["unknown"] == gaps
