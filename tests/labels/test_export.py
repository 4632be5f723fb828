"""What is exported comes back the same: annotations in all four states, splits, products, and who said what."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select, update

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.database.tables import LabelColumn, Observation, VoiceRow
from attributree.errors import CatalogError, UnknownNameError
from attributree.labels import export
from attributree.labels.export import ExportOptions
from attributree.labels.export_columns import escape_column, neutralise, restore, unescape_column
from attributree.labels.records import NewObservation
from attributree.registry.predictions import load as load_predictions
from support.catalogues import Shop

NECKLINE = Attribute(
    "neckline",
    SingleLabel((Value("crew", synonyms=("round neck",)), Value("v_neck", synonyms=("vee",)), Value("=boat"))),
    applies_to=("top", "dress"),
)
COLOUR = Attribute("colour", MultiLabel(("red", "green", "blue")))
LENGTH = Attribute("length", Ordinal(("short", "knee", "long")))
ALL = (NECKLINE, COLOUR, LENGTH)
FORMATS = ("csv", "jsonl", "parquet")

#: Any text that a database stores: no NUL, no half surrogate pairs.
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=30)
ODD = st.sampled_from(
    ["SKU", "Split::", "=1+1", "'=1+1", "''@x", "-5", "＝1", "x::source", "x::source::", "::source", "::version"]
)


@pytest.fixture
def new_catalog(new_catalogue: Callable[[], str]) -> Iterator[Callable[[], Catalog]]:
    """Makes empty catalogues with the three attributes."""
    opened = []

    def make() -> Catalog:
        catalog = Catalog.open(new_catalogue(), timeout=5)
        opened.append(catalog)
        for attribute in ALL:
            catalog.labels.declare(attribute, "test")
        return catalog

    yield make
    for catalog in opened:
        catalog.close()


def known(catalog: Catalog) -> dict[str, Any]:
    """Return all that is known: products of images, and annotations with their shares and weights, by path."""
    images = catalog.labels.images()
    found: dict[str, Any] = {
        image.path: [image.sku, image.article_type, image.title, image.description, image.split] for image in images
    }
    paths = {image.id: image.path for image in images}
    for attribute in ALL:
        for image_id, annotation in catalog.labels.annotations(attribute.name, paths).items():
            found[paths[image_id]].append((attribute.name, annotation))
        labels = catalog.labels.label_set(attribute.name)
        rows = zip(labels.image_ids, labels.target, labels.ambiguous, labels.weight, strict=True)
        for image_id, target, ambiguous, weight in rows:
            found[paths[image_id]].append((attribute.name, target.tobytes(), bool(ambiguous), float(weight)))
    return found


def voices(catalog: Catalog) -> set[tuple[str, str, str, str, str | None]]:
    """Return what stands: (path, column, text, source, annotator)."""
    paths = {image.id: image.path for image in catalog.labels.images()}
    engine = create_engine(catalog.url)
    with engine.connect() as connection:
        query = select(Observation, LabelColumn.name, VoiceRow.source, VoiceRow.annotator).join(LabelColumn)
        rows = list(connection.execute(query.join(VoiceRow).order_by(Observation.revision)))
    engine.dispose()
    newest = {(paths[r.image_id], r.name, r.source, r.annotator): r.raw for r in rows}
    return {(path, column, raw, source, who) for (path, column, source, who), raw in newest.items()}


def rows(file: Path) -> list[dict[str, Any]]:
    """Return the rows of an exported file as somebody else's reader sees them, without empty cells."""
    if file.suffix == ".csv":
        with file.open(encoding="utf-8", newline="") as opened:
            found: list[dict[str, Any]] = list(csv.DictReader(opened))
    elif file.suffix == ".jsonl":
        found = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    else:
        found = pyarrow.parquet.read_table(file).to_pylist()
    return [{column: cell for column, cell in row.items() if cell not in ("", None)} for row in found]


@pytest.fixture
def full(catalog: Catalog, shop: Shop) -> Catalog:
    """A catalogue with every state, a dispute of each kind, odd texts, and columns that no attribute reads."""
    for attribute in ALL:
        catalog.labels.declare(attribute, "test")
    catalog.labels.ingest(
        shop.labels(
            [
                "image",
                "sku",
                "article_type",
                "title",
                "description",
                "split",
                "neckline",
                "colour",
                "length",
                "size: EU",
            ],
            ["a.png", "S1", "top", "=A top", "two\nlines", "val", "round neck", "red|blue", "knee", "42"],
            ["b.png", "S2", "dress", "", "", "", "crew|v-neck", "red", "short|long", "-42"],
            ["c.png", "S3", "jeans", "", "", "test", "", "n/a", "n/a", ""],
            ["d.png", "S5", "top", "", "", "", "crwe", "", "", "@home"],
            ["-e.png", "", "", "", "", "train", "=boat", "green", "", "'=1"],
            ["f.png", "S4", "jeans", "", "", "", "crew", "", "", ""],
        )
    )
    catalog.labels.ingest(
        shop.labels(
            "image,neckline,colour,length,size: EU",
            "a.png,crew,red|green,long,43",
            "b.png,v_neck|crew,n/a,short,-42",
            "d.png,vee|boot,,,home",
        ),
        source="supplier",
    )
    ids = {image.path: image.id for image in catalog.labels.images()}
    catalog.labels.observe([NewObservation(ids["d.png"], "length", "long")], source="text", cause="mine")
    for who, said in (("anna", "v_neck"), ("ben", "=boat"), (None, "v_neck")):
        catalog.labels.observe([NewObservation(ids["-e.png"], "neckline", said)], source="review", annotator=who)
    return catalog


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_is_ingested_to_the_same_annotations_splits_and_products(
    full: Catalog, shop: Shop, new_catalog: Callable[[], Catalog], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_PAGE", 4)
    file = shop.folder / f"export.{form}"
    done: list[int] = []
    summary = full.labels.export(file, form, progress=done.append)
    assert done == [4, 6]  # a page at a time
    assert (summary.images, summary.rows, summary.disputed) == (6, 17, 4)
    other = new_catalog()
    assert other.labels.ingest(file).rows == summary.rows
    assert known(other) == known(full)
    states = {annotation.state for name in ("neckline", "colour", "length") for annotation in annotations(full, name)}
    assert states == {"labelled", "ambiguous", "not_applicable"}
    # Once more: what was exported from an export is the same but for revisions, and ingesting it changes nothing.
    again = other.labels.export(shop.folder / f"again.{form}", form)
    assert [without_revisions(row) for row in rows(Path(again.file))] == [without_revisions(row) for row in rows(file)]
    revision = other.labels.revision()
    assert other.labels.ingest(Path(again.file)).revision == revision


def annotations(catalog: Catalog, name: str) -> list[Any]:
    return list(catalog.labels.annotations(name, [image.id for image in catalog.labels.images()]).values())


def without_revisions(row: dict[str, Any]) -> dict[str, Any]:
    words = ("::revision", "::source", "::annotator")
    return {column: cell for column, cell in row.items() if not column.endswith(words) or column.startswith("::")}


@pytest.mark.parametrize("form", FORMATS)
def test_exported_observations_are_ingested_to_the_same_voices(
    full: Catalog, shop: Shop, new_catalog: Callable[[], Catalog], form: str
) -> None:
    file = shop.folder / f"said.{form}"
    summary = full.labels.export(file, form, ExportOptions(observations=True))
    other = new_catalog()
    other.labels.ingest(file, source="never used")
    assert voices(other) == voices(full)
    assert known(other) == known(full)
    assert summary.rows == len({(path, source, who) for path, _, _, source, who in voices(full)})


def test_rows_say_what_is_known_and_who_said_it(full: Catalog, shop: Shop) -> None:
    full.labels.export(file := shop.folder / "export.jsonl", "jsonl")
    first, *apart = [row for row in rows(file) if row["image"] == "a.png"]
    assert first["neckline"] == "crew"
    assert first["neckline::source"] == "import|supplier"
    assert (first["colour::state"], first["length::state"]) == ("ambiguous", "ambiguous")
    assert not {"colour", "length", "::source"} & first.keys()
    assert [(row["::source"], row["colour"], row["length"], row["size: EU"]) for row in apart] == [
        ("import", "red|blue", "knee", "42"),
        ("supplier", "red|green", "long", "43"),
    ]
    jeans = next(row for row in rows(file) if row["image"] == "c.png")
    assert (jeans["neckline"], jeans["neckline::state"], jeans["colour"]) == ("n/a", "not_applicable", "n/a")
    assert "neckline::source" not in jeans  # nobody said so, the article type does
    mined = [row for row in rows(file) if row.get("::source") == "text"]
    assert [(row["image"], row["length"]) for row in mined] == [("d.png", "long")]
    reviewed = next(row for row in rows(file) if row["image"] == "-e.png")
    assert reviewed["neckline::annotator"] == "anna|ben"


def test_a_cell_that_a_spreadsheet_would_run_is_neutralised_in_csv_only(full: Catalog, shop: Shop) -> None:
    full.labels.export(shop.folder / "export.csv", "csv")
    with (shop.folder / "export.csv").open(encoding="utf-8", newline="") as opened:
        cells = [cell for row in csv.reader(opened) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    assert {"'=A top", "'-42", "'@home", "''=1", "'-e.png"} <= set(cells)
    full.labels.export(shop.folder / "export.jsonl", "jsonl")
    assert rows(shop.folder / "export.jsonl")[0]["title"] == "=A top"


def test_what_no_export_wrote_is_taken_as_it_stands(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image,photo::source,note", "a.png,studio,'=1"))
    assert {(column, raw) for _, column, raw, _, _ in voices(catalog)} == {("photo::source", "studio"), ("note", "'=1")}


def test_a_prediction_never_comes_back_as_a_label(
    full: Catalog, shop: Shop, new_catalog: Callable[[], Catalog], predict: Callable[..., int]
) -> None:
    said = {"b.png": ("crew", "review"), "d.png": ("v_neck", "accept"), "f.png": ("crew", "accept")}
    predict(full, "neckline", said)
    file = shop.folder / "export.csv"
    summary = full.labels.export(file, "csv", ExportOptions(predictions=load_predictions))
    assert summary.predicted == 2
    by_image = {row["image"]: row for row in rows(file) if "::source" not in row}
    unknown = by_image["d.png"]
    assert unknown["neckline::predicted"] == "v_neck"
    assert unknown["neckline::confidence"] == "0.9312"
    assert (unknown["neckline::decision"], unknown["neckline::version"]) == ("accept", "1")
    assert by_image["b.png"]["neckline::predicted"] == "crew"
    assert "neckline::predicted" not in by_image["f.png"]  # jeans have no neckline, whatever was predicted once
    other = new_catalog()
    other.labels.ingest(file)
    assert known(other) == known(full)
    assert not [said for said in voices(other) if "0.9312" in said[2] or "::" in said[1]]


def test_a_renamed_attribute_has_one_column_with_the_words_of_both(
    catalog: Catalog, shop: Shop, new_catalog: Callable[[], Catalog]
) -> None:
    catalog.labels.ingest(shop.labels("image,neckline,neck", "a.png,crew,", "b.png,crew,v_neck", "c.png,,v_neck"))
    neck = Attribute("neck", NECKLINE.labels, formerly=("neckline",))
    catalog.labels.declare(neck, "test")
    catalog.labels.export(file := shop.folder / "export.jsonl", "jsonl", ExportOptions(provenance=False))
    assert [row.get("neck") for row in rows(file)] == ["crew", "v_neck", "v_neck"]
    assert not any("neckline" in row for row in rows(file))
    catalog.labels.export(
        said := shop.folder / "said.jsonl", "jsonl", ExportOptions(observations=True, provenance=False)
    )
    assert [(row.get("neckline"), row.get("neck")) for row in rows(said)] == [
        ("crew", None),
        ("crew", "v_neck"),
        (None, "v_neck"),
    ]


def test_columns_and_images_can_be_chosen(full: Catalog, shop: Shop, tmp_path: Path) -> None:
    file = shop.folder / "one.csv"
    full.labels.export(file, "csv", ExportOptions(attributes=("colour",), provenance=False))
    with file.open(encoding="utf-8", newline="") as opened:
        header = next(csv.reader(opened))
    assert header == [
        "image",
        "sku",
        "article_type",
        "title",
        "description",
        "split",
        "::source",
        "::annotator",
        "colour",
    ]
    with pytest.raises(
        UnknownNameError, match=r"attribute 'color' is neither .* \(there: colour, length, neckline, size: EU\)"
    ):
        full.labels.export(file, "csv", ExportOptions(attributes=("color",)))
    elsewhere = shop.labels("image,colour", "a.png,red", name="elsewhere.csv")
    (tmp_path / "root").mkdir()
    full.labels.ingest(elsewhere, images=tmp_path / "root")
    with pytest.raises(
        CatalogError, match=r"image 'a\.png' lies under .* and .*; export one of them with --images ROOT"
    ):
        full.labels.export(file, "csv")
    assert full.labels.export(file, "csv", ExportOptions(images=tmp_path / "root")).images == 1
    with pytest.raises(UnknownNameError, match=r"no image lies under the images root nowhere \(there: /.*shop\)"):
        full.labels.export(file, "csv", ExportOptions(images=Path("nowhere")))


def test_a_file_that_cannot_be_written_leaves_the_former_one(
    full: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shop.folder / "export.csv"
    full.labels.export(file, "csv")
    before = file.read_bytes()
    monkeypatch.setattr(export, "_PAGE", 2)

    def torn(done: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(
        CatalogError, match=r"export\.csv cannot be written: No space left on device; nothing was changed"
    ):
        full.labels.export(file, "csv", progress=torn)
    assert file.read_bytes() == before
    assert [path.name for path in shop.folder.glob(".*")] == []
    with pytest.raises(CatalogError, match="cannot be written: No such file"):
        full.labels.export(shop.folder / "nowhere" / "export.csv", "csv")


@pytest.mark.parametrize("form", FORMATS)
def test_none_of_them_comes_back_as_it_was_known_and_predicted(
    new_catalog: Callable[[], Catalog], shop: Shop, predict: Callable[..., int], form: str
) -> None:
    catalog, other = new_catalog(), new_catalog()
    file = shop.folder / "labels.jsonl"
    cells = {"a.png": [], "b.png": ["red"], "c.png": None, "d.png": "n/a", "e.png": None}
    file.write_text("".join(json.dumps({"image": shop.image(n).name, "colour": c}) + "\n" for n, c in cells.items()))
    catalog.labels.ingest(file)
    predict(catalog, "colour", {"c.png": ((), "accept"), "e.png": (("red", "blue"), "review")})
    out = shop.folder / f"out.{form}"
    catalog.labels.export(out, form, ExportOptions(predictions=load_predictions))
    found = {row["image"]: (row.get("colour"), row["colour::state"], row.get("colour::predicted")) for row in rows(out)}
    assert found == {
        "a.png": ("[]", "labelled", None), "b.png": ("red", "labelled", None), "c.png": (None, "unknown", "[]"),
        "d.png": ("n/a", "not_applicable", None), "e.png": (None, "unknown", "red|blue"),
    }  # fmt: skip
    other.labels.ingest(out)
    assert known(other) == known(catalog)
    (record,) = catalog.registry.predictions("colour", [3])
    assert (record.values, record.decision) == ((), "accept")


def test_a_column_from_before_headings_were_folded_comes_back_as_it_was(
    new_catalog: Callable[[], Catalog], shop: Shop
) -> None:
    catalog, other = new_catalog(), new_catalog()
    catalog.labels.ingest(shop.labels("image,x,y", "a.png,S1,S2"))
    for before, after in (("x", "SKU"), ("y", "SKU::")):
        renamed = update(LabelColumn).where(LabelColumn.name == before).values(name=after)
        catalog.labels.write(lambda connection, renamed=renamed: connection.execute(renamed))
    catalog.labels.export(shop.folder / "out.csv", "csv")
    other.labels.ingest(shop.folder / "out.csv")
    assert other.labels.undeclared() == {"SKU": 1, "SKU::": 1}
    assert other.labels.images()[0].sku == "a.png"
    assert other.labels.auto_attributes(()) == {}


@given(TEXTS | ODD)
def test_neutralising_has_an_exact_inverse(cell: str) -> None:
    safe = neutralise(cell)
    assert restore(safe) == cell
    assert not safe.startswith(("=", "+", "-", "@", "\t", "\r"))


@given(TEXTS | ODD | TEXTS.map("{}::source".format))
def test_a_column_is_never_taken_for_a_mark(column: str) -> None:
    assert unescape_column(escape_column(column)) == column
