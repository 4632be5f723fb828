"""The network: trunk, branches, heads, losses and the tree. torch, and never SQLAlchemy."""

from .heads import LinearHead, build_head
from .losses import balance, log_probabilities, masked_loss, probabilities
from .tree import Branch, Limb, Tree, Weights, copy_units
from .trunk import HUB, RANDOM, Backbone, Trunk, TrunkSpec, build_backbone

__all__ = [
    "HUB",
    "RANDOM",
    "Backbone",
    "Branch",
    "Limb",
    "LinearHead",
    "Tree",
    "Trunk",
    "TrunkSpec",
    "Weights",
    "balance",
    "build_backbone",
    "build_head",
    "copy_units",
    "log_probabilities",
    "masked_loss",
    "probabilities",
]
