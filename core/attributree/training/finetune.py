"""Finetuning: trunk and branches together on all labels, each branch gated against the live one.

The paper's last stage. It begins at the live tree, so what it does not improve it should not spoil: the live tree
teaches where labels are missing, and an attribute that lost all the same is grown once more on the finetuned trunk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..answers import Floats
from ..nn import Branch, Crown, Reads, Trunk
from ..plugins.hookspecs import Loss
from ..reports import Progress
from ..settings.models import EXIT, BranchSettings
from .calibrate import Calibration
from .checkpoint import Checkpoints, Fit
from .data import Samples, pick_device, scratch
from .donors import Donor
from .gate import Verdict, gate_replaced
from .grow import Grown, finish, grow
from .joint import Rates, Teacher, predict_joint, train_joint
from .metrics import Scores

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


def finetune(
    model: Crown,
    samples: Mapping[str, Samples],
    live: Mapping[str, Floats],
    teachers: Mapping[str, Teacher],
    new_heads: Mapping[str, Callable[[], nn.Module]],
    recipe: BranchSettings,
    recipes: Mapping[str, BranchSettings],
    *,
    losses: Mapping[str, Loss] | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Finetuned:
    """Train `model`, a copy of the live tree's trunk and branches, in place, end to end.

    `samples` by attribute, all splits, with one view of pixels (S, S, 3) as inputs, the same array for all; `live`
    holds the live tree's probabilities (N, C) of each one's unambiguous validation samples, in today's values;
    `teachers` its logits on the training images that each attribute applies to; `recipes` each attribute's settings,
    `recipe` what they train together with, `losses` as in `train_joint`. The best epoch is kept, and the gate alone
    decides whether it is good enough: depths and epochs of the live branches were chosen on validation, so there they
    look better than they are.
    """
    fit = train_joint(
        model,
        samples,
        recipe,
        name="finetune",
        rates=RATES,
        teachers=teachers,
        losses=losses,
        checkpoints=checkpoints,
        progress=progress,
    ).fit
    device = pick_device(recipe.device)
    branches = {}
    for name, part in samples.items():
        found = _refine(model, name, part, live[name], recipes[name], device)
        if not found.verdict.promoted:
            loss = (losses or {}).get(name)
            again = _regrow(model, name, part, live[name], new_heads[name], recipes[name], loss, device, progress)
            found = again if again.verdict.promoted else found
        branches[name] = found
    model.cpu().eval()
    return Finetuned(model.trunk, branches, fit)


def _refine(
    model: Crown, name: str, part: Samples, live: Floats, recipe: BranchSettings, device: torch.device
) -> Refined:
    """Calibrate, score and gate a branch as it came out of the joint training."""
    labels = part.labels.attribute.labels

    def logits(samples: Samples) -> torch.Tensor:
        return predict_joint(model, {name: samples}, device)[name]

    calibration, scores, probs = finish(labels, part, logits, recipe)
    val = part.part("val", labelled_only=True)
    verdict = gate_replaced(labels, live, probs, val.labels.target, recipe)
    return Refined(model.branch(name), calibration, scores, verdict)


def _regrow(
    model: Crown,
    name: str,
    part: Samples,
    live: Floats,
    new_head: Callable[[], nn.Module],
    recipe: BranchSettings,
    loss: Loss | None,
    device: torch.device,
    progress: Progress | None,
) -> Refined:
    """Grow a branch on the finetuned trunk, from any of the finetuned branches; `new_head` is its kind of head.

    An exit stays one, and no other branch becomes one: their heads are not alike.
    """
    reads = model.branch(name).reads
    features = trunk_features(model.trunk, part, reads, device)
    limbs = model.limbs()
    donors = [Donor(other, dict(limb.branch.units.items()), limb.keys) for other, limb in limbs.items() if limb.keys]
    tell = (lambda what, epoch, of: progress(f"{name} again: {what}", epoch, of)) if progress else None
    if not limbs[name].keys:
        exit_recipe = recipe.model_copy(update={"depth": EXIT})
        grown = grow({reads: features}, [], new_head, exit_recipe, new_exit=new_head, loss=loss, progress=tell)
    else:
        depth = "auto" if recipe.depth == EXIT else recipe.depth
        deep_recipe = recipe.model_copy(update={"depth": depth})
        grown = grow({reads: features}, donors, new_head, deep_recipe, loss=loss, progress=tell)
    labels, val = part.labels.attribute.labels, features.part("val", labelled_only=True)
    verdict = gate_replaced(labels, live, grown.answers, val.labels.target, recipe)
    return Refined(grown.branch, grown.calibration, grown.scores, verdict, grown)


@torch.inference_mode()
def trunk_features(trunk: Trunk, samples: Samples, reads: Reads, device: torch.device) -> Samples:
    """Return `samples` of pixels as samples of the trunk's maps or pyramids, one view, in scratch space."""
    trunk.to(device).eval()
    out = None
    for start in range(0, len(samples), _BATCH):
        rows = samples.rows[start : start + _BATCH, 0]
        pixels = torch.from_numpy(np.ascontiguousarray(samples.inputs[0][rows])).to(device)
        features = trunk.features(pixels, (reads,))[reads].cpu().numpy()
        if out is None:
            out = scratch((len(samples), *features.shape[1:]), np.float16)
        out[start : start + len(features)] = features
    assert out is not None
    return Samples((out,), np.arange(len(samples))[:, None], samples.labels)
