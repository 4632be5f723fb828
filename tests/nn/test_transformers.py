"""Vision transformers as sequences of units, small and random: cut, run, written and read."""

import copy
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from attributree.errors import TrunkError
from attributree.heads import LinearHead, PyramidHead, spatial_pyramid
from attributree.nn.sources import RANDOM
from attributree.nn.tokens import STAGES, TokenGrid, stage_names
from attributree.nn.tree import Branch, KeyedBranch, Tree, copy_units, weights_of
from attributree.nn.trunk import MAPS, OWN, PYRAMID, TOKENS, Backbone, TrunkSpec, build_backbone, own_trunk
from attributree.nn.weights import write_weights
from attributree.training.trunk import reset

#: 6 blocks, width 64, a class token; images of 64 px are 4 x 4 patches.
VIT = "test_vit"


def vit(name: str = VIT, size: int = 64, **changes: str) -> Backbone:
    return build_backbone(TrunkSpec(name, image_size=size, **{"weights": RANDOM, **changes}))


def pictures(count: int, size: int = 64) -> Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def run(backbone: Backbone, pixels: Tensor) -> Tensor:
    """Return what the upper part makes of the trunk's features."""
    top = backbone.trunk(pixels).float()
    for unit in backbone.upper.values():
        top = unit(top)
    return top


def stirred(model: nn.Module) -> nn.Module:
    """Return a model whose blocks do something: many begin as the identity, by their layer scales."""
    for name, parameter in model.named_parameters():
        if name.endswith("gamma") or ".ls" in name:
            nn.init.ones_(parameter)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        (VIT, 1),  # a class token
        ("test_vit2", 1),  # registers alone
        ("test_vit3", 1),
        pytest.param("eva02_tiny_patch14_224", 1, marks=pytest.mark.acceptance),  # rotary positions
        pytest.param("vit_small_patch14_reg4_dinov2", 5, marks=pytest.mark.acceptance),
        pytest.param("vit_small_patch16_dinov3", 5, marks=pytest.mark.acceptance),
        pytest.param("vit_base_patch16_siglip_224", 0, marks=pytest.mark.acceptance),  # no class token at all
    ],
)
def test_both_halves_make_of_an_image_what_timm_s_own_transformer_makes_of_it(
    name: str, prefix: int, tmp_path: Path
) -> None:
    size = 56 if "patch14" in name else 64
    torch.manual_seed(5)
    whole = stirred(timm.create_model(name, img_size=size))
    path = tmp_path / "whole.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in whole.state_dict().items()}, path)
    backbone = vit(name, size, weights=str(path))
    pixels = pictures(2, size)
    images = (pixels.permute(0, 3, 1, 2).float() / 255 - backbone.trunk.mean) / backbone.trunk.std
    with torch.no_grad():
        tokens = whole.forward_features(images)  # (2, T, D)
    top = run(backbone, pixels)
    rows = size // (14 if "patch14" in name else 16)
    patches = tokens[:, prefix:].transpose(1, 2).reshape(2, -1, rows, rows)
    assert torch.allclose(top[:, : patches.shape[1]], patches, atol=0.02)  # the features are rounded to float16
    if top.shape[1] > patches.shape[1]:
        assert torch.allclose(top[:, patches.shape[1] :].mean(dim=(2, 3)), tokens[:, 0], atol=0.02)


def test_stages_are_groups_of_blocks_and_the_last_group_is_a_branch() -> None:
    assert stage_names(12) == ["blocks_0", "blocks_3", "blocks_6", "blocks_9"]
    assert stage_names(6) == ["blocks_0", "blocks_1", "blocks_3", "blocks_4"]
    assert stage_names(3) == ["blocks_0", "blocks_1", "blocks_2"]
    assert len(stage_names(40)) == STAGES
    backbone = vit()
    assert (backbone.spec.branch_at, list(backbone.upper)) == ("blocks_4", ["blocks_4", "blocks_5"])
    assert backbone.trunk.stages == {"blocks_0", "blocks_2", "blocks_3"}
    assert dict(backbone.shapes) == {TOKENS: (17, 64), MAPS: (64, 4, 4), PYRAMID: (3 * (20 + 1) * 64,)}
    assert backbone.out_channels == 128  # patches, and the class token beside each


@pytest.mark.parametrize("branch_at", ["blocks.5", "blocks_5"])
def test_a_branch_may_begin_at_any_block_but_the_first(branch_at: str) -> None:
    assert list(vit(branch_at=branch_at).upper) == ["blocks_5"]
    with pytest.raises(TrunkError, match="has no stage 'stem' above its first; it has blocks_0, blocks_1"):
        vit(branch_at="stem")


def test_the_pyramid_is_class_token_and_pooled_patches_of_every_stage() -> None:
    trunk, pixels, seen = vit().trunk, pictures(2), list[Tensor]()
    for unit in sorted(trunk.stages):
        trunk.units.get_submodule(unit).register_forward_hook(lambda module, args, out: seen.append(out))
    with torch.no_grad():
        found = trunk.features(pixels, (MAPS, PYRAMID, TOKENS))
    expected = []
    for tokens in seen:
        patches = tokens[:, 1:].transpose(1, 2).reshape(2, 64, 4, 4)
        expected += [spatial_pyramid(patches, ((1, 1), (3, 3))), F.layer_norm(tokens[:, 0], (64,))]
    assert torch.equal(found[PYRAMID], torch.cat(expected, dim=1).half())
    assert torch.equal(found[TOKENS], seen[-1].half())
    assert torch.equal(found[MAPS], TokenGrid(1, True, 4, 4).maps(seen[-1]).half())


def test_branches_read_tokens_and_exits_maps_or_the_pyramid() -> None:
    backbone, pixels = vit(), pictures(2)
    branches = {
        "units": Branch(copy.deepcopy(backbone.upper), LinearHead(128, 3)),
        "maps": Branch({}, LinearHead(64, 3)),
        "pyramid": Branch({}, PyramidHead(backbone.pyramid_features, 3)),
    }
    assert {name: branch.reads for name, branch in branches.items()} == {
        "units": TOKENS,
        "maps": MAPS,
        "pyramid": PYRAMID,
    }
    tree = Tree(backbone.trunk, {name: KeyedBranch.of(branch) for name, branch in branches.items()})
    logits = tree(pixels)
    with torch.no_grad():
        assert torch.equal(logits["units"], branches["units"].eval()(backbone.trunk(pixels)))
    assert {name: tuple(each.shape) for name, each in logits.items()} == dict.fromkeys(branches, (2, 3))


def test_its_weights_are_written_under_timm_s_names_and_read_again(tmp_path: Path) -> None:
    first, path = vit(), tmp_path / "vit.safetensors"
    state = first.state()
    whole = timm.create_model(VIT, img_size=64, num_classes=0).state_dict()
    assert {key: tensor.shape for key, tensor in state.items()} == {
        key: tensor.shape for key, tensor in whole.items() if not key.startswith(("head", "fc_norm"))
    }
    write_weights(path, state, {})
    again = vit(weights=str(path))
    assert torch.equal(run(again, pictures(2)), run(first, pictures(2)))


def test_positions_of_another_image_size_are_fitted_to_this_one(tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    torch.manual_seed(5)
    whole = timm.create_model(VIT, img_size=96)
    save_file(whole.state_dict(), path)
    stem = weights_of(vit(weights=str(path)).trunk)
    assert stem["units.stem.model.pos_embed"].shape == (1, 17, 64)
    assert torch.equal(stem["units.stem.model.pos_embed"][:, 0], whole.pos_embed[:, 0])
    assert torch.equal(stem["units.blocks_0.block.attn.qkv.weight"], whole.blocks[0].attn.qkv.weight)


def test_images_that_patches_do_not_fill_are_refused_with_sizes_to_take() -> None:
    with pytest.raises(TrunkError, match=r"image_size: test_vit would not see all of images of 70 px: .*64 or 80"):
        vit(size=70)


def test_random_weights_come_from_the_seed_alone() -> None:
    first, second = vit(), vit()
    for backbone in (first, second):
        reset(backbone, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.state().values(), second.state().values(), strict=True))
    reset(second, 4)
    assert not torch.equal(first.state()["pos_embed"], second.state()["pos_embed"])


def test_a_transformer_that_does_more_between_its_blocks_is_refused() -> None:
    """CaiT brings its class token in after the blocks: units that are run one after the other would not."""
    with pytest.raises(TrunkError, match="cait_xxs24_224 cannot be cut"):
        build_backbone(TrunkSpec("cait_xxs24_224", image_size=32, weights=RANDOM))


def test_a_transformer_may_be_a_branch_s_own_network() -> None:
    backbone = vit()
    stirred(nn.ModuleList([backbone.trunk, *backbone.upper.values()]))
    head = LinearHead(backbone.out_channels, 3).eval()
    shared = Branch(copy_units(backbone.upper), head)
    whole = Branch({OWN: own_trunk(backbone.trunk), **copy_units(backbone.upper)}, head)
    tree = Tree(backbone.trunk, {"shared": KeyedBranch.of(shared), "whole": KeyedBranch.of(whole)})
    logits = tree(pictures(2))
    assert torch.equal(logits["shared"], logits["whole"])
    whole.train().requires_grad_(True)
    whole(pictures(2)).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in whole.units[OWN].parameters())
