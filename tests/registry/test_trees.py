"""Trees in and out of the artifact store, and the proof that a new one answers as the old one did."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, hookimpl
from attributree.errors import ArtifactError
from attributree.heads import LinearHead, new_head
from attributree.jsonable import jsonable
from attributree.nn.sources import RANDOM
from attributree.nn.tree import Branch, copy_units
from attributree.nn.trunk import MAPS, PYRAMID, Backbone, TrunkSpec, build_backbone
from attributree.plugins import LoadedPlugins, load_plugins
from attributree.registry.artifacts import ArtifactStore
from attributree.registry.records import BranchRecord, TrunkRecord
from attributree.registry.trees import (
    LoadedTree,
    as_trained,
    load_backbone,
    load_branch,
    load_tree,
    load_units,
    prove_unchanged,
    save_branch,
    save_trunk,
    unchanged_branches,
)
from attributree.settings.head_names import EXIT_HEAD, HEAD_NAMES
from attributree.settings.models import EXIT

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
VALUES = ("crew", "v_neck", "boat")


def parameters(tree: nn.Module) -> int:
    return sum(weight.numel() for weight in tree.parameters())


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    torch.manual_seed(0)
    return build_backbone(TrunkSpec("test_resnet", "layer4", 32, RANDOM))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.fixture
def trunk(store: ArtifactStore, backbone: Backbone) -> TrunkRecord:
    return save_trunk(store, backbone)


class Plugin:
    """Brings a head for neckline: the standard one's weights, another module."""

    @hookimpl
    def attributree_branch_head(self, attribute: Attribute, in_features: int) -> nn.Module | None:
        return LinearHead(in_features, attribute.labels.outputs) if attribute.name == "neckline" else None


class BrokenPlugin:
    @hookimpl
    def attributree_branch_head(self, attribute: Attribute, in_features: int) -> nn.Module | None:
        if attribute.name == "neckline":
            raise RuntimeError("out of thread")
        return None


def plugins(module: object = None) -> LoadedPlugins:
    return load_plugins(entry_points=[], extra={"shop": module} if module else {})


@pytest.fixture
def make_branch(store: ArtifactStore, trunk: TrunkRecord, backbone: Backbone) -> Callable[..., BranchRecord]:
    """Stores a branch with a random head, and random units of its own if asked, and returns its record."""

    def make(name: str, seed: int, *, own_units: bool = False, **changes: Any) -> BranchRecord:
        torch.manual_seed(seed)
        units = copy_units(backbone.upper)
        if own_units:
            for parameter in nn.ModuleDict(units).parameters():
                nn.init.normal_(parameter, std=0.1)
        record = BranchRecord(
            id=seed,
            attribute=name,
            parts=save_branch(store, Branch(units, LinearHead(backbone.out_channels, 3))),
            trunk=trunk.digest,
            depth="head",
            head="linear",
            donor="backbone",
            values=VALUES,
            kind="single",
            schema_digest="",
            revision=1,
            fingerprint="",
            labels=100,
            temperature=1.0,
            cut=None,
            calibrated=False,
        )
        return replace(record, **changes)

    return make


@pytest.fixture
def branches(make_branch: Callable[..., BranchRecord]) -> dict[str, BranchRecord]:
    """Neckline and sleeve on the backbone's units, pattern on its own."""
    return {
        "neckline": make_branch("neckline", 1),
        "sleeve": make_branch("sleeve", 2),
        "pattern": make_branch("pattern", 3, own_units=True),
    }


@pytest.fixture
def loaded(store: ArtifactStore, trunk: TrunkRecord, branches: dict[str, BranchRecord]) -> LoadedTree:
    return load_tree(store, trunk, branches, plugins())


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


# -- in and out ------------------------------------------------------------------------------------


def test_a_trunk_comes_back_from_its_record(store: ArtifactStore, trunk: TrunkRecord, backbone: Backbone) -> None:
    again = load_backbone(store, trunk)
    pixels = torch.from_numpy(PIXELS)
    with torch.no_grad():
        assert torch.equal(again.trunk(pixels), backbone.trunk(pixels))
    assert again.spec == backbone.spec
    assert save_trunk(store, again) == trunk


def test_a_tree_loaded_twice_gives_bit_identical_logits(
    store: ArtifactStore, loaded: LoadedTree, branches: dict[str, BranchRecord]
) -> None:
    again = load_tree(store, loaded.trunk, branches, plugins())
    one, two = loaded.tree(torch.from_numpy(PIXELS)), again.tree(torch.from_numpy(PIXELS))
    assert set(one) == {"neckline", "sleeve", "pattern"}
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert loaded.missing == {}


def test_equal_units_are_stored_loaded_and_run_once(
    loaded: LoadedTree, branches: dict[str, BranchRecord], backbone: Backbone
) -> None:
    assert branches["neckline"].parts[:-1] == branches["sleeve"].parts[:-1]
    assert not set(branches["pattern"].parts) & set(branches["sleeve"].parts)
    runs: list[Tensor] = []
    for unit in {unit for branch in loaded.tree.branches.values() for unit in branch.units.values()}:
        unit.register_forward_hook(lambda module, args, out: runs.append(out))
    loaded.tree(torch.from_numpy(PIXELS))
    assert len(runs) == 2 * len(backbone.upper)


def test_units_are_loaded_without_their_head(
    store: ArtifactStore, branches: dict[str, BranchRecord], loaded: LoadedTree
) -> None:
    units = load_units(store, branches["pattern"], loaded.backbone)
    mine, theirs = nn.ModuleDict(units).state_dict(), loaded.tree.branches["pattern"].units.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())


@pytest.mark.parametrize(
    ("kind", "labels", "outputs"), [("single", SingleLabel, 3), ("multi", MultiLabel, 3), ("ordinal", Ordinal, 2)]
)
def test_a_branch_remembers_the_values_that_its_outputs_stand_for(
    kind: str, labels: type, outputs: int, make_branch: Callable[..., BranchRecord]
) -> None:
    attribute = as_trained(make_branch("neckline", 1, kind=kind))
    assert isinstance(attribute.labels, labels)
    assert attribute.labels.keys == VALUES
    assert attribute.labels.outputs == outputs


# -- what does not fit -----------------------------------------------------------------------------


def test_a_branch_whose_plugin_is_gone_is_left_out_and_the_others_answer(
    store: ArtifactStore, trunk: TrunkRecord, branches: dict[str, BranchRecord]
) -> None:
    branches["neckline"] = replace(branches["neckline"], head="attributree-neckline")
    loaded = load_tree(store, trunk, branches, plugins())
    assert set(loaded.tree.branches) == {"sleeve", "pattern"}
    assert "install attributree-neckline again" in loaded.missing["neckline"]
    assert "--retrain neckline" in loaded.missing["neckline"]
    assert set(loaded.branches) == set(branches)


def test_a_plugin_that_brings_a_head_now_does_not_displace_the_one_that_was_trained(
    store: ArtifactStore, trunk: TrunkRecord, branches: dict[str, BranchRecord], loaded: LoadedTree
) -> None:
    after = load_tree(store, trunk, branches, plugins(BrokenPlugin()))
    assert after.missing == {}
    assert prove_unchanged(loaded.tree, after.tree, list(branches), PIXELS).max_abs_diff == 0.0


def test_the_head_of_one_plugin_is_not_mistaken_for_that_of_another(
    store: ArtifactStore, trunk: TrunkRecord, branches: dict[str, BranchRecord]
) -> None:
    branches["neckline"] = replace(branches["neckline"], head="tailor")
    loaded = load_tree(store, trunk, branches, plugins(Plugin()))
    assert "trained with the head of tailor, now there is the head of shop" in loaded.missing["neckline"]
    branches["neckline"] = replace(branches["neckline"], head="shop")
    assert load_tree(store, trunk, branches, plugins(Plugin())).missing == {}


@pytest.mark.parametrize("name", HEAD_NAMES)
def test_a_branch_with_a_head_of_the_library_answers_as_it_did(
    store: ArtifactStore, trunk: TrunkRecord, backbone: Backbone, make_branch: Callable[..., BranchRecord], name: str
) -> None:
    torch.manual_seed(3)
    attribute = Attribute("length", Ordinal(VALUES) if name == "ordinal" else SingleLabel(VALUES))
    options = {"grids": [[1, 1], [2, 1]]} if name == "multiscale" else {"dropout": 0.3}
    head = new_head(name, attribute, backbone.out_channels, **options)
    torch.nn.init.normal_(next(iter(head.parameters())))
    branch = Branch(copy_units(backbone.upper), head).eval()
    record = replace(
        make_branch("length", 5),
        kind=attribute.labels.kind,
        head=name,
        parts=save_branch(store, branch),
        config={"head_options": options},
    )
    features = torch.rand(2, *backbone.shapes[MAPS])
    again = load_branch(store, record, backbone, plugins()).eval()
    assert torch.equal(again(features), branch(features))


def test_a_branch_whose_plugin_is_broken_is_left_out_and_the_others_answer(
    store: ArtifactStore, trunk: TrunkRecord, branches: dict[str, BranchRecord]
) -> None:
    branches["neckline"] = replace(branches["neckline"], head="shop")
    loaded = load_tree(store, trunk, branches, plugins(BrokenPlugin()))
    assert set(loaded.tree.branches) == {"sleeve", "pattern"}
    assert "out of thread" in loaded.missing["neckline"]


def test_a_branch_with_a_damaged_part_is_left_out_and_the_others_answer(
    store: ArtifactStore, trunk: TrunkRecord, branches: dict[str, BranchRecord]
) -> None:
    damage(store.path(branches["pattern"].parts[-1]))
    loaded = load_tree(store, trunk, branches, plugins())
    assert set(loaded.tree.branches) == {"neckline", "sleeve"}
    assert "is damaged" in loaded.missing["pattern"]


def test_a_branch_of_another_number_of_parts_is_refused(
    store: ArtifactStore, branches: dict[str, BranchRecord], backbone: Backbone
) -> None:
    short = replace(branches["sleeve"], parts=branches["sleeve"].parts[1:])
    with pytest.raises(ArtifactError, match=r"branch 2 of 'sleeve' has \d parts, not \d"):
        load_branch(store, short, backbone, plugins())


def test_a_branch_of_another_number_of_values_is_refused(
    store: ArtifactStore, branches: dict[str, BranchRecord], backbone: Backbone
) -> None:
    more = replace(branches["sleeve"], values=(*VALUES, "halter"))
    with pytest.raises(ArtifactError, match=r"linear\.\w+ is \(3"):
        load_branch(store, more, backbone, plugins())


def test_without_its_trunk_nothing_answers(
    store: ArtifactStore, trunk: TrunkRecord, branches: dict[str, BranchRecord]
) -> None:
    damage(store.path(trunk.digest))
    with pytest.raises(ArtifactError, match="is damaged"):
        load_tree(store, trunk, branches, plugins())


def test_a_trunk_of_another_architecture_than_its_record_says_is_refused(
    store: ArtifactStore, trunk: TrunkRecord
) -> None:
    other = replace(trunk, spec={**trunk.spec, "backbone": "resnet18"})
    with pytest.raises(ArtifactError, match=r"does not hold what its branch needs|expected"):
        load_backbone(store, other)


# -- the proof -------------------------------------------------------------------------------------


def test_a_new_branch_leaves_the_others_bit_identical(
    store: ArtifactStore, loaded: LoadedTree, make_branch: Callable[..., BranchRecord]
) -> None:
    new = {**loaded.branches, "collar": make_branch("collar", 9, own_units=True)}
    after = load_tree(store, loaded.trunk, new, plugins())
    both = unchanged_branches(loaded.branches, new)
    proof = prove_unchanged(loaded.tree, after.tree, both, PIXELS)
    assert jsonable(proof) == {"attributes": ["neckline", "pattern", "sleeve"], "images": 3, "max_abs_diff": 0.0}


def test_a_branch_that_moved_by_a_hair_is_found_out(store: ArtifactStore, loaded: LoadedTree) -> None:
    after = load_tree(store, loaded.trunk, loaded.branches, plugins())
    with torch.no_grad():
        after.tree.branches["sleeve"].head.linear.bias[0] += 1e-3
    proof = prove_unchanged(loaded.tree, after.tree, ["neckline", "sleeve"], PIXELS)
    assert proof.max_abs_diff == pytest.approx(1e-3, rel=0.01)
    assert prove_unchanged(loaded.tree, after.tree, ["neckline"], PIXELS).max_abs_diff == 0.0


def test_logits_that_are_no_numbers_are_no_proof(store: ArtifactStore, loaded: LoadedTree) -> None:
    after = load_tree(store, loaded.trunk, loaded.branches, plugins())
    with torch.no_grad():
        after.tree.branches["sleeve"].head.linear.bias[0] = torch.nan
    assert prove_unchanged(loaded.tree, after.tree, ["sleeve"], PIXELS).max_abs_diff == float("inf")


def test_nothing_to_compare_is_nothing_that_moved(loaded: LoadedTree) -> None:
    assert prove_unchanged(loaded.tree, loaded.tree, [], PIXELS).max_abs_diff == 0.0


def test_replaced_added_and_removed_branches_are_not_unchanged(
    branches: dict[str, BranchRecord], make_branch: Callable[..., BranchRecord]
) -> None:
    new = {"neckline": branches["neckline"], "sleeve": make_branch("sleeve", 8), "collar": make_branch("collar", 9)}
    assert unchanged_branches(branches, new) == ("neckline",)


def test_shared_units_are_counted_once(loaded: LoadedTree, backbone: Backbone) -> None:
    units = sum(p.numel() for unit in backbone.upper.values() for p in unit.parameters())
    head = 3 * backbone.out_channels + 3
    lower = sum(p.numel() for p in backbone.trunk.parameters())
    assert parameters(loaded.tree) == lower + 2 * units + 3 * head


# -- exits -----------------------------------------------------------------------------------------


@pytest.fixture
def exit_record(
    store: ArtifactStore, backbone: Backbone, make_branch: Callable[..., BranchRecord]
) -> tuple[BranchRecord, nn.Module]:
    """An exit's record with the standard head, and that head."""
    record = make_branch("surface", 6, depth=EXIT, head=EXIT_HEAD, donor=None)
    torch.manual_seed(6)
    head = new_head(EXIT_HEAD, as_trained(record), backbone.pyramid_features).eval()
    options = {"head_options": {"dropout": 0.5}}
    return replace(record, parts=save_branch(store, Branch({}, head)), config=options), head


def test_an_exit_comes_back_as_it_was_and_others_stay_as_they_were(
    store: ArtifactStore, loaded: LoadedTree, exit_record: tuple[BranchRecord, nn.Module]
) -> None:
    record, head = exit_record
    after = load_tree(store, loaded.trunk, {**loaded.branches, "surface": record}, plugins())
    assert after.missing == {}
    with torch.no_grad():
        pyramid = loaded.backbone.trunk.features(torch.from_numpy(PIXELS), (PYRAMID,))[PYRAMID].float()
        assert torch.equal(after.tree(torch.from_numpy(PIXELS))["surface"], head(pyramid))
    assert prove_unchanged(loaded.tree, after.tree, list(loaded.branches), PIXELS).max_abs_diff == 0.0
    assert parameters(after.tree) - parameters(loaded.tree) == sum(p.numel() for p in head.parameters())
    assert load_units(store, record, loaded.backbone) == {}


@pytest.mark.parametrize("depth", ["head", "stage"])
def test_only_an_exit_may_have_no_units(
    depth: str, store: ArtifactStore, backbone: Backbone, exit_record: tuple[BranchRecord, nn.Module]
) -> None:
    with pytest.raises(ArtifactError, match=r"branch 6 of 'surface' has 1 parts, not \d"):
        load_units(store, replace(exit_record[0], depth=depth), backbone)


def test_an_exit_with_units_is_refused(
    store: ArtifactStore, backbone: Backbone, make_branch: Callable[..., BranchRecord]
) -> None:
    with pytest.raises(ArtifactError, match="does not hold what its branch needs"):  # a trunk of its own, at most
        load_units(store, make_branch("surface", 6, depth=EXIT), backbone)


def test_an_exit_on_maps_comes_back_as_well(
    store: ArtifactStore, loaded: LoadedTree, backbone: Backbone, make_branch: Callable[..., BranchRecord]
) -> None:
    record = make_branch("surface", 6, depth=EXIT, head="multiscale", donor=None)
    head = new_head("multiscale", as_trained(record), backbone.shapes[MAPS][0], grids=(1, 3), dropout=0.5).eval()
    options = {"head_options": {"grids": [1, 3], "dropout": 0.5}}
    record = replace(record, parts=save_branch(store, Branch({}, head)), config=options)
    after = load_tree(store, loaded.trunk, {**loaded.branches, "surface": record}, plugins())
    assert after.missing == {}
    pixels = torch.from_numpy(PIXELS)
    with torch.no_grad():
        assert torch.equal(after.tree(pixels, ["surface"])["surface"], head(backbone.trunk(pixels).float()))
