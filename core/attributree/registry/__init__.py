"""The registry: content-addressed parts, and the trees that are made of them."""

from .artifacts import ArtifactStore
from .garbage import Garbage, collect_garbage
from .trees import (
    LoadedTree,
    Proof,
    as_trained,
    head_factory,
    load_backbone,
    load_branch,
    load_tree,
    load_units,
    parameters,
    prove_unchanged,
    save_branch,
    save_trunk,
    unchanged_branches,
    unit_digests,
)

__all__ = [
    "ArtifactStore",
    "Garbage",
    "LoadedTree",
    "Proof",
    "as_trained",
    "collect_garbage",
    "head_factory",
    "load_backbone",
    "load_branch",
    "load_tree",
    "load_units",
    "parameters",
    "prove_unchanged",
    "save_branch",
    "save_trunk",
    "unchanged_branches",
    "unit_digests",
]
