"""Images roots: moved with their project, moved elsewhere, gone."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from attributree.catalog import Catalog
from attributree.errors import CatalogError, IngestError, UnknownNameError
from attributree.labels.export import ExportOptions
from attributree.labels.relocate import Relocated
from attributree.labels.roots import REMOTE
from support.catalogues import Shop


def opened_at(url: str, home: Path) -> Catalog:
    return Catalog.open(url, timeout=5, home=home)


def folders(url: str) -> list[str]:
    """Return the roots as they are stored."""
    engine = create_engine(url)
    with engine.connect() as connection:
        found = list(connection.execute(text("SELECT folder FROM images_root ORDER BY id")).scalars())
    engine.dispose()
    return found


def test_a_project_is_moved_with_its_images(url: str, shop: Shop, tmp_path: Path) -> None:
    shop.image("photos/new/a.png")
    (shop.folder / "photos/link.png").symlink_to("new/a.png")
    shop.image("photos/b.png")
    file = shop.labels("image,sku", "link.png,S1", "b.png,S2", images=False)
    outside = tmp_path.resolve() / "outside"
    with opened_at(url, shop.folder) as catalog:
        assert catalog.labels.ingest(file, images=shop.folder / "photos").images_new == 2
        catalog.labels.ingest(Shop(outside).labels("image,sku", "c.png,S3"))
    assert folders(url) == ["photos", str(outside)]
    moved = shop.folder.rename(tmp_path / "what? %20 größe").resolve()
    a, b, c = moved / "photos/new/a.png", moved / "photos/b.png", outside / "c.png"
    with opened_at(url, moved) as catalog:
        summary = catalog.labels.ingest(moved / "labels.csv", images=moved / "photos")
        assert (summary.images_new, summary.products_new, summary.quarantined) == (0, 0, ())
        assert [image.file for image in catalog.labels.images()] == [a, b, c]
        assert [[i.sku for i in catalog.labels.images(paths=[path])] for path in (a, b, c)] == [["S1"], ["S2"], ["S3"]]
        exported = catalog.labels.export(moved / "export.csv", "csv", ExportOptions(images=moved / "photos"))
        assert (exported.images, exported.roots) == (2, (str(moved / "photos"),))
        assert catalog.labels.root_warnings() == []


def test_the_folder_of_the_configuration_may_be_a_root_and_be_reached_by_a_link(
    url: str, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(shop.folder)
    file = shop.labels("image", "a.png")
    with opened_at(url, tmp_path / "link") as catalog:
        catalog.labels.ingest(file)
        assert catalog.labels.ingest(tmp_path / "link/labels.csv", images=tmp_path / "link").images_new == 0
    assert folders(url) == ["."]


def test_a_root_that_became_a_link_is_the_same_root(url: str, shop: Shop, tmp_path: Path) -> None:
    file = shop.labels("image,sku", "photos/a.png,S1")
    labels = shop.labels("image,sku", "a.png,S1", images=False)
    with opened_at(url, shop.folder) as catalog:
        catalog.labels.ingest(file, images=shop.folder / "photos")
        (shop.folder / "photos").rename(tmp_path / "large disk")
        (shop.folder / "photos").symlink_to(tmp_path / "large disk")
        assert catalog.labels.ingest(labels, images=shop.folder / "photos").images_new == 0
        found = catalog.labels.images(paths=[(shop.folder / "photos/a.png").resolve()])
        assert [image.sku for image in found] == ["S1"]


def test_what_an_older_attributree_stored_is_kept_relative_at_the_first_write(url: str, shop: Shop) -> None:
    folder = shop.folder.resolve()
    with opened_at(url, folder) as catalog:
        catalog.labels.ingest(shop.labels("image,sku", "photos/a.png,S1", "photos/b.png,S2"), images=folder / "photos")
        catalog.labels.ingest(shop.labels("image,sku", "c.png,S3"), images=folder)
    engine = create_engine(url)
    with engine.begin() as connection:  # roots, and where a link leads, as they were stored before
        for was, now in (("photos", f"{folder}/photos"), (".", str(folder))):
            connection.execute(
                text("UPDATE images_root SET folder = :now WHERE folder = :was"), {"was": was, "now": now}
            )
        file = {"file": f"{folder}/photos/photos/a.png"}
        connection.execute(text("UPDATE image SET file = :file WHERE path = 'photos/a.png'"), file)
    engine.dispose()
    files = [folder / "photos/photos/a.png", folder / "photos/photos/b.png", folder / "c.png"]
    with opened_at(url, folder) as catalog:
        for adopted in (False, True):
            if adopted:
                catalog.labels.quarantine({2: "a write"})
            assert [image.file for image in catalog.labels.images()] == files
            assert [image.sku for image in catalog.labels.images(paths=files)] == ["S1", "S2", "S3"]
    assert folders(url) == ["photos", "."]
    engine = create_engine(url)
    with engine.connect() as connection:
        stored = connection.execute(text("SELECT file FROM image WHERE file IS NOT NULL")).scalars().all()
    engine.dispose()
    assert stored == ["photos/a.png"]


def test_without_a_configuration_roots_are_kept_as_they_are(
    url: str, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.folder)
    with Catalog.open(url) as catalog:
        catalog.labels.ingest(shop.labels("image", "a.png"))
    assert folders(url) == [str(shop.folder.resolve())]


def test_a_root_is_moved_elsewhere_with_all_that_was_said(catalog: Catalog, shop: Shop, tmp_path: Path) -> None:
    old = shop.folder.resolve()
    catalog.labels.ingest(shop.labels("image,sku,colour", "a.png,S1,red", "b.png,S2,blue"))
    assert catalog.labels.root_warnings() == []
    new = shop.folder.rename(tmp_path / "to the right").resolve()
    assert catalog.labels.root_warnings() == [
        f"the images root {old} is gone; if it was moved, type: attributree relocate {old} NEW"
    ]
    command = f"attributree relocate {old} '{new}'"
    with pytest.raises(IngestError, match=f"2 of its images are known below {old}, which is gone.* type: {command}"):
        catalog.labels.ingest(new / "labels.csv")
    (new / "b.png").unlink()
    before = catalog.labels.revision()
    assert catalog.labels.relocate(old, new, "mia") == Relocated(str(old), str(new), 2, 1)
    assert catalog.labels.revision() == before + 1
    assert [image.file for image in catalog.labels.images()] == [new / "a.png", new / "b.png"]
    assert catalog.labels.ingest(new / "labels.csv").images_new == 0
    assert catalog.labels.relocate(new, new, "mia").found == 1  # it is there already
    assert catalog.labels.counts().observations == 2


def test_urls_lie_below_no_folder_and_stay_when_folders_move(url: str, shop: Shop, tmp_path: Path) -> None:
    far = "https://cdn.example/a.png"
    shop.image("b.png")
    file = shop.labels("image,sku", f"{far},S1", "b.png,S2", images=False)
    with opened_at(url, shop.folder) as catalog:
        assert catalog.labels.ingest(file).remote_new == 1
    assert folders(url) == [REMOTE, "."]
    moved = shop.folder.rename(tmp_path / "moved").resolve()
    with opened_at(url, moved) as catalog:
        catalog.labels.adopt_roots()
        assert folders(url) == [REMOTE, "."]
        assert catalog.labels.ingest(moved / "labels.csv").images_new == 0
        assert catalog.labels.root_warnings() == []
        with pytest.raises(UnknownNameError, match=r"no images root \(there: [^,]*moved\)"):
            catalog.labels.relocate(Path(REMOTE), moved, "mia")
        new = Shop(tmp_path.resolve() / "new")
        new.image("b.png")
        assert catalog.labels.relocate(moved, new.folder, "mia").images == 1
        assert [image.file for image in catalog.labels.images()] == [far, new.folder / "b.png"]
        assert [p.images[0].file for p in next(catalog.labels.product_pages())] == [far, new.folder / "b.png"]
        assert [i.sku for i in catalog.labels.images(paths=["HTTPS://CDN.example/a.png#front"])] == ["S1"]
        exported = catalog.labels.export(tmp_path / "export.csv", "csv", ExportOptions(images=new.folder))
        assert (exported.images, exported.roots) == (2, (str(new.folder),))
        new.folder.rename(tmp_path / "away")
        assert len(catalog.labels.root_warnings()) == 1
        feed = Shop(tmp_path / "feed")
        feed.folder.mkdir()
        assert catalog.labels.ingest(feed.labels("image,sku", f"{far},S1", images=False)).images_new == 0


def test_the_likely_place_of_a_root_is_named(url: str, shop: Shop, tmp_path: Path) -> None:
    elsewhere = Shop(tmp_path / "elsewhere/shop")
    with opened_at(url, shop.folder) as catalog:
        catalog.labels.ingest(elsewhere.labels("image", "photos/a.png"), images=elsewhere.folder / "photos")
        (elsewhere.folder / "photos").rename(shop.folder / "photos")
        (warning,) = catalog.labels.root_warnings()
        assert warning.endswith(f"relocate {elsewhere.folder.resolve()}/photos {shop.folder.resolve()}/photos")


def test_a_root_may_be_moved_into_another_unless_images_would_meet(
    catalog: Catalog, shop: Shop, tmp_path: Path
) -> None:
    other = Shop(tmp_path / "other")
    catalog.labels.ingest(shop.labels("image,sku", "a.png,S1"))
    catalog.labels.ingest(other.labels("image,sku", "a.png,S2", "b.png,S3"))
    with pytest.raises(CatalogError, match=r"1 images of .*other are known below .*shop too"):
        catalog.labels.relocate(other.folder, shop.folder, "mia")
    catalog.labels.forget(["S1"], "mia")
    catalog.labels.relocate(other.folder, shop.folder, "mia")
    assert [(i.sku, i.file.parent) for i in catalog.labels.images()] == [
        ("S2", shop.folder.resolve()),
        ("S3", shop.folder.resolve()),
    ]
    assert catalog.labels.ingest(shop.labels("image,sku", "a.png,S2", "b.png,S3")).images_new == 0


def test_a_root_is_not_moved_to_where_its_images_are_not(catalog: Catalog, shop: Shop, tmp_path: Path) -> None:
    catalog.labels.ingest(shop.labels("image", "a.png"))
    with pytest.raises(CatalogError, match=r"none of the 1 images of .*shop is in .*; nothing was changed"):
        catalog.labels.relocate(shop.folder, tmp_path, "mia")
    with pytest.raises(CatalogError, match="nowhere is not a folder"):
        catalog.labels.relocate(shop.folder, tmp_path / "nowhere", "mia")
    with pytest.raises(UnknownNameError, match=r"typo is no images root \(there: .*shop\)"):
        catalog.labels.relocate(tmp_path / "typo", tmp_path, "mia")


def test_other_pictures_of_the_same_names_come_in_once_the_former_folder_is_there(
    catalog: Catalog, shop: Shop, tmp_path: Path
) -> None:
    catalog.labels.ingest(shop.labels("image,sku", "a.png,S1"))
    shop.folder.rename(tmp_path / "sold")
    other = Shop(tmp_path / "other").labels("image,sku", "a.png,S2")
    with pytest.raises(IngestError, match="If these are other pictures, create an empty folder there"):
        catalog.labels.ingest(other)
    shop.folder.mkdir()
    assert catalog.labels.ingest(other).images_new == 1
