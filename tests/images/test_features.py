"""The activation store: the trunk's features are computed once and are the same numbers as computed now."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from attributree.errors import ArtifactError
from attributree.images.features import ActivationStore, fill_features
from attributree.images.pixels import Photo, PixelStore
from attributree.nn.trunk import MAPS, PYRAMID, Trunk

CPU = torch.device("cpu")
DIGEST = "ab" * 32


@pytest.fixture
def trunk() -> Trunk:
    torch.manual_seed(0)
    block = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4, padding=1), nn.BatchNorm2d(4))
    return Trunk({"stem": block}, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), ["stem"]).eval()


@pytest.fixture
def pixels(tmp_path: Path) -> PixelStore:
    """Five photos of noise in a pixel store of 32 pixels."""
    rng = np.random.default_rng(0)
    photos = []
    for i in range(5):
        path = tmp_path / f"{i}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        photos.append(Photo(i, path))
    store = PixelStore(tmp_path, 32)
    store.fill(photos)
    return store


def digests(pixels: PixelStore) -> list[str]:
    return sorted(pixels._rows, key=pixels._rows.__getitem__)


def make(tmp_path: Path, *, mirrored: bool = False, digest: str = DIGEST) -> ActivationStore:
    return ActivationStore(tmp_path, digest, 32, (4, 8, 8), mirrored=mirrored)


def test_stored_features_are_those_the_trunk_computes_now(tmp_path: Path, trunk: Trunk, pixels: PixelStore) -> None:
    store, wanted = make(tmp_path), digests(pixels)
    fill_features({MAPS: store}, trunk, pixels, wanted, CPU)
    with torch.no_grad():
        now = trunk(torch.from_numpy(pixels.read(wanted)))
    stored = store.read(wanted)
    assert stored.dtype == np.float16
    assert np.array_equal(stored, now.numpy())


def test_mirrored_features_are_those_of_the_mirror_image(tmp_path: Path, trunk: Trunk, pixels: PixelStore) -> None:
    plain, store, wanted = make(tmp_path), make(tmp_path, mirrored=True), digests(pixels)
    fill_features({MAPS: plain}, trunk, pixels, wanted, CPU)
    fill_features({MAPS: store}, trunk, pixels, wanted, CPU)
    with torch.no_grad():
        now = trunk(torch.from_numpy(np.ascontiguousarray(pixels.read(wanted)[:, :, ::-1])))
    assert np.array_equal(store.read(wanted), now.numpy())
    assert not np.array_equal(store.read(wanted), plain.read(wanted))


def test_what_is_stored_is_not_computed_again(tmp_path: Path, trunk: Trunk, pixels: PixelStore) -> None:
    store, wanted = make(tmp_path), digests(pixels)
    fill_features({MAPS: store}, trunk, pixels, wanted[:3], CPU)
    seen: list[int] = []
    trunk.units.stem.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    fill_features({MAPS: store}, trunk, pixels, wanted, CPU)
    assert seen == [2]
    fill_features({MAPS: store}, trunk, pixels, wanted, CPU)
    assert seen == [2]


def test_a_trunk_in_training_mode_is_switched_to_evaluation(tmp_path: Path, trunk: Trunk, pixels: PixelStore) -> None:
    before = {name: tensor.clone() for name, tensor in trunk.state_dict().items()}
    fill_features({MAPS: make(tmp_path)}, trunk.train(), pixels, digests(pixels), CPU)
    assert not trunk.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trunk.state_dict().items())


def test_progress_counts_every_photo_once(
    tmp_path: Path, trunk: Trunk, pixels: PixelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attributree.images.features._BATCH", 2)
    store, wanted, seen = make(tmp_path), digests(pixels), list[int]()
    fill_features({MAPS: store}, trunk, pixels, wanted[:1], CPU)
    fill_features({MAPS: store}, trunk, pixels, [*wanted, *wanted], CPU, seen.append)
    assert seen == [1, 2, 2]


def test_maps_and_pyramids_are_computed_in_one_pass_and_only_where_one_is_missing(
    tmp_path: Path, trunk: Trunk, pixels: PixelStore
) -> None:
    wanted, seen = digests(pixels), list[int]()
    maps, pyramid = make(tmp_path), ActivationStore(tmp_path, DIGEST, 32, (80,), kind=PYRAMID)
    fill_features({MAPS: maps}, trunk, pixels, wanted[:2], CPU)
    trunk.units.stem.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    fill_features({MAPS: maps, PYRAMID: pyramid}, trunk, pixels, wanted, CPU)
    assert seen == [len(wanted)]
    fill_features({PYRAMID: pyramid, MAPS: maps}, trunk, pixels, wanted, CPU)
    assert seen == [len(wanted)]
    with torch.no_grad():
        now = trunk.features(torch.from_numpy(pixels.read(wanted)))
    assert np.array_equal(maps.read(wanted), now[MAPS].numpy())
    assert np.array_equal(pyramid.read(wanted), now[PYRAMID].numpy())


def test_another_trunk_has_another_store(tmp_path: Path) -> None:
    assert make(tmp_path).folder != make(tmp_path, digest="cd" * 32).folder


def test_features_of_another_shape_are_refused(tmp_path: Path, trunk: Trunk, pixels: PixelStore) -> None:
    make(tmp_path)
    with pytest.raises(ArtifactError, match="another shape"):
        ActivationStore(tmp_path, DIGEST, 32, (4, 4, 4))
