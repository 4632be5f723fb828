"""Growing: append a branch and train it with the trunk frozen."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from ..answers import Floats
from ..errors import TrainingError
from ..nn.losses import probabilities
from ..nn.tree import Branch, copy_units
from ..nn.trunk import OWN, PIXELS, Reads, Trunk, own_trunk, read_by
from ..plugins.hookspecs import Loss
from ..reports import Progress
from ..schema import Labels
from ..settings.models import EXIT, NETWORK, BranchSettings
from .calibrate import Calibration, calibrate
from .checkpoint import Checkpoints, Fit
from .data import Samples, pick_device
from .donors import Donor, DonorFeatures, average, choose_donor, pooled_features, run_frozen
from .fit import BranchTask, predict_logits
from .linear import MOST_LAYERS, held_out, is_linear, solve
from .loop import agreed, run_loop, seconds_of_step, seed_everything
from .metrics import Scores, majority_macro_f1, score

#: What a branch is above the trunk, from cheap to dear: a head alone, or with a donor's units, none, one or all of them
#: its own, or a whole network, a trunk of its own too. "auto" measures as many as could be worth it.
DEPTHS = (EXIT, "head", "block", "stage", NETWORK)
#: A cheaper depth is taken if its score, the merit on validation, is at most so far below the best (0.01 is one point).
GOOD_ENOUGH = 0.01
#: With depth "auto", units are trained for this share of the epochs first.
TRIAL = 0.25
#: They are given up after it if they score so far below what is there already.
HOPELESS = 0.05

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
    left_out: dict[str, str] = field(default_factory=dict)  # depths that "auto" did not train to the end, and why


def grow(
    samples: Mapping[Reads, Samples],
    donors: list[Donor],
    new_head: Callable[[], nn.Module],
    recipe: BranchSettings,
    *,
    new_exit: Callable[[], nn.Module] | None = None,
    trunk: Trunk | None = None,
    features: DonorFeatures | None = None,
    loss: Loss | None = None,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Grown:
    """Return a branch trained on `samples` of the trunk's features, all splits together.

    What units read of it, its maps (C, H, W) or tokens (T, D), is there if anything but an exit is to be tried, and
    what the heads that `new_exit` makes read, maps or pyramids (P,), for the same images. Without `new_exit` no exit is
    tried. A whole network begins at a copy of `trunk` and is tried if there are pixels (S, S, 3).

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

    if recipe.depth == NETWORK and (trunk is None or PIXELS not in samples):
        raise TrainingError(f'{name}: depth = "{NETWORK}" needs a trunk to begin at and pixels, and was not given both')

    growth, chosen = _Growth(name, samples, recipe, features, loss, checkpoints, progress), None
    if new_exit and recipe.depth in ("auto", EXIT):
        seed_everything(recipe.seed, f"{name} {EXIT}")
        growth.made[EXIT] = growth.fit(Branch({}, new_exit()), None, EXIT)
    if not growth.made or (donors and recipe.depth == "auto" and not growth.enough):
        for each in donors:
            nn.ModuleDict(dict(each.units)).to(device).eval()
        below = samples[read_by(units for donor in donors[:1] for units in donor.units.values())]
        known, unseen = (below.part(split, labelled_only=True) for split in ("train", "val"))
        chosen = choose_donor(donors, known, unseen, features, recipe.seed)
        growth.grow_on(chosen.donor, new_head, trunk)
    depth = growth.cheapest()
    branch, fitted = growth.made[depth]
    branch.to(device)
    answer = partial(predict_logits, branch, device=device)
    donor = chosen.donor if chosen and depth != EXIT else None
    more, head = None, branch.head
    if fitted.penalty is not None and is_linear(head):
        seen, _ = growth.readable(branch, donor, depth)
        more = partial(held_out, head, seen, fitted, recipe, loss)
    calibration, scores, probs = finish(labels, samples[branch.reads], answer, recipe, more)
    return Grown(
        branch=branch.cpu(),
        depth=depth,
        donor=donor.name if donor else None,
        probe=chosen.scores if chosen else {},
        depths={name: fitted for name, (_, fitted) in growth.made.items()},
        left_out=growth.left_out,
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


@dataclass(frozen=True, eq=False)
class _Growth:
    """The branches of one attribute that were made, by depth, and why others were not."""

    name: str
    samples: Mapping[Reads, Samples]
    recipe: BranchSettings
    features: DonorFeatures
    loss: Loss | None
    checkpoints: Checkpoints | None
    progress: Progress | None
    made: dict[str, Candidate] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """The best score so far."""
        return max((fitted.score for _, fitted in self.made.values()), default=0.0)

    @property
    def enough(self) -> bool:
        """Whether nothing deeper could be better by enough."""
        return self.best >= 1 - GOOD_ENOUGH

    def cheapest(self) -> str:
        """Return the cheapest depth whose score is within GOOD_ENOUGH of the best."""
        return next(d for d in DEPTHS if d in self.made and self.made[d][1].score >= self.best - GOOD_ENOUGH)

    def grow_on(self, donor: Donor, new_head: Callable[[], nn.Module], trunk: Trunk | None) -> None:
        """Train the head on the donor's features, then from there each depth that is wanted."""
        wanted, count = self.recipe.depth, len(donor.units)
        seed_everything(self.recipe.seed, f"{self.name} head")
        head = new_head()
        trained = self.fit(Branch(copy_units(donor.units), head, count), donor, "head")
        if wanted in ("auto", "head"):
            self.made["head"] = trained

        def start(depth: str) -> Branch:
            units, begun = copy_units(donor.units), copy.deepcopy(head)
            if depth == NETWORK:
                assert trunk is not None
                return Branch({OWN: own_trunk(trunk), **units}, begun)
            return Branch(units, begun, count - 1 if depth == "block" else 0)

        if wanted not in ("auto", "head"):
            self.made[wanted] = self.fit(start(wanted), donor, wanted)
        elif wanted == "auto" and not self.enough:
            whole = [NETWORK] if trunk and PIXELS in self.samples else []
            self._descend(donor, start, [*whole, "stage", *(["block"] if count > 1 else [])])

    def _descend(self, donor: Donor, start: Callable[[str], Branch], depths: Sequence[str]) -> None:
        """Try `depths` from the dearest down, as long as they gain: what trains more can learn more."""
        for depth in depths:
            before, branch = self.best, start(depth)
            task, phase = self._task(branch, donor, depth), f"{depth} trial"
            trial = max(1, round(TRIAL * self.recipe.epochs))
            if not (self.checkpoints and self.checkpoints.has(phase)):  # what was begun is gone on with
                seconds = agreed(self.recipe, seconds_of_step(task, self.recipe)) * task.steps * self.recipe.epochs
                if seconds > 60 * self.recipe.budget_minutes:
                    allowed = f"training -> budget_minutes is {self.recipe.budget_minutes:g}"
                    self.left_out[depth] = f"would take some {seconds / 60:.1f} minutes, {allowed}"
                    continue
            tried = self._loop(task, phase, trial, patience=trial)
            if tried.score < before - HOPELESS:
                self.left_out[depth] = f"scored {tried.score:.3f} after {trial} epochs, others {before:.3f}"
                return
            fitted = self._loop(task, depth, max(1, self.recipe.epochs - trial))
            self.made[depth] = branch.eval(), fitted
            if fitted.score < before + GOOD_ENOUGH:
                return

    def fit(self, branch: Branch, donor: Donor | None, depth: str) -> Candidate:
        """Train what is not frozen of `branch`, in place; what is frozen is run once, and training reads its output.

        A head alone that is linear in what it reads is solved, anything else goes through the loop.
        """
        head = branch.head.to(pick_device(self.recipe.device))
        if depth in (EXIT, "head") and is_linear(head):
            train, val = self.readable(branch, donor, depth)
            solved = solve(head, train, val, self.recipe, self.loss, _counter(self.progress, depth, MOST_LAYERS))
            return branch.eval(), solved
        task = self._task(branch, donor, depth)
        return branch.eval(), self._loop(task, depth, self.recipe.epochs, from_start=depth not in (EXIT, "head"))

    def readable(self, branch: Branch, donor: Donor | None, depth: str) -> tuple[Samples, Samples]:
        """Return the train and the unambiguous validation samples of what is above the frozen part of `branch`."""
        samples, device = self.samples[branch.reads], pick_device(self.recipe.device)
        train, val = samples.part("train"), samples.part("val", labelled_only=True)
        averaged, reduced = getattr(branch.head, "pooled", False), getattr(branch.head, "reduced", None)
        deeper = depth not in (EXIT, "head")
        if donor and averaged and not deeper:
            return self.features(donor, train), self.features(donor, val)
        if branch.frozen or not deeper:
            units = dict(list(branch.units.items())[: branch.frozen])
            reduce = None if deeper else average if averaged else reduced
            if units or reduce:
                return run_frozen(units, train, device, reduce), run_frozen(units, val, device, reduce)
        return train, val

    def _task(self, branch: Branch, donor: Donor | None, depth: str) -> BranchTask:
        train, val = self.readable(branch, donor, depth)
        upper = _Upper(branch)
        groups = [{"params": list(upper.parameters()), "lr": self.recipe.learning_rate}]
        return BranchTask(upper, groups, train, val, self.recipe, self.loss)

    def _loop(
        self, task: BranchTask, phase: str, epochs: int, *, patience: int | None = None, from_start: bool = True
    ) -> Fit:
        recipe = self.recipe.model_copy(update={"epochs": epochs})
        return run_loop(
            task,
            recipe,
            phase=phase,
            checkpoints=self.checkpoints,
            patience=patience,
            from_start=from_start,
            progress=_counter(self.progress, phase, epochs),
        )


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
