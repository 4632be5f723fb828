"""Growing: append a branch and train it with the trunk frozen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..answers import Floats
from ..errors import TrainingError
from ..nn.losses import probabilities
from ..nn.tree import Branch, copy_units
from ..nn.trunk import Reads, read_by
from ..plugins.hookspecs import Loss
from ..reports import Progress
from ..schema import Labels
from ..settings.models import EXIT, BranchSettings
from .calibrate import Calibration, calibrate
from .checkpoint import Checkpoints, Fit
from .data import Samples, pick_device
from .donors import Donor, DonorFeatures, average, choose_donor, pooled_features, run_frozen
from .fit import BranchTask, predict_logits
from .linear import MOST_LAYERS, held_out, is_linear, solve
from .loop import run_loop, seed_everything
from .metrics import Scores, majority_macro_f1, score

#: What a branch is above the trunk, from cheap to dear: a head alone, or with a donor's units, none, one or all of them
#: its own. "auto" measures as many as could be worth it.
DEPTHS = (EXIT, "head", "block", "stage")
#: A cheaper depth is taken if it is at most so far below the best, in macro-F1 (0.01 is one point).
GOOD_ENOUGH = 0.01
#: Units that start from learnt weights take this share of the head's learning rate.
UNIT_RATE = 0.1
#: Beginning at a trained head, a deeper depth that gains nothing in so many epochs is given up.
DEEPER_PATIENCE = 3

#: A branch as one depth made it, and how that went.
Candidate = tuple[Branch, Fit]


@dataclass(frozen=True, eq=False)
class Grown:
    """A trained branch and everything its report says. Macro-F1 in 0..1, on the validation split."""

    branch: Branch
    depth: str
    donor: str | None  # None at an exit, which has no units
    probe: dict[str, float]  # donor -> macro-F1 of its linear probe
    depths: dict[str, Fit]
    calibration: Calibration
    scores: dict[str, Scores]  # "val", and "test" if it has labels
    floor: float  # macro-F1 of always giving the most frequent answer
    answers: Floats  # calibrated probabilities (N, C) of the unambiguous validation samples


def grow(
    samples: Mapping[Reads, Samples],
    donors: list[Donor],
    new_head: Callable[[], nn.Module],
    recipe: BranchSettings,
    *,
    new_exit: Callable[[], nn.Module] | None = None,
    features: DonorFeatures | None = None,
    loss: Loss | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Grown:
    """Return a branch trained on `samples` of the trunk's features, all splits together.

    What units read of it, its maps (C, H, W) or tokens (T, D), is there if anything but an exit is to be tried, and
    what the heads that `new_exit` makes read, maps or pyramids (P,), for the same images. Without `new_exit` no exit is
    tried.
    Linear probe first, then fine-tuning (Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022):
    the head is trained on the donor's frozen features, and what is unfrozen starts from there. `features` gives the
    donors' features, by default computed on the spot; `loss` is `masked_loss` by default. Raises TrainingError if
    there is nothing to train or to validate on, no donor for what needs one, or the loss stops being a number.
    """
    label_set = next(iter(samples.values())).labels
    name, labels = label_set.attribute.name, label_set.attribute.labels
    device = pick_device(recipe.device)
    features = features or partial(pooled_features, device=device)
    train, val = label_set.part("train"), label_set.part("val", labelled_only=True)
    if len(train) < 2 or not len(val):
        raise TrainingError(
            f"{name}: {len(train)} images to train on and {len(val)} unambiguous ones to validate on; "
            "at least 2 and 1 are needed. Label more, or set the split column"
        )
    if labels.size > 1 and train.different() < 2:
        raise TrainingError(f"{name}: every label in the train split says the same; label images of another value too")
    if recipe.depth == EXIT and new_exit is None:
        raise TrainingError(f'{name}: depth = "{EXIT}" needs a head for the trunk\'s features, and none was given')

    def train_one(branch: Branch, donor: Donor | None, depth: str) -> Candidate:
        fitted = fit_branch(branch, donor, depth, samples[branch.reads], recipe, features, loss, checkpoints, progress)
        return branch.eval(), fitted

    candidates, chosen = dict[str, Candidate](), None
    if new_exit and recipe.depth in ("auto", EXIT):
        seed_everything(recipe.seed, f"{name} {EXIT}")
        candidates[EXIT] = train_one(Branch({}, new_exit()), None, EXIT)
    if not candidates or (donors and recipe.depth == "auto" and not _is_enough(candidates)):
        for each in donors:
            nn.ModuleDict(dict(each.units)).to(device).eval()
        below = samples[read_by(units for donor in donors[:1] for units in donor.units.values())]
        known, unseen = (below.part(split, labelled_only=True) for split in ("train", "val"))
        chosen = choose_donor(donors, known, unseen, features, recipe.seed)
        candidates |= _try_depths(name, chosen.donor, new_head, recipe.depth, recipe.seed, train_one)
    depth = _cheapest(candidates)
    branch = candidates[depth][0].to(device)
    answer = partial(predict_logits, branch, device=device)
    donor = chosen.donor if chosen and depth != EXIT else None
    more, head, fitted = None, branch.head, candidates[depth][1]
    if fitted.penalty is not None and is_linear(head):
        seen, _ = _readable(branch, donor, depth, samples[branch.reads], features, device)
        more = partial(held_out, head, seen, fitted, recipe, loss)
    calibration, scores, probs = finish(labels, samples[branch.reads], answer, recipe, more)
    return Grown(
        branch=branch.cpu(),
        depth=depth,
        donor=donor.name if donor else None,
        probe=chosen.scores if chosen else {},
        depths={name: fitted for name, (_, fitted) in candidates.items()},
        calibration=calibration,
        scores=scores,
        floor=majority_macro_f1(labels, label_set.part("train", labelled_only=True).target, val.target),
        answers=probs["val"],
    )


def finish(
    labels: Labels,
    samples: Samples,
    logits: Callable[[Samples], Tensor],
    recipe: BranchSettings,
    more: Callable[[], tuple[Tensor, Tensor]] | None = None,
) -> tuple[Calibration, dict[str, Scores], dict[str, Floats]]:
    """Calibrate a trained branch on validation and score it there and, if it has labels, on test.

    `logits` gives the branch's (N, K) for a part of `samples`; `more` logits (M, K) and targets (M, C) of other images
    that were held out, to calibrate on as well. Returns the calibration, and by split the scores and the calibrated
    probabilities (N, C) of the unambiguous samples.
    """
    parts = {split: samples.part(split, labelled_only=True) for split in ("val", "test")}
    made = {split: logits(part) for split, part in parts.items() if len(part)}
    enough = len(samples) - int(samples.labels.ambiguous.sum()) >= recipe.min_calibration_labels
    precision = recipe.target_precision
    held, target = made["val"], parts["val"].target
    if enough and more:
        held, target = (torch.cat(pair) for pair in zip((held, target), more(), strict=True))
    calibration = calibrate(labels, held, target, precision=precision, enough=enough)
    probs = {split: probabilities(labels.kind, each, calibration.temperature).numpy() for split, each in made.items()}
    scores = {split: score(labels, each, parts[split].labels.target, calibration.cut) for split, each in probs.items()}
    return calibration, scores, probs


def _try_depths(
    name: str,
    donor: Donor,
    new_head: Callable[[], nn.Module],
    depth: str,
    seed: int,
    train_one: Callable[[Branch, Donor, str], Candidate],
) -> dict[str, Candidate]:
    """Train the head on the donor's features, then from there each depth that is wanted; return what each made."""
    wanted = DEPTHS if depth == "auto" else (depth,)
    seed_everything(seed, f"{name} head")
    head = new_head()
    out: dict[str, Candidate] = {}
    for depth, owned in (("head", 0), ("block", 1), ("stage", len(donor.units))):
        if depth != "head" and depth not in wanted:
            continue
        if depth == "block" and len(donor.units) == 1 and "stage" in wanted:
            continue  # the stage is one block
        branch = Branch(copy_units(donor.units), copy.deepcopy(head), len(donor.units) - owned)
        trained = train_one(branch, donor, depth)
        if depth == "head":
            head = branch.head  # what is trained next begins at it
        if depth in wanted:
            out[depth] = trained
        if len(wanted) > 1 and _is_enough(out):
            break
    return out


def fit_branch(
    branch: Branch,
    donor: Donor | None,
    depth: str,
    samples: Samples,
    recipe: BranchSettings,
    features: DonorFeatures,
    loss: Loss | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Fit:
    """Train what is not frozen of `branch`, in place; what is frozen is run once, and training reads its output.

    A head alone that is linear in what it reads is solved, anything else goes through the loop.

    `samples` of what the branch reads, all splits.
    """
    device, deeper = pick_device(recipe.device), depth not in (EXIT, "head")
    train, val = _readable(branch, donor, depth, samples, features, device)
    head = branch.head.to(device)
    if not deeper and is_linear(head):
        return solve(head, train, val, recipe, loss, _counter(progress, depth, MOST_LAYERS))
    upper = _Upper(branch)
    groups = [
        {"params": list(branch.head.parameters()), "lr": recipe.learning_rate * (0.3 if deeper else 1.0)},
        {"params": list(upper.units.parameters()), "lr": recipe.learning_rate * UNIT_RATE},
    ]
    task = BranchTask(upper, [group for group in groups if group["params"]], train, val, recipe, loss)
    return run_loop(
        task,
        recipe,
        phase=depth,
        checkpoints=checkpoints,
        patience=min(recipe.patience, DEEPER_PATIENCE) if deeper else None,
        from_start=deeper,
        progress=_counter(progress, depth, recipe.epochs),
    )


def _readable(
    branch: Branch, donor: Donor | None, depth: str, samples: Samples, features: DonorFeatures, device: torch.device
) -> tuple[Samples, Samples]:
    """Return the train and the unambiguous validation samples of what is above the frozen part of `branch`."""
    train, val = samples.part("train"), samples.part("val", labelled_only=True)
    averaged, reduced = getattr(branch.head, "pooled", False), getattr(branch.head, "reduced", None)
    deeper = depth not in (EXIT, "head")
    if donor and averaged and not deeper:
        return features(donor, train), features(donor, val)
    if branch.frozen or not deeper:
        units = dict(list(branch.units.items())[: branch.frozen])
        reduce = None if deeper else average if averaged else reduced
        if units or reduce:
            return run_frozen(units, train, device, reduce), run_frozen(units, val, device, reduce)
    return train, val


def _counter(progress: Progress | None, what: str, of: int) -> Callable[[int], None] | None:
    return (lambda done: progress(what, done, of)) if progress else None


class _Upper(nn.Module):
    """The part of a branch above its frozen units."""

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.units = nn.Sequential(*list(branch.units.values())[branch.frozen :])
        self.head = branch.head

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.units(features.float()))
        return logits


def _is_enough(candidates: dict[str, Candidate]) -> bool:
    """Return whether nothing deeper could be better by enough."""
    return max(fitted.score for _, fitted in candidates.values()) >= 1 - GOOD_ENOUGH


def _cheapest(candidates: dict[str, Candidate]) -> str:
    """Return the cheapest depth whose macro-F1 is within GOOD_ENOUGH of the best."""
    best = max(fitted.score for _, fitted in candidates.values())
    return next(d for d in DEPTHS if d in candidates and candidates[d][1].score >= best - GOOD_ENOUGH)
