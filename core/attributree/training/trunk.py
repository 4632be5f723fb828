"""Training a trunk from random weights, end to end on the first attributes.

Nothing can grow on a trunk without learnt weights, so the whole backbone is trained once, as one multi-label
model with a head for each attribute that has labels. Its upper units are the donor of the first branches; attributes
that come later find a trunk that has seen the kind of picture that the catalogue holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ..nn.tree import Branch, JointModel, KeyedBranch, copy_units
from ..nn.trunk import Backbone
from ..plugins.hookspecs import Loss
from ..reports import Progress
from ..settings.models import BranchSettings
from .checkpoint import Checkpoints
from .data import Samples
from .donors import Donor
from .joint import train_joint
from .loop import seed_everything


@dataclass(frozen=True, eq=False)
class TrainedTrunk:
    """`backbone` with its trunk trained; `donor` is the upper units that it was trained with, under `heads`."""

    backbone: Backbone
    donor: Donor
    heads: dict[str, nn.Module]
    epochs: int
    macro_f1: dict[str, float]  # on the validation split, 0..1


def one_for_all(backbone: Backbone, heads: Mapping[str, nn.Module]) -> JointModel:
    """Return a multi-label model: the whole backbone, its upper units shared by all `heads`."""
    units = copy_units(backbone.upper)
    return JointModel(
        backbone.trunk, {name: KeyedBranch(Branch(units, head), tuple(units)) for name, head in heads.items()}
    )


def train_trunk(
    backbone: Backbone,
    samples: Mapping[str, Samples],
    heads: Mapping[str, nn.Module],
    recipe: BranchSettings,
    *,
    losses: Mapping[str, Loss] | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> TrainedTrunk:
    """Train `backbone.trunk`, in place, on every image that any of the attributes says something about.

    `samples` by attribute, with one view of pixels (S, S, 3) uint8 as inputs, the same array for all. The epoch with
    the best mean validation macro-F1 is kept. `losses` as in `train_joint`. Raises TrainingError if the loss stops
    being a number.
    """
    reset(backbone, recipe.seed)
    model = one_for_all(backbone, heads)
    trained = train_joint(
        model, samples, recipe, name="trunk", losses=losses, checkpoints=checkpoints, progress=progress
    )
    model.cpu()
    first = model.branch(next(iter(heads)))
    donor = Donor("trunk", first.named_units())
    own = {name: model.branch(name).head for name in heads}
    return TrainedTrunk(backbone, donor, own, trained.fit.best, trained.macro_f1)


def reset(backbone: Backbone, seed: int) -> None:
    """Draw the random weights anew, from the seed: how often a generator was used before must not matter."""
    seed_everything(seed, "trunk")
    for module in [*backbone.trunk.modules(), *(m for unit in backbone.upper.values() for m in unit.modules())]:
        reset_parameters = getattr(module, "reset_parameters", None)
        if callable(reset_parameters):
            reset_parameters()
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
