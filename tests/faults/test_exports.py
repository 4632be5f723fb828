"""What a name or a value holds can hurt neither the database, nor a file that it is exported to, nor who opens that."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attributree.catalog import Catalog
from attributree.images.places import Places
from attributree.labels.export import ExportOptions
from attributree.labels.records import NewObservation
from attributree.registry.predictions import load as load_predictions
from attributree.schema import reserved_column, sku_of
from support.projects import Project
from support.soak import examples

#: What SQL, its drivers' parameters, CSV, JSON and spreadsheets give a meaning to.
METACHARACTERS = (
    "'; DROP TABLE product; --",
    '" OR ""="',
    "Robert'); DELETE FROM observation;--",
    "%s %(x)s :x ? $1 {x}",
    "\\'\\\"`[]{}",
    "/* */ UNION SELECT NULL#",
    "%_",
    "=1+1",
    "'=1+1",
    "@SUM(1)",
    "+1",
    "-1",
    "::source",
    "x::version",
    "n/a",
    "a|b",
    'two\r\nlines, "quoted"',
)
ANYTHING = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20)
NAMES = (st.sampled_from(METACHARACTERS) | ANYTHING).map(str.strip).filter(bool)
COLUMNS = NAMES.filter(lambda name: not reserved_column(name) and name.isprintable())


@pytest.fixture(scope="module")
def new_catalog(new_catalogue: Callable[[], str]) -> Iterator[Callable[[], Catalog]]:
    """Makes empty catalogues and opens them."""
    opened = []

    def make() -> Catalog:
        opened.append(Catalog.open(new_catalogue()))
        return opened[-1]

    yield make
    for catalog in opened:
        catalog.close()


def everything(catalog: Catalog) -> list[Any]:
    """Return every name and value of a catalogue: of products, images, and what each voice said."""
    found = []
    for image in catalog.labels.images():
        (kept,) = [
            kept for kept in catalog.labels.history(image.sku, load_predictions).images if kept.image.path == image.path
        ]
        said = sorted((o.attribute, o.raw, o.source, o.annotator or "") for o in kept.observations)
        about = (image.path, image.sku, image.article_type, image.title, image.description, image.split)
        found.append((*about, said))
    return sorted(found)


@given(
    products=st.lists(
        st.tuples(NAMES, NAMES, NAMES, NAMES, NAMES),
        min_size=1,
        max_size=3,
        unique_by=(lambda row: Places(Path("/")).path(row[0]), lambda row: sku_of(row[1])),
    ),
    cells=st.lists(st.tuples(COLUMNS, NAMES), min_size=1, max_size=4, unique_by=lambda cell: cell[0]),
    voice=st.tuples(NAMES, NAMES),
    form=st.sampled_from(("csv", "jsonl", "parquet")),
)
@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_sql_metacharacters_in_every_name_and_value_are_stored_exported_and_read_back_verbatim(
    new_catalog: Callable[[], Catalog],
    tmp_path: Path,
    products: list[tuple[str, str, str, str, str]],
    cells: list[tuple[str, str]],
    voice: tuple[str, str],
    form: str,
) -> None:
    catalog = new_catalog()
    about = ("image", "sku", "article_type", "title", "description")
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow([*about, "split"])
        writer.writerows([*row, "val"] for row in products)
    catalog.labels.ingest(labels)
    source, annotator = voice
    said = [NewObservation(image.id, column, raw) for image in catalog.labels.images() for column, raw in cells]
    catalog.labels.observe(said, source=source, annotator=annotator)
    stored = everything(catalog)
    # Of paths and skus there is one spelling; all else is as it was written.
    places = Places(tmp_path)
    assert {row[:5] for row in stored} == {(places.path(path), sku_of(sku), *rest) for path, sku, *rest in products}
    for *_, heard in stored:
        assert heard == sorted((column, raw, source, annotator) for column, raw in cells)
    file = tmp_path / f"export.{form}"
    for options in (ExportOptions(observations=True), ExportOptions()):
        catalog.labels.export(file, form, options)
        other = new_catalog()
        other.labels.ingest(file)
        again = everything(other)
        if not options.observations:  # what is known has no voice
            again = [(*row[:6], sorted((*cell[:2], source, annotator) for cell in row[6])) for row in again]
        assert again == stored


def test_a_cell_that_begins_like_a_formula_is_neutralised_in_csv_and_comes_back_as_it_was(
    new_project: Callable[..., Project],
) -> None:
    project = new_project("tone")
    formulas = ["=HYPERLINK(A1)", "+1", "-2+3", "@SUM(A1)", "'=1", "＝1"]
    rows = [
        {"image": photo["image"], "sku": f"-{i}", "title": text, "description": text, "tone": text, "=note": text}
        for i, (photo, text) in enumerate(zip(project.garments.rows, formulas, strict=False))
    ]
    project.run("ingest", project.labels(rows), "--images", project.photos)
    file = project.folder / "export.csv"
    assert project.run("export", file).code == 0
    with file.open(encoding="utf-8", newline="") as opened:
        cells = [cell for row in csv.reader(opened) for cell in row]
    assert [cell for cell in cells if cell[:1] in tuple("=+-@＝")] == []
    assert cells.count("'=HYPERLINK(A1)") == 4
    assert "''=1" in cells
    before = project.run("history", "--json", "--", "-0").json
    with project.open() as workspace:
        revision = workspace.labels.revision()
    again = project.run("ingest", file, "--images", project.photos, "--json").json["files"][0]
    assert (again["revision"], again["observations_new"], again["observations_same"]) == (revision, 0, 12)
    assert project.run("history", "--json", "--", "-0").json == before
