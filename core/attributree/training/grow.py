"""Growing: append a branch and train it with the trunk frozen."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ..answers import Floats
from ..config import BranchSettings
from ..errors import TrainingError
from ..hookspecs import Loss
from ..nn import Branch, copy_units, probabilities
from ..progress import Progress
from ..schema import Labels
from .calibrate import Calibration, calibrate
from .checkpoint import Checkpoints, Fit
from .data import Samples, pick_device
from .donors import Donor, choose_donor
from .fit import fit, predict_logits
from .loop import seed_everything
from .metrics import Scores, majority_macro_f1, score
from .tops import ScratchTops, Tops, run_frozen

#: How much of the branch is trained, from cheap to dear; "auto" measures as many as could be worth it.
DEPTHS = ("head", "block", "stage")
#: A cheaper depth is taken if it is at most so far below the best, in macro-F1 (0.01 is one point).
GOOD_ENOUGH = 0.01
#: Units that start from learnt weights take this share of the head's learning rate.
UNIT_RATE = 0.1
#: Beginning at a trained head, a deeper depth that gains nothing in so many epochs is given up.
DEEPER_PATIENCE = 3


@dataclass(frozen=True, eq=False)
class Grown:
    """A trained branch and everything its report says. Macro-F1 in 0..1, on the validation split."""

    branch: Branch
    depth: str
    donor: str
    probe: dict[str, float]  # donor -> macro-F1 of its linear probe
    depths: dict[str, Fit]
    calibration: Calibration
    scores: dict[str, Scores]  # "val", and "test" if it has labels
    floor: float  # macro-F1 of always giving the most frequent answer
    answers: Floats  # calibrated probabilities (N, C) of the unambiguous validation samples


def grow(
    samples: Samples,
    donors: list[Donor],
    new_head: Callable[[], nn.Module],
    recipe: BranchSettings,
    *,
    tops: Tops | None = None,
    loss: Loss | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Grown:
    """Return a branch trained on `samples` of trunk features (C, H, W), all splits together.

    Linear probe first, then fine-tuning (Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022):
    the head is trained on the donor's frozen features, and what is unfrozen starts from there. `tops` gives the
    donors' features, by default computed on the spot; `loss` is `masked_loss` by default. Raises TrainingError if
    there is nothing to train or to validate on, or the loss stops being a number.
    """
    name, labels = samples.labels.attribute.name, samples.labels.attribute.labels
    device = pick_device(recipe.device)
    tops = tops or ScratchTops(device)
    train, val = samples.part("train"), samples.part("val", labelled_only=True)
    if len(train) < 2 or not len(val):
        raise TrainingError(
            f"{name}: {len(train)} images to train on and {len(val)} unambiguous ones to validate on; "
            "at least 2 and 1 are needed. Label more, or set the split column"
        )
    if labels.size > 1 and (train.labels.target > 0).any(axis=0).sum() < 2:
        raise TrainingError(f"{name}: every label in the train split says the same; label images of another value too")
    for donor in donors:
        nn.ModuleDict(dict(donor.units)).to(device).eval()
    known = samples.part("train", labelled_only=True)
    chosen = choose_donor(donors, known, val, tops, recipe.seed)
    candidates = _try_depths(name, train, val, chosen.donor, new_head, recipe, tops, loss, checkpoints, progress)
    depth = _cheapest(candidates)
    branch = candidates[depth][0].to(device)
    calibration, scores, answers = finish(labels, samples, lambda part: predict_logits(branch, part, device), recipe)
    return Grown(
        branch=branch.cpu(),
        depth=depth,
        donor=chosen.donor.name,
        probe=chosen.scores,
        depths={name: fitted for name, (_, fitted) in candidates.items()},
        calibration=calibration,
        scores=scores,
        floor=majority_macro_f1(labels, known.labels.target, val.labels.target),
        answers=answers,
    )


def finish(
    labels: Labels, samples: Samples, logits: Callable[[Samples], Tensor], recipe: BranchSettings
) -> tuple[Calibration, dict[str, Scores], Floats]:
    """Calibrate a trained branch on validation and score it there and on test.

    `logits` gives the branch's (N, K) for a part of `samples`. Returns the calibration, the scores by split, and the
    calibrated probabilities (N, C) of the unambiguous validation samples.
    """
    val, test = (samples.part(split, labelled_only=True) for split in ("val", "test"))
    val_logits = logits(val)
    enough = len(samples) - int(samples.labels.ambiguous.sum()) >= recipe.min_calibration_labels
    calibration = calibrate(labels, val_logits, val.target, precision=recipe.target_precision, enough=enough)
    probs = {"val": probabilities(labels.kind, val_logits, calibration.temperature).numpy()}
    if len(test):
        probs["test"] = probabilities(labels.kind, logits(test), calibration.temperature).numpy()
    scores = {
        split: score(labels, probs[split], part.labels.target, calibration.cut)
        for split, part in (("val", val), ("test", test))
        if split in probs
    }
    return calibration, scores, probs["val"]


def _try_depths(
    name: str,
    train: Samples,
    val: Samples,
    donor: Donor,
    new_head: Callable[[], nn.Module],
    recipe: BranchSettings,
    tops: Tops,
    loss: Loss | None,
    checkpoints: Checkpoints | None,
    progress: Progress | None,
) -> dict[str, tuple[Branch, Fit]]:
    """Train the head, then from there each depth that is wanted; return branch and fit of each."""
    wanted = DEPTHS if recipe.depth == "auto" else (recipe.depth,)
    seed_everything(recipe.seed, f"{name} head")
    head = new_head()
    out: dict[str, tuple[Branch, Fit]] = {}
    for depth in DEPTHS:
        if depth != "head" and depth not in wanted:
            continue
        if depth == "block" and len(donor.units) == 1 and "stage" in wanted:
            continue  # the stage is one block
        frozen = {"head": len(donor.units), "block": len(donor.units) - 1, "stage": 0}[depth]
        branch = Branch(copy_units(donor.units), copy.deepcopy(head), frozen)
        fitted = fit_branch(branch, donor, depth, train, val, recipe, tops, loss, checkpoints, progress)
        if depth == "head":
            head = branch.head  # what is trained next begins at it
        if depth in wanted:
            out[depth] = (branch.eval(), fitted)
        if recipe.depth == "auto" and max(fitted.score for _, fitted in out.values()) >= 1 - GOOD_ENOUGH:
            break  # nothing deeper could be better by enough
    return out


def fit_branch(
    branch: Branch,
    donor: Donor,
    depth: str,
    train: Samples,
    val: Samples,
    recipe: BranchSettings,
    tops: Tops,
    loss: Loss | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Train what is not frozen of `branch`, in place; what is frozen is run once, and the loop reads its output."""
    device = pick_device(recipe.device)
    if depth == "head" and getattr(branch.head, "pooled", False):
        train, val = tops.pooled(donor, train), tops.pooled(donor, val)
    elif branch.frozen:
        units = dict(list(branch.units.items())[: branch.frozen])
        train, val = run_frozen(units, train, device), run_frozen(units, val, device)
    upper = _Upper(branch)
    deeper = depth != "head"
    groups = [
        {"params": list(branch.head.parameters()), "lr": recipe.learning_rate * (0.3 if deeper else 1.0)},
        {"params": list(upper.units.parameters()), "lr": recipe.learning_rate * UNIT_RATE},
    ]
    return fit(
        upper,
        [group for group in groups if group["params"]],
        train,
        val,
        recipe,
        phase=depth,
        checkpoints=checkpoints,
        patience=min(recipe.patience, DEEPER_PATIENCE) if deeper else None,
        from_start=deeper,
        loss=loss,
        progress=(lambda epoch: progress(depth, epoch, recipe.epochs)) if progress else None,
    )


class _Upper(nn.Module):
    """The part of a branch above its frozen units."""

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.units = nn.Sequential(*list(branch.units.values())[branch.frozen :])
        self.head = branch.head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.units(features.float()))
        return logits


def _cheapest(candidates: dict[str, tuple[Branch, Fit]]) -> str:
    """Return the cheapest depth whose macro-F1 is within GOOD_ENOUGH of the best."""
    best = max(fitted.score for _, fitted in candidates.values())
    return next(d for d in DEPTHS if d in candidates and candidates[d][1].score >= best - GOOD_ENOUGH)
