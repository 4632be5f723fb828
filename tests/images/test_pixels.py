"""The pixel store: every photo decoded once, by the content of its file."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from attributree.images.decode import decode_image
from attributree.images.pixels import Decoded, Photo, PixelStore


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (40, 30)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    return [Photo(10 + i, paint(tmp_path / f"{i}.png", (40 * i, 0, 0))) for i in range(4)]


@pytest.fixture
def store(tmp_path: Path) -> PixelStore:
    return PixelStore(tmp_path / "cache", 32)


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr("attributree.images.pixels.decode_image", decode)


def test_photos_are_stored_under_the_digest_of_their_file(store: PixelStore, photos: list[Photo]) -> None:
    decoded = store.fill(photos)
    assert decoded.failed == {}
    assert decoded.digests == {p.id: hashlib.sha256(p.file.read_bytes()).hexdigest() for p in photos}
    pixels = store.read([decoded.digests[p.id] for p in photos])
    assert pixels.dtype == np.uint8
    for photo, mine in zip(photos, pixels, strict=True):
        assert np.array_equal(mine, decode_image(photo.file, 32)[0])


def test_a_known_digest_is_not_decoded_again(
    store: PixelStore, photos: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = store.fill(photos).digests
    forbid_decoding(monkeypatch)
    known = [Photo(p.id, p.file, digests[p.id]) for p in photos]
    assert store.fill(known) == Decoded(digests, {})


def test_a_known_digest_outlives_its_file_only_while_its_pixels_are_stored(
    store: PixelStore, photos: list[Photo], tmp_path: Path
) -> None:
    digests = store.fill(photos).digests
    photos[0].file.unlink()
    gone = Photo(photos[0].id, photos[0].file, digests[photos[0].id])
    assert store.fill([gone]).digests == {gone.id: gone.digest}
    assert PixelStore(tmp_path / "empty", 32).fill([gone]).failed == {gone.id: "file not found"}


def test_a_photo_that_cannot_be_read_is_reported_and_the_others_are_stored(
    store: PixelStore, photos: list[Photo], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"<html>")
    decoded = store.fill([photos[0], Photo(99, bad), photos[1]])
    assert set(decoded.digests) == {10, 11}
    assert set(decoded.failed) == {99}
    assert "not an image" in decoded.failed[99]
    assert len(store) == 2


def test_two_photos_of_the_same_content_are_one_record(store: PixelStore, tmp_path: Path) -> None:
    same = [Photo(i, paint(tmp_path / f"{i}.png", (9, 9, 9))) for i in (1, 2)]
    digests = store.fill(same).digests
    assert digests[1] == digests[2]
    assert len(store) == 1


def test_progress_counts_every_photo_once(
    store: PixelStore, photos: list[Photo], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attributree.images.pixels._CHUNK", 2)
    seen: list[int] = []
    digests = store.fill(photos[:2]).digests
    known = [Photo(p.id, p.file, digests.get(p.id)) for p in photos]
    store.fill([*known, Photo(99, tmp_path / "none.png")], seen.append, workers=2)
    assert sum(seen) == 5


def test_sizes_have_stores_of_their_own(tmp_path: Path, photos: list[Photo]) -> None:
    small, large = PixelStore(tmp_path, 32), PixelStore(tmp_path, 48)
    small.fill(photos)
    assert len(large) == 0
    assert large.folder != small.folder


def test_no_photos_are_no_work(store: PixelStore) -> None:
    assert store.fill([]) == Decoded()
