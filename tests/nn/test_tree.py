"""Branches and the tree: what is frozen stands still, what is equal is computed once."""

import copy

import pytest
import torch
from torch import Tensor, nn

from attributree.heads import LinearHead, PyramidHead
from attributree.nn.tree import Branch, KeyedBranch, Tree, copy_units
from attributree.nn.trunk import MAPS, OWN, PIXELS, PYRAMID, Trunk, own_trunk

FEATURES = torch.rand(4, 8, 2, 2, generator=torch.Generator().manual_seed(1))


class Counted(nn.Module):
    """A block that counts how often it is run."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.calls = 0

    def forward(self, features: Tensor) -> Tensor:
        self.calls += 1
        return self.block(features)


def make_units(seed: int = 0) -> dict[str, Counted]:
    torch.manual_seed(seed)
    return {"layer4_0": Counted(), "layer4_1": Counted()}


def make_trunk() -> Trunk:
    torch.manual_seed(0)
    return Trunk({"stem": nn.Conv2d(3, 8, 3, stride=2, padding=1)}, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), ["stem"])


def calls(tree: Tree) -> int:
    """How often any unit of the tree was run."""
    return sum(m.calls for m in tree.modules() if isinstance(m, Counted))


# -- branches --------------------------------------------------------------------------------------


def test_frozen_units_are_bit_identical_after_training_their_statistics_too() -> None:
    branch = Branch(make_units(), LinearHead(8, 3), frozen=1)
    before = copy.deepcopy(branch.state_dict())
    optimizer = torch.optim.AdamW([p for p in branch.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        branch.train()
        branch(FEATURES).square().sum().backward()
        optimizer.step()
    same = {name: torch.equal(tensor, before[name]) for name, tensor in branch.state_dict().items()}
    assert all(ok for name, ok in same.items() if name.startswith("units.layer4_0"))
    assert not any(ok for name, ok in same.items() if name.startswith("units.layer4_1"))
    assert all(p.grad is None for p in branch.units["layer4_0"].parameters())


def test_a_branch_switches_to_training_all_but_its_frozen_units() -> None:
    branch = Branch(make_units(), LinearHead(8, 3), frozen=1).train()
    assert [unit.training for unit in branch.units.values()] == [False, True]
    assert branch.head.training
    assert not any(m.training for m in branch.eval().modules())


def test_copied_units_are_one_s_own_and_trainable() -> None:
    units = make_units()
    Branch(units, LinearHead(8, 3), frozen=2)
    own = copy_units(units)
    assert all(p.requires_grad for unit in own.values() for p in unit.parameters())
    with torch.no_grad():
        next(own["layer4_0"].parameters()).zero_()
    assert next(units["layer4_0"].parameters()).abs().sum() > 0


def test_parts_are_each_unit_in_order_and_the_head_last() -> None:
    branch = Branch(make_units(), LinearHead(8, 3))
    parts = branch.parts()
    assert len(parts) == 3
    assert set(parts[2]) == {"linear.weight", "linear.bias"}
    assert torch.equal(parts[1]["block.0.weight"], branch.units["layer4_1"].block[0].weight)
    assert not any(tensor.requires_grad for part in parts for tensor in part.values())


def test_half_precision_features_are_taken_as_float32() -> None:
    assert Branch(make_units(), LinearHead(8, 3)).eval()(FEATURES.half()).dtype == torch.float32


# -- trees -----------------------------------------------------------------------------------------


def make_branches() -> dict[str, KeyedBranch]:
    """Three branches: neckline and sleeve share both units, pattern only the first."""
    shared, other = make_units(), make_units(seed=1)
    pattern = {"layer4_0": copy.deepcopy(shared["layer4_0"]), "layer4_1": other["layer4_1"]}
    torch.manual_seed(2)
    return {
        "neckline": KeyedBranch(Branch(shared, LinearHead(8, 3)), ("a", "b")),
        "sleeve": KeyedBranch(Branch(copy_units(shared), LinearHead(8, 2)), ("a", "b")),
        "pattern": KeyedBranch(Branch(pattern, LinearHead(8, 4)), ("a", "c")),
    }


def test_equal_units_are_run_once() -> None:
    tree = Tree(make_trunk(), make_branches())
    logits = tree.from_features({MAPS: FEATURES})
    assert {name: tuple(x.shape) for name, x in logits.items()} == {
        "neckline": (4, 3),
        "sleeve": (4, 2),
        "pattern": (4, 4),
    }
    assert calls(tree) == 3  # a, b, c


def test_units_of_the_same_content_on_another_path_are_run_again() -> None:
    branches = make_branches()
    branches["pattern"] = KeyedBranch(branches["pattern"].branch, ("x", "b"))
    tree = Tree(make_trunk(), branches)
    tree.from_features({MAPS: FEATURES}, ["neckline", "pattern"])
    assert calls(tree) == 4


def test_only_the_asked_branches_are_run() -> None:
    tree = Tree(make_trunk(), make_branches())
    assert list(tree.from_features({MAPS: FEATURES}, ["sleeve"])) == ["sleeve"]
    assert calls(tree) == 2
    assert tree.from_features({MAPS: FEATURES}, []) == {}


def test_logits_are_bit_identical_with_and_without_other_branches() -> None:
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    branches = make_branches()
    whole = Tree(make_trunk(), branches)(pixels)
    for name, keyed in branches.items():
        alone = Tree(make_trunk(), {name: keyed})(pixels)
        assert torch.equal(alone[name], whole[name])


def test_a_tree_answers_as_its_branches_do() -> None:
    branches = make_branches()
    logits = Tree(make_trunk(), branches).from_features({MAPS: FEATURES})
    with torch.no_grad():
        assert all(torch.equal(logits[name], keyed.branch.eval()(FEATURES)) for name, keyed in branches.items())


def test_a_tree_is_never_trained() -> None:
    tree = Tree(make_trunk(), make_branches())
    assert not any(m.training for m in tree.modules())
    assert not any(p.requires_grad for p in tree.parameters())
    with pytest.raises(RuntimeError, match="not trained"):
        tree.train()


def test_a_tree_answers_a_single_image() -> None:
    logits = Tree(make_trunk(), make_branches())(torch.zeros(1, 16, 16, 3, dtype=torch.uint8))
    assert logits["neckline"].shape == (1, 3)


# -- exits -----------------------------------------------------------------------------------------


def test_a_branch_without_units_reads_the_trunk_s_features_and_moves_no_other() -> None:
    branches = make_branches()
    before = Tree(make_trunk(), branches).from_features({MAPS: FEATURES})
    exit_branch = Branch({}, LinearHead(8, 5)).eval()
    tree = Tree(make_trunk(), {**branches, "surface": KeyedBranch(exit_branch, ())})
    after = tree.from_features({MAPS: FEATURES})
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert torch.equal(after["surface"], exit_branch.head(FEATURES))
    ran = calls(tree)
    assert list(tree.from_features({MAPS: FEATURES}, ["surface"])) == ["surface"]
    assert calls(tree) == ran
    assert tree.keyed_branches()["surface"].keys == ()


def test_an_exit_on_the_pyramid_moves_no_other_and_nothing_is_computed_that_nobody_reads() -> None:
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    branches, asked = make_branches(), list[set[str]]()
    before = Tree(make_trunk(), branches)(pixels)
    trunk = make_trunk()
    features = trunk.features
    trunk.features = lambda pixels, reads: asked.append(set(reads)) or features(pixels, reads)  # type: ignore[method-assign,assignment]
    surface = Branch({}, PyramidHead(160, 5))
    tree = Tree(trunk, {**branches, "surface": KeyedBranch(surface, ())})
    after = tree(pixels)
    assert all(torch.equal(after[name], before[name]) for name in before)
    with torch.no_grad():
        assert torch.equal(after["surface"], surface.eval()(features(pixels)[PYRAMID]))
    tree(pixels, ["surface"])
    tree(pixels, ["sleeve"])
    assert asked == [{MAPS, PYRAMID}, {PYRAMID}, {MAPS}]


def test_a_head_reads_the_pyramid_only_where_there_are_no_units() -> None:
    assert Branch(make_units(), PyramidHead(8, 3)).reads == MAPS
    assert Branch({}, LinearHead(8, 3)).reads == MAPS
    assert Branch({}, PyramidHead(160, 3)).reads == PYRAMID


# -- networks --------------------------------------------------------------------------------------


def test_a_network_of_its_own_moves_no_other_and_leaves_the_shared_trunk_alone() -> None:
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    branches, trunk = make_branches(), make_trunk()
    before = Tree(trunk, branches)(pixels)
    own = own_trunk(trunk)
    nn.init.normal_(own.units[0].weight)  # type: ignore[arg-type]
    network = Branch({OWN: own, **copy_units(make_units(seed=5))}, LinearHead(8, 2)).eval()
    assert network.reads == PIXELS
    assert not network.on_trunk
    tree = Tree(trunk, {**branches, "surface": KeyedBranch.of(network)})
    after = tree(pixels)
    assert all(torch.equal(after[name], before[name]) for name in before)
    with torch.no_grad():
        assert torch.equal(after["surface"], network(pixels))
    assert after["surface"].dtype == torch.float32
    assert tree.reads() == {MAPS, PIXELS}


def test_the_shared_trunk_is_not_run_for_a_network_alone() -> None:
    trunk = make_trunk()
    network = Branch({OWN: own_trunk(trunk), **make_units()}, LinearHead(8, 2)).eval()
    trunk.units = nn.Sequential(nn.Linear(1, 1))  # would fail on any picture
    tree = Tree(trunk, {"surface": KeyedBranch.of(network)})
    assert tree(torch.zeros(2, 16, 16, 3, dtype=torch.uint8))["surface"].shape == (2, 2)


def test_an_exit_on_a_trunk_of_its_own_answers_as_on_the_shared_one_bit_by_bit() -> None:
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    trunk, other, head, units = make_trunk(), make_trunk(), PyramidHead(160, 5), make_units()
    nn.init.normal_(other.units[0].weight)  # type: ignore[arg-type]
    neck = LinearHead(8, 3)
    before = Tree(trunk, {"a": KeyedBranch(Branch({}, head), ()), "b": KeyedBranch(Branch(units, neck), ("u", "v"))})
    own = {
        "a": KeyedBranch(Branch({OWN: own_trunk(trunk, PYRAMID)}, head), ("t",)),
        "b": KeyedBranch(Branch({OWN: own_trunk(trunk), **units}, neck), ("t", "u", "v")),
        "c": KeyedBranch(Branch(units, neck), ("u", "v")),
    }
    after = Tree(other, own)
    told, now = before(pixels), after(pixels)
    assert torch.equal(told["a"], now["a"])
    assert torch.equal(told["b"], now["b"])
    assert not torch.equal(now["b"], now["c"])  # the shared trunk is another one


def test_a_network_that_begins_at_the_trunk_makes_what_the_trunk_s_branches_make() -> None:
    pixels = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    trunk, units, head = make_trunk(), make_units(), LinearHead(8, 3)
    whole = Branch({OWN: own_trunk(trunk), **copy_units(units)}, head)
    logits = Tree(trunk, {"a": KeyedBranch(Branch(units, head), ("u", "v")), "b": KeyedBranch.of(whole)})(pixels)
    assert torch.allclose(logits["a"], logits["b"], atol=2e-3)  # but for the rounding to float16
