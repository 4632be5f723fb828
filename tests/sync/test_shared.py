"""Pictures in several splits are found by their bytes, before anything is trained."""

from pathlib import Path

import pytest

from attributree.catalog import Catalog
from attributree.labels.records import SharedPicture
from attributree.sync import shared
from attributree.sync.shared import shared_pictures
from support.catalogues import Shop


def test_a_picture_under_two_skus_in_two_splits_is_found(catalog: Catalog, shop: Shop) -> None:
    rows = [
        "a.png,S1,train",
        "copy.png,S2,test",
        "b.png,S3,train",
        "again.png,S4,train",
        "c.png,S5,val",
        "away.png,S6,val",
    ]
    catalog.labels.ingest(shop.labels("image,sku,split", *rows))
    for name, size in (("b.png", 100), ("again.png", 100), ("c.png", 200)):
        shop.image(name, size=(size, size))
    catalog.labels.ingest(shop.folder / "labels.csv")
    assert [image.digest for image in catalog.labels.images()] == [None] * 6
    (shop.folder / "away.png").unlink()
    found = SharedPicture((("a.png", "S1", "train"), ("copy.png", "S2", "test")))
    assert shared_pictures(catalog) == (found,)
    known = [image.path for image in catalog.labels.images() if image.digest]
    assert known == ["a.png", "copy.png"]  # no other is as large as one of another split
    catalog.labels.ingest(shop.labels("image,sku,split", "copy.png,S2,train", name="mended.csv"))
    assert shared_pictures(catalog) == ()


def test_files_are_read_in_portions_and_each_once(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.labels.ingest(
        shop.labels("image,sku,split", *(f"{n}.png,{n},{s}" for n, s in enumerate(["train", "val"] * 3)))
    )
    monkeypatch.setattr(shared, "_AT_ONCE", 4)
    read: list[str] = []
    before = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path.name) or before(path))
    for places in (2, 2, 2):
        assert [len(picture.places) for picture in shared_pictures(catalog)] == [places]
    assert read == [f"{n}.png" for n in range(6)]


def test_products_are_counted_a_split(catalog: Catalog, shop: Shop) -> None:
    assert catalog.labels.products_per_split() == {"train": 0, "val": 0, "test": 0}
    catalog.labels.ingest(shop.labels("image,sku,split", "a.png,S1,train", "b.png,S2,train", "c.png,S3,test"))
    assert catalog.labels.products_per_split() == {"train": 2, "val": 0, "test": 1}
