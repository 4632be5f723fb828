"""Branches and the tree: one trunk, one branch an attribute, parts that are equal computed once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..heads import PyramidHead
from .trunk import OWN, PIXELS, PYRAMID, Features, Reads, Trunk, own_trunk, read_by

Weights = dict[str, Tensor]


class Branch(nn.Module):
    """What one attribute owns: units (blocks of the upper stages, each with its own BatchNorm) and a head.

    At an exit there are no units: the head reads the trunk's maps, or its pyramid if it is a PyramidHead. A branch that
    is a whole network has a trunk of its own as its first unit, and reads pixels.
    The first `frozen` units are shared with the donor and never trained: their parameters take no gradient
    and their BatchNorm statistics stand still.
    """

    def __init__(self, units: Mapping[str, nn.Module], head: nn.Module, frozen: int = 0) -> None:
        super().__init__()
        self.units = nn.ModuleDict(dict(units))
        self.head = head
        self.frozen = frozen
        for unit in self.frozen_units():
            unit.requires_grad_(False)

    @property
    def reads(self) -> Reads:
        """What of the trunk's features this branch reads."""
        return PYRAMID if not self.units and isinstance(self.head, PyramidHead) else read_by(self.units.values())

    @property
    def root(self) -> tuple[str, ...]:
        """What its first unit reads, and what a trunk of its own gives: units of equal content above it are equal."""
        own = next(iter(self.units.values()), None)
        return (self.reads, str(own.gives)) if isinstance(own, Trunk) else (self.reads,)

    @property
    def on_trunk(self) -> bool:
        """Whether it has units that stand on the shared trunk: another branch may start from them."""
        return bool(self.units) and self.reads != PIXELS

    def named_units(self) -> dict[str, nn.Module]:
        """Return the units by name, in order."""
        return dict(self.units.items())

    def frozen_units(self) -> Sequence[nn.Module]:
        """Return the units that belong to the donor."""
        return list(self.units.values())[: self.frozen]

    def train(self, mode: bool = True) -> Branch:
        super().train(mode)
        for unit in self.frozen_units():
            unit.eval()  # BatchNorm statistics of a shared unit must not move under its other owners
        return self

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, outputs) for what it reads of the trunk."""
        top = features.float()
        for unit in self.units.values():
            top = unit(top)
        logits: Tensor = self.head(top)
        return logits

    def parts(self) -> list[Weights]:
        """Return the weights of each unit in order, then of the head: what is stored, part by part."""
        return [weights_of(module) for module in (*self.units.values(), self.head)]


def weights_of(module: nn.Module) -> Weights:
    """Return a module's weights as they are stored: detached, on the CPU, contiguous."""
    return {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}


def digest_of(weights: Weights) -> str:
    """Return the SHA-256 under which `weights` would be stored: what names their content."""
    return hashlib.sha256(save(weights)).hexdigest()


def unit_digests(units: Mapping[str, nn.Module]) -> tuple[str, ...]:
    """Return the digest of each unit, in order."""
    return tuple(digest_of(weights_of(unit)) for unit in units.values())


def copy_units(units: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Return units of one's own with the same weights, trainable again."""
    return {name: copy.deepcopy(unit).requires_grad_(True) for name, unit in units.items()}


@dataclass(frozen=True, eq=False)
class KeyedBranch:
    """A branch as a tree holds it: `keys` name the content of each unit, so equal ones are run once."""

    branch: Branch
    keys: tuple[str, ...]

    @classmethod
    def of(cls, branch: Branch) -> KeyedBranch:
        """Return a branch with the digests of its units as keys."""
        return cls(branch, unit_digests(branch.named_units()))


def on_own_trunk(keyed: KeyedBranch, trunk: Trunk, key: str) -> KeyedBranch:
    """Return a branch that answers on a copy of `trunk`, named by `key`, as it does on `trunk` itself, bit by bit."""
    branch = keyed.branch
    if branch.reads == PIXELS:
        return keyed
    units = {OWN: own_trunk(trunk, branch.reads), **branch.named_units()}
    return KeyedBranch(Branch(units, branch.head), (key, *keyed.keys))


class JointModel(nn.Module):
    """A trunk and its branches. Units that are reached by the same keys are one module, kept and run once."""

    def __init__(self, trunk: Trunk, branches: Mapping[str, KeyedBranch]) -> None:
        super().__init__()
        self.trunk = trunk
        self.branches = nn.ModuleDict()
        self.keys = {name: keyed.keys for name, keyed in branches.items()}
        shared: dict[tuple[str, ...], nn.Module] = {}
        for name, keyed in branches.items():
            units = {
                unit_name: shared.setdefault((*keyed.branch.root, *keyed.keys[:depth]), unit)
                for depth, (unit_name, unit) in enumerate(keyed.branch.units.items(), start=1)
            }
            self.branches[name] = Branch(units, keyed.branch.head)

    def keyed_branches(self) -> dict[str, KeyedBranch]:
        """Return the branches with their keys; what is shared is one module in all of them."""
        return {name: KeyedBranch(self.branch(name), keys) for name, keys in self.keys.items()}

    def branch(self, name: str) -> Branch:
        """Return the branch of an attribute."""
        branch = self.branches[name]
        assert isinstance(branch, Branch)
        return branch

    def forward(self, pixels: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return logits (B, outputs) of the named (default: all) branches for (B, S, S, 3) uint8 pixels."""
        names = tuple(self.branches if names is None else names)
        return self.from_features(self.trunk.features(pixels, self.reads(names)), names)

    def reads(self, names: Iterable[str] | None = None) -> frozenset[Reads]:
        """Return what the named (default: all) branches read of the trunk's features."""
        return frozenset(self.branch(name).reads for name in (self.branches if names is None else names))

    def from_features(self, features: Features, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """Return logits of the named (default: all) branches for trunk features: what they read must be there."""
        done: dict[tuple[str, ...], Tensor] = {}
        logits = {}
        for name in self.branches if names is None else names:
            branch = self.branch(name)
            if not branch.units:
                logits[name] = branch.head(features[branch.reads].float())
                continue
            path = branch.root
            if path not in done:
                done[path] = features[branch.reads].float()
            for key, unit in zip(self.keys[name], branch.units.values(), strict=True):
                below, path = path, (*path, key)
                if path not in done:
                    done[path] = unit(done[below])
            logits[name] = branch.head(done[path])
        return logits


class Tree(JointModel):
    """The model that answers: always in evaluation mode.

    Training happens on models of its own; what is trained becomes artifacts, and a tree is built from artifacts alone.
    """

    def __init__(self, trunk: Trunk, branches: Mapping[str, KeyedBranch]) -> None:
        super().__init__(trunk, branches)
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Tree:
        if mode:
            raise RuntimeError("a tree is not trained; train a branch and build a new tree from its parts")
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, pixels: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        return super().forward(pixels, names)

    @torch.no_grad()
    def from_features(self, features: Features, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        return super().from_features(features, names)
