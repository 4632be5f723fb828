"""Label files into the catalogue: verbatim, all or nothing, and twice is once."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select

from attributree import Attribute, MultiLabel, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.database.tables import LabelColumn, Observation, Revision, VoiceRow
from attributree.errors import CatalogError, IngestError, UnknownNameError
from attributree.images.decode import inspect_image
from attributree.jsonable import jsonable
from attributree.labels import label_file, names, readers
from attributree.labels.ingest import split_of
from attributree.labels.records import FileState, IngestSummary, NewObservation, Quarantine, UnknownValue
from attributree.text.mine import mine
from support.catalogues import Shop
from support.soak import examples

NECKLINE = Attribute(
    "neckline",
    SingleLabel((Value("crew", synonyms=("round neck",)), Value("v_neck", synonyms=("vee",)), Value("boat"))),
    applies_to=("top", "dress"),
)
COLOUR = Attribute("colour", MultiLabel(("red", "green", "blue")))


def observations(catalog: Catalog) -> list[tuple[int, str, str, str, int]]:
    """Return all observations as (image, column, raw, source, revision)."""
    columns = (Observation.image_id, LabelColumn.name, Observation.raw, VoiceRow.source, Observation.revision)
    engine = create_engine(catalog.url)
    with engine.connect() as connection:
        query = select(*columns).select_from(Observation).join(LabelColumn).join(VoiceRow)
        query = query.order_by(Observation.revision, Observation.image_id, Observation.column_id)
        found = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return found


def test_a_file_is_stored_and_summed_up(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(NECKLINE, "attributree-neckline")
    file = shop.labels("image,sku,neckline,fabric", "a.png,S1,crew,wool", "b.png,S1,v-nek,", "c.png,S2,,silk")
    done: list[int] = []
    summary = catalog.labels.ingest(file, source="supplier", progress=done.append)
    assert summary == IngestSummary(
        file=str(file),
        source="supplier",
        rows=3,
        images_new=3,
        products_new=2,
        observations_new=4,
        observations_same=0,
        quarantined=(),
        unknown_values=(UnknownValue("neckline", "v-nek", 1, "v_neck"),),
        undeclared={"fabric": 2},
        revision=2,
    )
    assert json.loads(json.dumps(jsonable(summary)))["unknown_values"][0]["nearest"] == "v_neck"
    assert done == [3]
    assert catalog.labels.undeclared() == {"fabric": 2}
    counts = catalog.labels.counts()
    assert (counts.products, counts.images, counts.quarantined, counts.observations) == (2, 3, 0, 4)


def test_ingesting_twice_changes_nothing(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(COLOUR, "attributree-colour")
    file = shop.labels(
        "image,sku,article_type,title,split,colour",
        "a.png,S1,top,Front,val,red|blue",
        "b.png,S1,top,Back,val,red",
        "c.png,,dress,,,n/a",
    )
    first = catalog.labels.ingest(file)
    before = (
        observations(catalog),
        catalog.labels.images(),
        catalog.labels.counts(),
        catalog.labels.label_set("colour").fingerprint,
    )
    second = catalog.labels.ingest(file)
    assert (second.observations_new, second.observations_same, second.images_new) == (0, 3, 0)
    assert second.revision == first.revision == catalog.labels.revision()
    after = (
        observations(catalog),
        catalog.labels.images(),
        catalog.labels.counts(),
        catalog.labels.label_set("colour").fingerprint,
    )
    assert after == before


def test_chunks_make_no_difference(catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "CHUNK", 2)
    rows = [f"{number % 5}.png,S{number % 3 + number % 5 * 10},title {number},crew" for number in range(5)]
    file = shop.labels("image,sku,title,neckline", *rows, *rows[:3])
    summary = catalog.labels.ingest(file)
    assert (summary.rows, summary.images_new, summary.observations_new, summary.observations_same) == (8, 5, 5, 3)
    revision = catalog.labels.revision()
    assert catalog.labels.ingest(file).revision == revision


def test_the_first_title_of_a_product_counts_so_that_twice_is_once(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK", 1)
    file = shop.labels("image,sku,title", "a.png,S1,Front", "b.png,S1,Back")
    revision = catalog.labels.ingest(file).revision
    assert {image.title for image in catalog.labels.images()} == {"Front"}
    assert catalog.labels.ingest(file).revision == revision
    catalog.labels.ingest(shop.labels("image,title", "b.png,Side"))
    assert {image.title for image in catalog.labels.images()} == {"Side"}


@given(
    cells=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=30).filter(
            str.strip
        )
        | st.sampled_from(["'; DROP TABLE product; --", '"%s" %(x)s :x ?', "=1+1", "\\'\"`", "{}", "😀 ñ"]),
        min_size=1,
        max_size=5,
    ),
    column=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20)
    .filter(lambda text: len(text.encode()) <= 255)
    .map(str.strip)
    .filter(lambda text: text and text not in {"image", "sku", "article_type", "title", "description", "split"}),
)
@settings(max_examples=examples(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_stored_verbatim(catalog: Catalog, shop: Shop, cells: list[str], column: str) -> None:
    before = len(observations(catalog))
    rows = [[f"{catalog.labels.counts().images}-{i}.png", f"SKU {cell}", cell] for i, cell in enumerate(cells)]
    catalog.labels.ingest(shop.labels(["image", "sku", column], *rows, images=False))
    stored = observations(catalog)[before:]
    assert [(name, raw) for _, name, raw, _, _ in stored] == [(column, cell.strip()) for cell in cells]
    found = catalog.labels.images(ids=[image for image, *_ in stored])
    assert [record.sku for record in found] == [f"SKU {cell}".strip() for cell in cells]


def test_a_bad_row_at_the_end_leaves_nothing_behind(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "CHUNK", 2)
    file = shop.labels("image,split,neckline", *(f"{i}.png,,crew" for i in range(6)), "late.png,dev,crew")
    before = catalog.labels.counts()
    done: list[int] = []
    with pytest.raises(IngestError, match=r"labels\.csv, row 8, column 'split': 'dev'"):
        catalog.labels.ingest(file, progress=done.append)
    assert done  # it had begun
    assert catalog.labels.counts() == before
    assert observations(catalog) == []


def test_a_new_text_of_a_source_is_appended_and_supersedes(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(NECKLINE, "attributree-neckline")
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew"))
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,boat"))
    assert [raw for _, _, raw, _, _ in observations(catalog)] == ["crew", "boat"]
    assert catalog.labels.annotations("neckline", [1])[1].values == ("boat",)


def test_an_empty_cell_takes_nothing_back(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(NECKLINE, "attributree-neckline")
    catalog.labels.ingest(shop.labels("image,title,neckline", "a.png,A top,crew"))
    catalog.labels.ingest(shop.labels("image,title,neckline", "a.png,,"))
    assert catalog.labels.annotations("neckline", [1])[1].values == ("crew",)
    assert catalog.labels.images()[0].title == "A top"


def test_sources_that_disagree_make_an_image_ambiguous(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(NECKLINE, "attributree-neckline")
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew", "b.png,crew|boat"))
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,boat", "b.png,boat"), source="supplier")
    records = catalog.labels.annotations("neckline", [1, 2])
    assert (records[1].state, records[1].values, records[1].certain) == ("ambiguous", ("crew", "boat"), ())
    assert (records[2].state, records[2].values) == ("labelled", ("boat",))


@pytest.mark.parametrize("chunk", [1, 1000])
def test_one_image_twice_with_different_labels_in_a_file_is_refused(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    file = shop.labels("image,neckline", "a.png,crew", "a.png,crew", "a.png,boat")
    with pytest.raises(IngestError, match="row 4, column 'neckline': the same image has 'crew' in an earlier row"):
        catalog.labels.ingest(file)


@pytest.mark.parametrize("chunk", [1, 1000])
def test_a_row_that_repeats_what_is_known_contradicts_a_later_one(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew"))
    monkeypatch.setattr(readers, "CHUNK", chunk)
    with pytest.raises(IngestError, match=r"column 'neckline': the same image has 'crew' .*'boat'"):
        catalog.labels.ingest(shop.labels("image,title,neckline", "a.png,A,", "a.png,,crew", "a.png,,boat"))
    summary = catalog.labels.ingest(shop.labels("image,title,neckline", "a.png,A,", "a.png,,boat", "a.png,,boat"))
    assert (summary.observations_new, summary.observations_same) == (1, 1)


def test_one_image_with_two_products_in_a_file_is_refused(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = shop.labels("image,sku", "a.png,S1", "b.png,S2", "a.png,S2")
    for chunk in (1, 1000):
        monkeypatch.setattr(readers, "CHUNK", chunk)
        with pytest.raises(IngestError, match=r"row 4, column 'sku': image 'a.png' belongs to 'S1' in an earlier row"):
            catalog.labels.ingest(file)


def test_a_sku_that_comes_later_takes_the_image_along(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(NECKLINE, "attributree-neckline")
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew", "b.png,boat"))
    catalog.labels.ingest(shop.labels("image,sku,article_type", "a.png,S1,jeans", "b.png,S1,"))
    assert [image.sku for image in catalog.labels.images()] == ["S1", "S1"]
    assert catalog.labels.counts().products == 1
    assert {record.state for record in catalog.labels.annotations("neckline", [1, 2]).values()} == {"not_applicable"}


def test_a_new_article_type_decides_again_what_applies(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(NECKLINE, "attributree-neckline")
    catalog.labels.ingest(shop.labels("image,sku,article_type,neckline", "a.png,S1,jeans,crew"))
    assert catalog.labels.annotations("neckline", [1])[1].state == "not_applicable"
    catalog.labels.ingest(shop.labels("image,article_type", "a.png,top"))
    assert catalog.labels.annotations("neckline", [1])[1].state == "labelled"


# -- splits ----------------------------------------------------------------------------------------


def test_splits_are_by_product_and_about_70_15_15() -> None:
    shares = Counter(split_of(f"SKU-{number}") for number in range(20_000))
    assert shares["train"] == pytest.approx(14_000, rel=0.02)
    assert shares["val"] == pytest.approx(3_000, rel=0.05)
    assert [split_of(sku) for sku in ("a", "b", "SKU-1")] == [split_of(sku) for sku in ("a", "b", "SKU-1")]
    assert split_of("10042") == "train"  # stored catalogues rely on this hash


def test_two_photos_of_a_product_never_straddle(catalog: Catalog, shop: Shop) -> None:
    rows = [f"{sku}-{view}.png,{sku}" for sku in range(30) for view in "ab"]
    catalog.labels.ingest(shop.labels("image,sku", *rows))
    found = {(image.sku, image.split) for image in catalog.labels.images()}
    assert len(found) == 30
    assert {split for _, split in found} == {"train", "val", "test"}
    assert all(split == split_of(sku) for sku, split in found)


def test_a_split_column_overrides_and_must_agree(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image,sku,split", "a.png,S1,TEST", "b.png,S1,"))
    catalog.labels.ingest(shop.labels("image,sku", "c.png,S1"))
    assert {image.split for image in catalog.labels.images()} == {"test"}
    with pytest.raises(IngestError, match="row 3, column 'split': product 'S1' is in val in an earlier row, here in"):
        catalog.labels.ingest(shop.labels("image,sku,split", "a.png,S1,val", "b.png,S1,train"))


# -- pictures --------------------------------------------------------------------------------------


def test_bad_pictures_are_quarantined_and_their_labels_kept(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(COLOUR, "attributree-colour")
    names = [
        "good.png",
        "empty.png",
        "page.jpg",
        "missing.png",
        "ftp://a.example/a.jpg",
        "../outside.png",
        "way.png",
    ]
    shop.image("good.png")
    shop.image("../outside.png")
    (shop.folder / "empty.png").touch()
    (shop.folder / "page.jpg").write_text("<html>")
    (shop.folder / "way.png").symlink_to(shop.folder.parent / "outside.png")
    summary = catalog.labels.ingest(shop.labels("image,colour", *(f"{name},red" for name in names), images=False))
    reasons = {item.image: item.reason for item in summary.quarantined}
    assert list(reasons) == names[1:]
    assert reasons["empty.png"] == "zero bytes"
    assert reasons["missing.png"] == "file not found"
    assert "not an image" in reasons["page.jpg"]
    assert reasons["ftp://a.example/a.jpg"].startswith("not allowed: ftp://")
    assert "outside the images root" in reasons["../outside.png"]
    assert "outside the images root" in reasons["way.png"]
    assert [image.path for image in catalog.labels.images(state="quarantined")] == names[1:]
    assert (summary.observations_new, catalog.labels.counts().quarantined) == (7, 6)
    assert len(catalog.labels.label_set("colour")) == catalog.labels.coverage(COLOUR).labelled == 1


def test_a_repaired_picture_is_used_again_with_the_labels_it_had(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(COLOUR, "attributree-colour")
    file = shop.labels("image,colour", "a.png,red", images=False)
    assert catalog.labels.ingest(file).quarantined == (Quarantine("a.png", "file not found"),)
    shop.image("a.png")
    assert catalog.labels.ingest(file).quarantined == ()
    (image,) = catalog.labels.images()
    assert (image.state, image.reason, image.file) == ("ok", None, (shop.folder / "a.png").resolve())
    assert catalog.labels.label_set("colour").image_ids.tolist() == [image.id]
    (shop.folder / "a.png").unlink()
    assert catalog.labels.ingest(file).quarantined == (Quarantine("a.png", "file not found"),)
    assert len(catalog.labels.label_set("colour")) == 0


def test_a_picture_that_could_not_be_decoded_waits_until_it_changes(catalog: Catalog, shop: Shop) -> None:
    file = shop.labels("image", "a.png")
    catalog.labels.ingest(file)
    catalog.labels.quarantine({1: "cannot be read: truncated"})
    assert catalog.labels.ingest(file).quarantined == (Quarantine("a.png", "cannot be read: truncated"),)
    shop.image("a.png", size=(9, 9))
    assert catalog.labels.ingest(file).quarantined == ()
    with pytest.raises(UnknownNameError, match="image 99 is not in the catalogue"):
        catalog.labels.quarantine({99: "gone"})


def test_an_unchanged_picture_is_not_opened_again(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def inspecting(path: str, size: int) -> Any:
        opened.append(Path(path))
        return inspect_image(path, size)

    monkeypatch.setattr(label_file, "inspect_image", inspecting)
    file = shop.labels("image", "a.png", "b.png")
    catalog.labels.ingest(file)
    os.utime(shop.folder / "a.png", ns=(1, 1))
    catalog.labels.ingest(file)
    assert [path.name for path in opened] == ["a.png", "b.png", "a.png"]


def test_a_digest_is_kept_until_the_file_changes(catalog: Catalog, shop: Shop) -> None:
    file = shop.labels("image", "a.png", "b.png")
    catalog.labels.ingest(file)
    states = {
        image.id: FileState(name * 64, image.bytes or 0, image.mtime_ns or 0)
        for image, name in zip(catalog.labels.images(), "ab", strict=True)
    }
    catalog.labels.record_files(states)
    shop.image("a.png", size=(16, 16))
    catalog.labels.ingest(file)
    assert [image.digest for image in catalog.labels.images()] == [None, "b" * 64]


def test_images_are_found_by_id_and_by_file(catalog: Catalog, shop: Shop) -> None:
    shop.image("photos/a.png")
    file = shop.labels("image,sku", "./a.png,S1", "b.png,S2", images=False)
    shop.image("photos/b.png")
    catalog.labels.ingest(file, images=shop.folder / "photos")
    (image,) = catalog.labels.images(paths=[(shop.folder / "photos/a.png").resolve()])
    assert (image.path, image.sku) == ("a.png", "S1")
    assert [found.sku for found in catalog.labels.images(ids=[2, 77])] == ["S2"]
    assert catalog.labels.images(ids=[]) == []


def test_a_file_url_names_the_picture_that_its_path_does(catalog: Catalog, shop: Shop) -> None:
    file = shop.image("größe a.png").resolve()
    summary = catalog.labels.ingest(shop.labels("image", file.as_uri(), file.name, str(file), images=False))
    assert (summary.images_new, summary.remote_new, summary.quarantined) == (1, 0, ())
    assert [(image.path, image.file) for image in catalog.labels.images()] == [(file.name, file)]


def test_a_file_is_found_below_each_root_it_was_ingested_under_and_where_a_link_leads(
    catalog: Catalog, shop: Shop
) -> None:
    folder = shop.folder.resolve()
    file = shop.image("photos/new/a.png").resolve()
    (folder / "photos/link.png").symlink_to(file)
    for number, (root, path) in enumerate([("", "photos/new/a.png"), ("photos", "new/a.png"), ("photos", "link.png")]):
        labels = shop.labels("image,sku", f"{path},S{number}", name=f"{number}.csv", images=False)
        catalog.labels.ingest(labels, images=folder / root)
    assert [image.sku for image in catalog.labels.images(paths=[file])] == ["S0", "S2"]
    assert {image.file for image in catalog.labels.images()} == {file}
    others = [folder / "photos/link.png", folder / "photos", folder / "a.png", Path("new/a.png"), Path("/")]
    assert catalog.labels.images(paths=others) == []
    (folder / "photos/link.png").unlink()
    shop.image("photos/link.png")  # now it is a file of its own
    catalog.labels.ingest(labels, images=folder / "photos")
    assert [image.sku for image in catalog.labels.images(paths=[file, folder / "photos/link.png"])] == [
        "S0",
        "S2",
        "S2",
    ]
    assert [image.sku for image in catalog.labels.images(paths=[folder / "photos/link.png"])] == ["S2"]


SPELLINGS = (
    "a.png",
    "./a.png",
    "sub/../a.png",
    ".//a.png",
    "sub/up/a.png",
    "{root}/a.png",
    "link.png",
    "sub\\..\\a.png",
)


@pytest.fixture
def linked(shop: Shop) -> Path:
    """A root with one picture, a link to it, and a folder with a link to the root."""
    root = shop.folder.resolve() / "photos"
    shop.image("photos/a.png")
    (root / "sub").mkdir()
    (root / "sub" / "up").symlink_to(root, target_is_directory=True)
    (root / "link.png").symlink_to("a.png")
    return root


@pytest.mark.parametrize("chunk", [1, 1000])
@pytest.mark.parametrize("first", [0, 1, 6])
def test_an_image_is_one_however_a_file_spells_its_path(
    catalog: Catalog, shop: Shop, linked: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, first: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    cells = [text.format(root=linked) for text in (*SPELLINGS[first:], *SPELLINGS[:first])]
    rows = [[cell, "S1", "red" if number == 3 else ""] for number, cell in enumerate(cells)]
    file = shop.labels(["image", "sku", "colour"], *rows, images=False)
    summary = catalog.labels.ingest(file, images=linked)
    assert (summary.images_new, summary.products_new, summary.observations_new) == (1, 1, 1)
    again = catalog.labels.ingest(file, images=linked)
    assert (again.images_new, again.observations_same, again.revision) == (0, 1, summary.revision)
    (image,) = catalog.labels.images(paths=[linked / "a.png"])
    assert (image.state, image.path) == ("ok", "link.png" if first == 6 else "a.png")
    assert catalog.labels.image_ids(["./a.png", "./link.png"]).values() != []


def test_rows_of_one_image_under_two_spellings_must_agree(catalog: Catalog, shop: Shop, linked: Path) -> None:
    file = shop.labels("image,sku", "a.png,S1", "./a.png,S2", images=False)
    with pytest.raises(IngestError, match=r"row 3, column 'sku': image 'a\.png' belongs to 'S1' in an earlier row"):
        catalog.labels.ingest(file, images=linked)
    file = shop.labels("image,neckline", "a.png,crew", "link.png,boat", images=False)
    with pytest.raises(IngestError, match="column 'neckline': the same image has 'crew'"):
        catalog.labels.ingest(file, images=linked)


def test_a_picture_that_is_missing_is_one_too_and_is_known_when_it_comes(catalog: Catalog, shop: Shop) -> None:
    names = ["b.png", "./b.png", ".\\b.png", f"{shop.folder.resolve()}/b.png", "caf\u00e9.png", "cafe\u0301.png"]
    file = shop.labels(["image"], *([name] for name in names), images=False)
    summary = catalog.labels.ingest(file)
    assert [(item.image, item.reason) for item in summary.quarantined] == [
        ("b.png", "file not found"), ("caf\u00e9.png", "file not found")
    ]  # fmt: skip
    shop.image("b.png")
    shop.image("cafe\u0301.png")
    assert catalog.labels.ingest(file).images_new == 0
    assert [image.state for image in catalog.labels.images()] == ["ok", "ok"]
    (found,) = catalog.labels.images(paths=[shop.folder.resolve() / "cafe\u0301.png"])
    assert found.path == "caf\u00e9.png"


def test_two_files_whose_names_look_alike_are_two_images(catalog: Catalog, shop: Shop) -> None:
    names = ["caf\u00e9.png", "cafe\u0301.png", "a\\b.png", "a/b.png"]
    for order in (names, names[::-1]):
        summary = catalog.labels.ingest(shop.labels(["image"], *([name] for name in order)))
        assert summary.quarantined == ()
    assert {image.path for image in catalog.labels.images()} == set(names)


def test_a_path_of_windows_gets_a_hint(catalog: Catalog, shop: Shop) -> None:
    (item,) = catalog.labels.ingest(shop.labels("image", "C:\\photos\\a.png", images=False)).quarantined
    assert item.reason == "file not found; it is a path of Windows, write it as it is below the images root"


def test_new_and_known_images_in_quarantine_are_told_in_the_order_of_the_file(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image", "b.png", "d.png", images=False))
    summary = catalog.labels.ingest(
        shop.labels("image", *(f"{name}.png" for name in "abcd"), images=False, name="all.csv")
    )
    assert [item.image for item in summary.quarantined] == ["a.png", "b.png", "c.png", "d.png"]


def test_a_root_that_is_no_folder_is_refused(catalog: Catalog, shop: Shop) -> None:
    with pytest.raises(IngestError, match=r"the images root .*nowhere is not a folder; give it with --images ROOT"):
        catalog.labels.ingest(shop.labels("image", "a.png"), images=shop.folder / "nowhere")
    assert catalog.labels.counts().images == 0


def test_a_symbolic_link_in_a_circle_is_quarantined(catalog: Catalog, shop: Shop) -> None:
    (shop.folder / "a.png").symlink_to(shop.folder / "a.png")
    (item,) = catalog.labels.ingest(shop.labels("image", "a.png", images=False)).quarantined
    assert item.image == "a.png"


# -- reviews and mined texts -----------------------------------------------------------------------


def test_reviews_come_in_as_observations(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.declare(NECKLINE, "attributree-neckline")
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew|boat", "b.png,"))
    said = [NewObservation(1, "neckline", "boat"), NewObservation(2, "neckline", "crew")]
    assert catalog.labels.observe(said, source="review", annotator="mia") == 2
    revision = catalog.labels.revision()
    assert catalog.labels.observe(said, source="review", annotator="mia") == 0
    assert catalog.labels.revision() == revision
    assert {i: r.values for i, r in catalog.labels.annotations("neckline", [1, 2]).items()} == {
        1: ("boat",),
        2: ("crew",),
    }
    assert catalog.labels.observe([NewObservation(2, "neckline", "boat")], source="review", annotator="tom") == 1
    assert catalog.labels.annotations("neckline", [2])[2].state == "ambiguous"


def test_an_observation_of_nothing_or_on_no_image_is_refused(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image", "a.png"))
    with pytest.raises(UnknownNameError, match="image 99"):
        catalog.labels.observe(
            [NewObservation(1, "neckline", "crew"), NewObservation(99, "neckline", "crew")], source="text"
        )
    with pytest.raises(CatalogError, match="is no text"):
        catalog.labels.observe([NewObservation(1, "neckline", " ")], source="text")
    with pytest.raises(CatalogError, match="'title': that is a reserved column"):
        catalog.labels.observe([NewObservation(1, "title", "A top")], source="text")
    assert catalog.labels.counts().observations == 0


def test_of_a_long_list_that_says_two_things_of_an_image_the_last_one_counts(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attributree.labels.observations._CHUNK", 2)
    catalog.labels.ingest(shop.labels("image", "a.png", "b.png", "c.png"))
    said = [NewObservation(image, "neckline", raw) for raw in ("crew", "boat") for image in (1, 2, 3)]
    assert catalog.labels.observe(said, source="review") == 3
    assert [(image, raw) for image, _, raw, *_ in observations(catalog)] == [(1, "boat"), (2, "boat"), (3, "boat")]


def test_columns_count_what_stands_in_them_whoever_said_it_and_whatever_became_of_it(
    catalog: Catalog, shop: Shop
) -> None:
    def counted() -> dict[str, int]:
        counts = dict(Counter(column for _, column, *_ in observations(catalog)))
        engine = create_engine(catalog.url)
        with engine.connect() as connection:
            assert {name: n for name, n in names.column_counts(connection).items() if n} == counts
        engine.dispose()
        assert catalog.labels.counts().observations == sum(counts.values())
        assert catalog.labels.undeclared() == {name: n for name, n in counts.items() if name != "neckline"}
        return counts

    catalog.labels.declare(NECKLINE, "attributree-neckline")
    header = "image,sku,title,neckline,fabric"
    catalog.labels.ingest(shop.labels(header, "a.png,A,A boat neck,crew,silk", "b.png,B,,boat,", "c.png,C,,,wool"))
    assert counted() == {"neckline": 2, "fabric": 2}
    catalog.labels.ingest(
        shop.labels(header, "a.png,A,,crew,silk", "b.png,B,,crew,", "d.png,D,,boat,felt", name="more.csv")
    )
    assert counted() == {"neckline": 4, "fabric": 3}
    catalog.labels.ingest(shop.labels("image,fit", "a.png,slim", name="fit.csv"), source="supplier")
    catalog.labels.observe([NewObservation(1, "neckline", "boat")], source="review", annotator="ann")
    mine(catalog.labels, {"neckline": NECKLINE})
    assert counted() == {"neckline": 6, "fabric": 3, "fit": 1}
    with pytest.raises(IngestError):
        catalog.labels.ingest(shop.labels("image,neckline,cut", "a.png,crew,short", "a.png,boat,long", name="bad.csv"))
    assert counted() == {"neckline": 6, "fabric": 3, "fit": 1}
    assert catalog.labels.forget(["A"], "mia").observations == 5
    assert counted() == {"neckline": 3, "fabric": 2}


def test_whoever_said_nothing_but_what_is_forgotten_is_forgotten_too(catalog: Catalog, shop: Shop) -> None:
    def voices() -> set[tuple[str, str | None]]:
        engine = create_engine(catalog.url)
        with engine.connect() as connection:
            found = {(row.source, row.annotator) for row in connection.execute(select(VoiceRow))}
        engine.dispose()
        return found

    catalog.labels.ingest(shop.labels("image,sku,neckline", "a.png,A,crew", "b.png,B,boat"))
    catalog.labels.observe([NewObservation(1, "neckline", "boat")], source="review", annotator="jane@x.example")
    catalog.labels.observe([NewObservation(i, "neckline", "boat") for i in (1, 2)], source="review", annotator="ben")
    catalog.labels.forget(["A"], "mia")
    assert voices() == {("import", None), ("review", "ben")}
    catalog.labels.forget(["B"], "mia")
    assert (voices(), catalog.labels.undeclared(), catalog.labels.counts().observations) == (set(), {}, 0)
    catalog.labels.ingest(shop.labels("image,sku,neckline", "a.png,A,crew", name="again.csv"))
    assert (voices(), catalog.labels.undeclared()) == ({("import", None)}, {"neckline": 1})


def test_every_change_has_a_revision_with_its_cause(url: str, shop: Shop) -> None:
    with Catalog.open(url) as catalog:
        catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew"))
        catalog.labels.declare(NECKLINE, "attributree-neckline")
        catalog.labels.observe([NewObservation(1, "neckline", "boat")], source="review")
        catalog.labels.orphan("neckline")
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(select(Revision.id, Revision.cause).order_by(Revision.id)).all()
    engine.dispose()
    assert found == [(1, "ingest"), (2, "declare"), (3, "review"), (4, "orphan")]
