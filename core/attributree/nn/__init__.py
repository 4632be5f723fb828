"""The network: trunk, branches, heads, losses and the tree. torch, and never SQLAlchemy."""

from ..heads import LinearHead
from .heads import HeadFactory, build_head
from .losses import balance, build_loss, log_probabilities, masked_loss, probabilities
from .tree import Branch, Crown, Limb, Tree, Weights, copy_units, weights_of
from .trunk import HUB, MAPS, PYRAMID, RANDOM, Backbone, Features, Reads, Trunk, TrunkSpec, build_backbone

__all__ = [
    "HUB",
    "MAPS",
    "PYRAMID",
    "RANDOM",
    "Backbone",
    "Branch",
    "Crown",
    "Features",
    "HeadFactory",
    "Limb",
    "LinearHead",
    "Reads",
    "Tree",
    "Trunk",
    "TrunkSpec",
    "Weights",
    "balance",
    "build_backbone",
    "build_head",
    "build_loss",
    "copy_units",
    "log_probabilities",
    "masked_loss",
    "probabilities",
    "weights_of",
]
