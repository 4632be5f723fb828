"""Finetuning: trunk and branches together on all labels, each branch gated against the live one.

The paper's last stage. It begins at the live tree, so what it does not improve it should not spoil: the live tree
teaches where labels are missing, and an attribute that lost all the same is grown once more on the finetuned trunk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ..answers import Floats
from ..nn.tree import Branch, JointModel
from ..nn.trunk import OWN, PIXELS, Reads, Trunk
from ..reports import Progress, progress_of
from ..settings.models import EXIT, NETWORK, BranchSettings
from .calibrate import Calibration
from .checkpoint import Checkpoints, Fit
from .data import Samples, pick_device
from .donors import Donor
from .gate import Verdict, gate_replaced
from .grow import Grown, finish
from .joint import Rates, Teacher, predict_joint, train_joint
from .metrics import Scores
from .progressive import BranchSetup, grow_branch

#: Body and heads begin at learnt weights: their learning rates, as shares of the recipe's.
RATES = Rates(body=0.3, heads=0.3)
#: Pictures that go through the trunk together.
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Refined:
    """One attribute after finetuning. `regrown` reports its growth on the finetuned trunk, if it needed one."""

    branch: Branch
    calibration: Calibration
    scores: dict[str, Scores]
    verdict: Verdict
    regrown: Grown | None = None


@dataclass(frozen=True, eq=False)
class Finetuned:
    """The finetuned trunk and its branches."""

    trunk: Trunk
    branches: dict[str, Refined]
    fit: Fit

    @property
    def lost(self) -> list[str]:
        """The attributes that did not pass the gate."""
        return [name for name, refined in self.branches.items() if not refined.verdict.promoted]

    @property
    def passed(self) -> bool:
        """Whether the tree is worth its trunk: at least half of the attributes passed, the others keep their paths."""
        return 2 * len(self.lost) <= len(self.branches)


def finetune(
    model: JointModel,
    samples: Mapping[str, Samples],
    live: Mapping[str, Floats],
    teachers: Mapping[str, Teacher],
    setups: Mapping[str, BranchSetup],
    recipe: BranchSettings,
    *,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Train `model`, a copy of the live tree's trunk and branches, in place, end to end.

    `samples` by attribute, all splits, with one view of pixels (S, S, 3) as inputs, the same array for all; `live`
    holds the live tree's probabilities (N, C) of each one's unambiguous validation samples, in today's values;
    `teachers` its logits on the training images that each attribute applies to; `setups` how each attribute's branch is
    grown again, with the kind of head that it has; `recipe` is what they train together with. The best epoch is kept,
    and the gate alone decides whether it is good enough: depths and epochs of the live branches were chosen on
    validation, so there they look better than they are.
    """
    fit = train_joint(
        model,
        samples,
        recipe,
        name="finetune",
        rates=RATES,
        teachers=teachers,
        losses={name: setup.loss for name, setup in setups.items() if setup.loss},
        checkpoints=checkpoints,
        progress=progress,
    ).fit
    device = pick_device(recipe.device)
    branches = {}
    for name, part in samples.items():
        setup = setups[name]
        found = _refine(model, name, part, live[name], setup.recipe, device)
        if not found.verdict.promoted:
            again = _regrow(model, part, live[name], setup, device, progress)
            found = again if again and again.verdict.promoted else found
        branches[name] = found
    model.cpu().eval()
    return Finetuned(model.trunk, branches, fit)


def _refine(
    model: JointModel, name: str, part: Samples, live: Floats, recipe: BranchSettings, device: torch.device
) -> Refined:
    """Calibrate, score and gate a branch as it came out of the joint training."""
    labels = part.labels.attribute.labels
    calibration, scores, probs = finish(
        labels, part, lambda samples: predict_joint(model, {name: samples}, device)[name], recipe
    )
    val = part.part("val", labelled_only=True)
    verdict = gate_replaced(labels, live, probs["val"], val.labels.target, recipe)
    return Refined(model.branch(name), calibration, scores, verdict)


def _regrow(
    model: JointModel,
    part: Samples,
    live: Floats,
    setup: BranchSetup,
    device: torch.device,
    progress: Progress | None,
) -> Refined | None:
    """Grow a branch on the finetuned trunk, from any of the finetuned branches.

    An exit stays one, and no other branch becomes one: their heads are not alike. A whole network begins at itself.
    Returns None for an exit on a trunk of its own: there is no other to grow it on.
    """
    name, branches = setup.attribute.name, model.keyed_branches()
    branch, trunk, below = model.branch(name), model.trunk, model.trunk.below
    if not branch.units:
        depth, donors, reads = EXIT, [], {branch.reads}
    elif branch.on_trunk:
        depth = "auto" if setup.recipe.depth in (EXIT, NETWORK) else setup.recipe.depth
        donors, reads = [Donor.of(other, keyed) for other, keyed in branches.items() if keyed.branch.on_trunk], {below}
    else:
        units = branch.named_units()
        own = units.pop(OWN)
        assert isinstance(own, Trunk)
        if not units:
            return None
        depth, donors, reads, trunk = NETWORK, [Donor(name, units)], {below}, own
    trunk.to(device).eval()
    samples = {what: part.through(partial(_features, trunk, what), device, _BATCH) for what in reads}
    grown, verdict = grow_branch(
        samples | ({PIXELS: part} if depth == NETWORK else {}),
        donors,
        replace(setup, recipe=setup.recipe.model_copy(update={"depth": depth})),
        may_exit=depth == EXIT,
        trunk=trunk,
        live=lambda: live,
        progress=progress_of(f"{name} again", progress),
    )
    return Refined(grown.branch, grown.calibration, grown.scores, verdict, grown)


def _features(trunk: Trunk, what: Reads, pixels: Tensor) -> Tensor:
    return trunk.features(pixels, (what,))[what]
