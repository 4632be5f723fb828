"""Splitting timm backbones, and the weights they start from. Nothing in here reaches for a network."""

import copy
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from attributree.errors import TrunkError
from attributree.heads import spatial_pyramid
from attributree.nn.cut import last_stage
from attributree.nn.sources import HUB, RANDOM
from attributree.nn.trunk import MAPS, PYRAMID, Backbone, TrunkSpec, build_backbone
from attributree.nn.weights import standard_names, write_weights

TINY = "test_resnet"


def tiny(weights: str = RANDOM, **changes: Any) -> TrunkSpec:
    return TrunkSpec(**{"backbone": TINY, "branch_at": "layer4", "image_size": 64, "weights": weights, **changes})


def save_weights(path: Path, backbone: str = TINY, **options: Any) -> dict[str, Tensor]:
    """Write random weights of a whole backbone and return them."""
    torch.manual_seed(5)
    weights: dict[str, Tensor] = timm.create_model(backbone, **options).state_dict()
    save_file(weights, path)
    return weights


def run(backbone: Backbone, pixels: Tensor) -> Tensor:
    """Return what the upper part makes of the trunk's features."""
    with torch.no_grad():
        top = backbone.trunk(pixels).float()
        for unit in backbone.upper.values():
            top = unit(top)
    return top


def pictures(count: int, size: int = 64) -> Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


# -- splitting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "branch_at", "units", "channels"),
    [
        ("resnet18", "layer4", ["layer4_0", "layer4_1"], 512),
        ("resnet34", "layer4", ["layer4_0", "layer4_1", "layer4_2"], 512),
        ("resnet18", "layer3", ["layer3_0", "layer3_1", "layer4_0", "layer4_1"], 512),
        ("convnext_atto", "stages_3", ["stages_3"], 320),
        ("convnext_atto", "stages.3", ["stages_3"], 320),
        ("regnetx_002", "s4", ["s4"], 368),
        ("mobilenetv3_small_050", "blocks.4", ["blocks_4", "blocks_5"], 288),
        ("test_efficientnet", "blocks_4", ["blocks_4"], 64),
        ("test_byobnet", "stages_3", ["stages_3_0", "final_conv"], 256),
        ("test_nfnet", "stages_3", ["stages_3_0", "final_conv"], 192),
        ("densenet121", "features.denseblock4", ["features_denseblock4", "features_norm5"], 1024),
    ],
)
def test_a_backbone_is_split_at_a_stage(name: str, branch_at: str, units: list[str], channels: int) -> None:
    backbone = build_backbone(TrunkSpec(name, branch_at, 64, RANDOM))
    assert list(backbone.upper) == units
    assert backbone.out_channels == channels
    top = run(backbone, pictures(2))
    assert top.shape[:2] == (2, channels)
    with torch.no_grad():
        features = backbone.trunk.features(pictures(2))
    assert {what: tensor.shape[1:] for what, tensor in features.items()} == {
        MAPS: backbone.shapes[MAPS],
        PYRAMID: backbone.shapes[PYRAMID],
    }


@pytest.mark.parametrize(
    ("name", "branch_at", "channels"),
    [
        ("resnet34", "layer4", [64, 64, 128, 256]),
        ("resnet34", "layer3", [64, 64, 128]),
        ("resnet34", "layer4_1", [64, 64, 128, 256, 512]),
        ("convnext_atto", "stages_3", [40, 80, 160]),
    ],
)
def test_the_pyramid_is_every_stage_of_the_trunk_cell_by_cell(name: str, branch_at: str, channels: list[int]) -> None:
    backbone = build_backbone(TrunkSpec(name, branch_at, 64, RANDOM))
    trunk, pixels, seen = backbone.trunk, pictures(2), list[Tensor]()
    for unit in trunk.stages:
        trunk.units.get_submodule(unit).register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        features = trunk.features(pixels)
        assert [maps.shape[1] for maps in seen] == channels
        expected = torch.cat([spatial_pyramid(maps, ((1, 1), (3, 3))) for maps in seen], dim=1)
        assert torch.equal(features[PYRAMID], expected.half())
        assert backbone.pyramid_features == 20 * sum(channels)
        assert torch.equal(features[MAPS], trunk(pixels))
        assert torch.equal(features[MAPS], trunk.features(pixels, (MAPS,))[MAPS])
        assert list(trunk.features(pixels, (PYRAMID,))) == [PYRAMID]


def test_both_halves_together_are_the_whole_backbone(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[nn.Module] = []
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *a, **k: built.append(create(*a, **k)) or built[-1])
    backbone = build_backbone(tiny())
    pixels = pictures(2)
    images = (pixels.permute(0, 3, 1, 2).float() / 255 - backbone.trunk.mean) / backbone.trunk.std
    with torch.no_grad():
        whole = built[0](images)[-1]
    assert torch.allclose(run(backbone, pixels), whole, atol=0.02)  # the features are rounded to float16


def test_features_are_float16_and_float32_while_the_trunk_trains() -> None:
    trunk = build_backbone(tiny()).trunk
    assert not trunk.training
    assert trunk(pictures(1)).dtype == torch.float16
    assert trunk.train()(pictures(2)).dtype == torch.float32


def test_mean_and_deviation_are_the_backbone_s_and_no_weights() -> None:
    trunk = build_backbone(tiny()).trunk
    config = timm.get_pretrained_cfg(TINY)
    assert trunk.mean.flatten().tolist() == pytest.approx(list(config.mean))
    assert trunk.std.flatten().tolist() == pytest.approx(list(config.std))
    assert not {"mean", "std"} & set(trunk.state_dict())


def test_an_unknown_backbone_is_refused_with_those_near_it() -> None:
    with pytest.raises(TrunkError, match=r"trunk -> backbone: timm has no 'resnet1888'; near it: .*resnet18"):
        build_backbone(tiny(backbone="resnet1888"))


@pytest.mark.parametrize("stage", ["layer9", "conv1", "layer"])
def test_a_branch_point_that_is_no_stage_or_the_first_is_refused_with_the_stages(stage: str) -> None:
    with pytest.raises(TrunkError, match=r"trunk -> branch_at: test_resnet has no stage '.*' above its first.*layer3"):
        build_backbone(tiny(branch_at=stage))


@pytest.mark.parametrize(
    ("name", "stages", "last"),
    [
        ("resnet18", "bn1, act1, maxpool, layer1, layer2, layer3, layer4", "layer4"),
        ("test_efficientnet", "bn1, blocks_0, blocks_1, blocks_2, blocks_3, blocks_4", "blocks_4"),
        ("test_convnext", "stem_1, stages_0, stages_1, stages_2, stages_3", "stages_3"),
        ("test_vit", "blocks_0, blocks_1, blocks_3, blocks_4", "blocks_4"),
    ],
)
def test_a_family_s_own_stages_are_named(name: str, stages: str, last: str) -> None:
    with pytest.raises(
        TrunkError, match=f"has no stage 'layer7' above its first; it has {stages}; \"auto\" is {last}$"
    ):
        build_backbone(TrunkSpec(name, "layer7", 64, RANDOM))


@pytest.mark.parametrize(
    ("name", "last", "units"),
    [
        ("resnet18", "layer4", ["layer4_0", "layer4_1"]),
        ("regnetx_002", "s4", ["s4"]),
        ("convnext_atto", "stages_3", ["stages_3"]),
        ("mobilenetv3_small_050", "blocks_4", ["blocks_4", "blocks_5"]),
        ("test_byobnet", "stages_3_0", ["stages_3_0", "final_conv"]),
        ("test_nfnet", "stages_3_0", ["stages_3_0", "final_conv"]),
    ],
)
def test_auto_is_all_that_comes_after_the_last_but_one_of_timm_s_stages(name: str, last: str, units: list[str]) -> None:
    backbone = build_backbone(TrunkSpec(name, image_size=64, weights=RANDOM))
    assert (backbone.spec.branch_at, backbone.spec.last_stage) == (last, last)
    assert list(backbone.upper) == units
    assert list(build_backbone(TrunkSpec(name, last, 64, RANDOM)).upper) == units


def test_a_stage_in_which_nothing_can_be_learnt_is_not_the_last() -> None:
    units = {"a": nn.Conv2d(3, 3, 1), "b": nn.ReLU(), "c": nn.Conv2d(3, 3, 1), "d": nn.MaxPool2d(2)}
    assert last_stage(units, ["a", "c", "d"]) == "b"
    assert last_stage(units, ["a", "b", "c"]) == "c"


@pytest.mark.parametrize("name", ["levit_128s", "xcit_nano_12_p16_224"])
def test_what_is_neither_a_sequence_nor_a_plain_transformer_is_refused_with_networks_to_take(name: str) -> None:
    with pytest.raises(TrunkError, match=f"{name} cannot be cut: .*such as resnet34, convnext_tiny or vit_small"):
        build_backbone(TrunkSpec(name, image_size=224, weights=RANDOM))


def test_a_network_with_its_channels_last_hands_on_maps_with_channels_first() -> None:
    backbone = build_backbone(TrunkSpec("test_mambaout", image_size=64, weights=RANDOM))
    assert backbone.shapes[MAPS] == (48, 4, 4)
    copied = copy.deepcopy(backbone.upper)  # as a branch copies it
    with torch.no_grad():
        features = backbone.trunk(pictures(2)).float()
        for unit in copied.values():
            features = unit(features)
    assert features.shape[1:] == (backbone.out_channels, 2, 2)
    assert torch.equal(features, run(backbone, pictures(2)))


def test_a_network_with_ways_around_its_stages_is_refused() -> None:
    with pytest.raises(TrunkError, match="hrnet_w18_small is not a plain sequence of stages"):
        build_backbone(TrunkSpec("hrnet_w18_small", "stage4", 64, RANDOM))


def test_an_image_size_that_a_network_cannot_read_is_named() -> None:
    with pytest.raises(TrunkError, match="trunk -> image_size: inception_v3 cannot read images of 64 px"):
        build_backbone(TrunkSpec("inception_v3", "Mixed_7a", 64, RANDOM))


@pytest.mark.parametrize(("name", "branch_at"), [("mobilenetv3_small_050", "act1"), ("test_nfnet", "stem_act2")])
def test_a_branch_does_not_write_into_the_features_it_reads(name: str, branch_at: str) -> None:
    """Both begin with an activation that timm builds in place; other branches read the same features."""
    backbone = build_backbone(TrunkSpec(name, branch_at, 64, RANDOM))
    with torch.no_grad():
        features = backbone.trunk(pictures(2)).float()
        before = features.clone()
        next(iter(backbone.upper.values()))(features)
    assert torch.equal(features, before)


# -- weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "branch_at", "lower", "upper"),
    [
        (
            TINY,
            "layer4",
            ("units.layer1_0.conv1.weight", "layer1.0.conv1.weight"),
            ("conv1.weight", "layer4.0.conv1.weight"),
        ),
        (
            "convnext_atto",
            "stages_3",
            ("units.stem_0.weight", "stem.0.weight"),
            ("blocks.0.conv_dw.weight", "stages.3.blocks.0.conv_dw.weight"),
        ),
    ],
)
def test_local_weights_are_loaded(
    name: str, branch_at: str, lower: tuple[str, str], upper: tuple[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    weights = save_weights(path, name)
    backbone = build_backbone(TrunkSpec(name, branch_at, 64, str(path)))
    assert torch.equal(backbone.trunk.state_dict()[lower[0]], weights[lower[1]])
    unit = next(iter(backbone.upper.values())).state_dict()
    assert torch.equal(unit[upper[0]], weights[upper[1]])


def test_names_are_found_where_a_model_cannot_be_built_without_values(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["bn1.weight", "layer1_0_conv1.weight"]
    expected = standard_names(TINY, names)
    create = timm.create_model

    def older(*arguments: Any, **options: Any) -> nn.Module:
        if torch.get_default_device().type == "meta":
            raise NotImplementedError("attempted to run this operator with Meta tensors")
        return create(*arguments, **options)

    monkeypatch.setattr(timm, "create_model", older)
    before = torch.get_rng_state()
    assert standard_names(TINY, names) == expected == {names[0]: names[0], names[1]: "layer1.0.conv1.weight"}
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "branch_at"),
    [
        (TINY, "layer4"),
        ("test_efficientnet", "blocks_4"),
        ("test_convnext", "stages_3"),
        ("test_byobnet", "stages_3"),
        ("test_nfnet", "stages_3"),
        ("mobilenetv3_small_050", "blocks_5"),
        ("regnetx_002", "s4"),
    ],
)
def test_a_backbone_s_own_weights_are_written_and_loaded_without_a_classifier(
    name: str, branch_at: str, tmp_path: Path
) -> None:
    path = tmp_path / "trunk.safetensors"
    torch.manual_seed(5)
    first = build_backbone(TrunkSpec(name, branch_at, 64, RANDOM))
    whole = timm.create_model(name, num_classes=0).state_dict()
    state = first.state()
    assert {key: tensor.shape for key, tensor in state.items()}.items() <= {
        k: t.shape for k, t in whole.items()
    }.items()
    write_weights(path, state, {"backbone": name})
    again = build_backbone(TrunkSpec(name, branch_at, 64, str(path)))
    assert torch.equal(run(again, pictures(2)), run(first, pictures(2)))
    assert all(torch.equal(tensor, state[key]) for key, tensor in again.state().items())
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"backbone": name}


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", TINY])
def test_a_whole_model_s_file_is_loaded_as_timm_loads_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, name)
    overlay = {"file": str(path)}
    theirs = timm.create_model(name, features_only=True, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    branch_at = {"test_convnext": "stages_3", "test_efficientnet": "blocks_4", TINY: "layer4"}[name]
    ours = build_backbone(TrunkSpec(name, branch_at, 64, str(path)))
    pixels = pictures(2)
    images = (pixels.permute(0, 3, 1, 2).float() / 255 - ours.trunk.mean) / ours.trunk.std
    with torch.no_grad():
        wanted = theirs(images)[-1]
    assert torch.allclose(run(ours, pixels), wanted, atol=0.02)


def test_weights_that_cannot_be_written_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrunkError, match=r"trunk\.safetensors cannot be written"):
        write_weights(tmp_path / "file" / "trunk.safetensors", {"a": torch.ones(1)}, {})


def test_weights_with_another_classifier_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "clothes.safetensors"
    weights = save_weights(path, num_classes=7)
    trunk = build_backbone(tiny(str(path))).trunk
    assert torch.equal(trunk.state_dict()["units.layer1_0.conv1.weight"], weights["layer1.0.conv1.weight"])


def test_without_loading_weights_no_file_is_needed() -> None:
    assert build_backbone(tiny("/nowhere/weights.safetensors"), load_weights=False).out_channels > 0


def test_weights_of_another_architecture_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_weights(path, "test_convnext")
    with pytest.raises(TrunkError, match=r"another architecture: test_resnet needs conv1\S* .*the file has none"):
        build_backbone(tiny(str(path)))


def test_weights_of_other_shapes_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    weights = save_weights(path)
    weights["layer1.0.conv1.weight"] = torch.zeros(2, 2, 1, 1)
    save_file(weights, path)
    with pytest.raises(TrunkError, match=r"needs layer1\.0\.conv1\.weight \(.*\), the file has \(2, 2, 1, 1\)"):
        build_backbone(tiny(str(path)))


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(TrunkError, match=r"trunk -> weights: .*gone\.safetensors does not exist"):
        build_backbone(tiny(str(tmp_path / "gone.safetensors")))


def test_a_file_that_is_no_safetensors_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(TrunkError, match="not a readable safetensors file"):
        build_backbone(tiny(str(path)))


def test_without_a_network_one_line_names_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def offline(name: str, **options: Any) -> nn.Module:
        if options.get("pretrained"):
            raise ConnectionError("the hub cannot be reached\nmany more lines\nof advice")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(TrunkError) as caught:
        build_backbone(tiny(HUB))
    message = str(caught.value)
    assert message.startswith("trunk -> weights: 'hub' could not be loaded (the hub cannot be reached);")
    assert "a local file" in message
    assert "weights = 'random'" in message
    assert "\n" not in message
    assert build_backbone(tiny(HUB), load_weights=False).out_channels > 0
