"""Where weights come from: a plugin's are checked before they are read, a folder's by its config.json."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from attributree import PretrainedWeights, hookimpl
from attributree.errors import SchemaError, TrunkError
from attributree.nn.sources import RANDOM, find_weights
from attributree.nn.transform import BICUBIC, IMAGENET_MEAN, IMAGENET_STD, Transform
from attributree.nn.trunk import TrunkSpec, build_backbone
from attributree.nn.weights import write_weights
from attributree.plugins import LoadedPlugins, load_plugins

TINY = "test_resnet"


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(5)
    weights: dict[str, Tensor] = timm.create_model(TINY).state_dict()
    return weights


@pytest.fixture
def offer(tmp_path: Path, state: dict[str, Tensor]) -> PretrainedWeights:
    file = tmp_path / "tiny.safetensors"
    save_file(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return PretrainedWeights("tiny-shop", TINY, file, digest, licence="CC0-1.0", trained_on="nothing")


def plugin(*offers: PretrainedWeights) -> SimpleNamespace:
    return SimpleNamespace(attributree_weights=hookimpl(lambda: list(offers)))


def load(**plugins: object) -> LoadedPlugins:
    return load_plugins(entry_points=(), extra=plugins)


def spec(weights: str, **changes: Any) -> TrunkSpec:
    return TrunkSpec(**{"backbone": TINY, "image_size": 64, "weights": weights, **changes})


# -- a plugin's ------------------------------------------------------------------------------------


def test_a_plugin_s_weights_are_loaded_by_name(offer: PretrainedWeights, state: dict[str, Tensor]) -> None:
    backbone = build_backbone(spec("tiny-shop"), plugins=load(shop=plugin(offer)))
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbone.state().items())
    assert backbone.spec.origin == f"shop, sha256 {offer.sha256[:12]}"


def test_a_plugin_says_how_its_images_were_prepared(offer: PretrainedWeights) -> None:
    own = replace(offer, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="lanczos")
    backbone = build_backbone(spec("tiny-shop"), plugins=load(shop=plugin(own)))
    assert backbone.transform == Transform(64, "lanczos", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert backbone.trunk.std.flatten().tolist() == [0.25, 0.25, 0.25]


def test_names_may_be_a_plugin_s_own_if_it_reads_them(offer: PretrainedWeights, state: dict[str, Tensor]) -> None:
    def read(path: Path) -> dict[str, Tensor]:
        assert path == offer.file
        return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in state.items()}

    backbone = build_backbone(spec("tiny-shop"), plugins=load(shop=plugin(replace(offer, read=read))))
    assert torch.equal(backbone.state()["conv1.0.weight"], state["conv1.0.weight"] + 1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sha256": "0" * 64}, r"tiny.safetensors has the SHA-256 \w{64}, not 0{64}; it was changed"),
        ({"file": Path("/nowhere/tiny.safetensors")}, "/nowhere/tiny.safetensors cannot be read: No such file"),
        ({"read": lambda path: {}}, r"of another architecture: test_resnet needs conv1\S+ .*the file has none"),
        ({"read": lambda path: 1 / 0}, "raised ZeroDivisionError: division by zero reading .*tiny.safetensors"),
        ({"read": lambda path: ["a"]}, "what its `read` returned are no tensors by name"),
    ],
)
def test_weights_that_are_not_what_they_should_be_are_refused_and_their_plugin_named(
    changes: dict[str, Any], reason: str, offer: PretrainedWeights
) -> None:
    with pytest.raises(TrunkError, match=f"trunk -> weights: 'tiny-shop' of plugin 'shop'.*{reason}") as caught:
        build_backbone(spec("tiny-shop"), plugins=load(shop=plugin(replace(offer, **changes))))
    assert "\n" not in str(caught.value)


def test_weights_of_another_backbone_are_refused_with_what_to_write(offer: PretrainedWeights) -> None:
    with pytest.raises(
        TrunkError, match=r'are weights of test_resnet, not of resnet18; write backbone = "test_resnet"'
    ):
        build_backbone(spec("tiny-shop", backbone="resnet18"), plugins=load(shop=plugin(offer)))


def test_a_name_that_no_plugin_offers_is_refused_with_those_there_are(offer: PretrainedWeights) -> None:
    with pytest.raises(TrunkError) as caught:
        build_backbone(spec("tiny-shp"), plugins=load(shop=plugin(offer)))
    assert str(caught.value) == (
        "trunk -> weights: no installed plugin offers 'tiny-shp'; did you mean 'tiny-shop'? There are: hub, random, "
        "tiny-shop. A file's name ends in .safetensors. See `attributree weights list`"
    )


def test_a_name_that_two_plugins_offer_is_given_to_neither(offer: PretrainedWeights) -> None:
    with pytest.raises(TrunkError, match=r"plugin 'a' and plugin 'b': the weights .tiny-shop. are offered more than"):
        build_backbone(spec("tiny-shop"), plugins=load(a=plugin(offer), b=plugin(offer)))


def test_without_loading_weights_no_plugin_is_asked() -> None:
    assert build_backbone(spec("tiny-shop"), load_weights=False).out_channels > 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "hub"}, "the name is attributree's own"),
        ({"name": "Tiny Shop"}, "must be small letters"),
        ({"name": "tiny.safetensors"}, "no file's"),
        ({"sha256": "abc"}, "64 hex digits"),
        ({"licence": " "}, "licence must be a text"),
        ({"file": "tiny"}, "file must be a pathlib.Path, not str"),
        ({"mean": (1.0, 2.0)}, "mean must be three numbers in 0..1"),
    ],
)
def test_a_bad_declaration_is_refused_with_its_field(
    changes: dict[str, Any], reason: str, offer: PretrainedWeights
) -> None:
    with pytest.raises(SchemaError, match=reason):
        replace(offer, **changes)


# -- a folder's and a file's -----------------------------------------------------------------------


def a_folder(folder: Path, state: dict[str, Tensor], architecture: str = TINY, **config: Any) -> str:
    """Write a folder as timm's `save_for_hf` does and return how settings name it."""
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": architecture, **config}))
    return f"local-dir:{folder}"


def test_a_folder_as_timm_writes_one_is_loaded_with_how_its_images_are_prepared(
    tmp_path: Path, state: dict[str, Tensor]
) -> None:
    config = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "crop_pct": 0.8}
    weights = a_folder(tmp_path / "clothes", state, pretrained_cfg=config)
    backbone = build_backbone(spec(weights))
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbone.state().items())
    assert backbone.transform == Transform(64, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_folder_that_is_not_timm_s_or_another_backbone_s_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    with pytest.raises(TrunkError, match=r"gone has no config.json that can be read \(No such file"):
        build_backbone(spec(f"local-dir:{tmp_path / 'gone'}"))
    other = a_folder(tmp_path / "other", state, architecture="resnet50")
    with pytest.raises(TrunkError, match='holds weights of resnet50, not of test_resnet; write backbone = "resnet50"'):
        build_backbone(spec(other))
    pickled = a_folder(tmp_path / "pickled", state)
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(TrunkError, match=r"has no model.safetensors; other formats can run code"):
        build_backbone(spec(pickled))


def test_a_file_says_in_its_metadata_how_its_images_were_prepared(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path, prepared = tmp_path / "own.safetensors", Transform(64, "box", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    write_weights(path, state, {"prepared": prepared.to_json()})
    assert build_backbone(spec(str(path))).transform == prepared
    write_weights(path, state, {"prepared": "not JSON"})
    assert build_backbone(spec(str(path))).transform.interpolation == "bilinear"  # timm's, for test_resnet


def test_a_way_to_resample_that_pillow_has_not_is_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    weights = a_folder(tmp_path / "odd", state, pretrained_cfg={"interpolation": "random"})
    with pytest.raises(TrunkError, match="resampled by 'random', which Pillow has not; it has nearest, bilinear"):
        build_backbone(spec(weights))


def test_the_hub_s_weights_are_named_by_their_repository() -> None:
    assert find_weights("resnet34", "hub").origin == "hub: timm/resnet34.a1_in1k"
    assert find_weights("resnet34.tv_in1k", "hub").origin == "hub: timm/resnet34.tv_in1k"


# -- how images are prepared -----------------------------------------------------------------------


def test_a_stored_trunk_goes_on_as_it_was_made() -> None:
    """Before images could be prepared otherwise they were resampled bicubically, whatever timm says of a backbone."""
    made = build_backbone(spec(RANDOM)).spec
    assert (made.interpolation, made.branch_at, made.last_stage) == ("bilinear", "layer4", "layer4")
    old = {"backbone": TINY, "branch_at": "layer4", "image_size": 64, "weights": RANDOM}
    recorded = TrunkSpec.recorded(old)
    assert build_backbone(recorded, load_weights=False).transform.interpolation == BICUBIC
    again = TrunkSpec.recorded(json.loads(json.dumps({**made.__dict__, "a later version's": 1})))
    assert again == made


def test_features_are_named_as_before_where_images_are_prepared_as_before() -> None:
    digest, plain = "d" * 64, Transform(224)
    assert (plain.interpolation, plain.mean, plain.std) == (BICUBIC, IMAGENET_MEAN, IMAGENET_STD)
    assert plain.key(digest) == digest
    others = [
        Transform(224, "bilinear"),
        Transform(224, mean=(0.5, 0.5, 0.5)),
        Transform(224, std=(0.5, 0.5, 0.5)),
    ]
    keys = {each.key(digest) for each in others}
    assert len(keys) == 3
    assert digest not in keys
    assert all(len(key) == 64 for key in keys)
