"""Growing: append a branch and train it with the trunk frozen."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..config import BranchSettings
from ..errors import TrainingError
from ..nn import Branch, copy_units, probabilities
from ..progress import Progress
from .calibrate import Calibration, calibrate
from .data import Samples, pick_device, scratch
from .donors import Donor, choose_donor
from .fit import Fit, fit, predict_logits
from .metrics import Scores, majority_macro_f1, score

#: How much of the branch is trained, from cheap to dear; "auto" measures all three.
DEPTHS = ("head", "block", "stage")
#: A cheaper depth is taken if it is at most so far below the best, in macro-F1 (0.01 is one point).
GOOD_ENOUGH = 0.01
#: Units that start from learnt weights take this share of the head's learning rate.
UNIT_RATE = 0.1


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


def seed_everything(seed: int, name: str) -> np.random.Generator:
    """Seed torch for one attribute and return its NumPy generator: runs do not depend on their order."""
    mixed = [seed, zlib.crc32(name.encode())]
    torch.manual_seed(int(np.random.SeedSequence(mixed).generate_state(1)[0]))
    return np.random.default_rng(mixed)


def grow(
    samples: Samples,
    donors: list[Donor],
    new_head: Callable[[], nn.Module],
    recipe: BranchSettings,
    progress: Progress | None = None,
) -> Grown:
    """Return a branch trained on `samples` of trunk features (C, H, W), all splits together.

    Linear probe first, then fine-tuning (Kumar et al., "Fine-Tuning can Distort Pretrained Features", ICLR 2022):
    the head is trained on the donor's frozen features, and what is unfrozen starts from there.
    Raises TrainingError if there is nothing to train or to validate on, or the loss stops being a number.
    """
    name = samples.labels.attribute.name
    labels = samples.labels.attribute.labels
    rng = seed_everything(recipe.seed, name)
    device = pick_device(recipe.device)
    train, val = samples.part("train"), samples.part("val", labelled_only=True)
    if len(train) < 2 or not len(val):
        raise TrainingError(
            f"{name}: {len(train)} images to train on and {len(val)} unambiguous ones to validate on; "
            "at least 2 and 1 are needed. Label more, or set the split column"
        )
    for donor in donors:
        nn.ModuleDict(dict(donor.units)).to(device).eval()
    chosen = choose_donor(donors, samples.part("train", labelled_only=True), val, device, rng)
    head = new_head().to(device)
    candidates = _try_depths(train, val, chosen.donor, head, recipe, rng, progress)
    depth = _cheapest(candidates)
    branch = candidates[depth][0]
    val_logits = predict_logits(branch, val, device)
    enough = len(samples) - int(samples.labels.ambiguous.sum()) >= recipe.min_calibration_labels
    calibration = calibrate(labels, val_logits, val.target, precision=recipe.target_precision, enough=enough)
    test = samples.part("test", labelled_only=True)
    scores = {}
    for split, part in (("val", val), ("test", test)):
        if len(part):
            logits = val_logits if part is val else predict_logits(branch, part, device)
            probs = probabilities(labels.kind, logits, calibration.temperature).numpy()
            scores[split] = score(labels, probs, part.labels.target, calibration.cut)
    return Grown(
        branch=branch.cpu(),
        depth=depth,
        donor=chosen.donor.name,
        probe=chosen.scores,
        depths={name: fitted for name, (_, fitted) in candidates.items()},
        calibration=calibration,
        scores=scores,
        floor=majority_macro_f1(labels, train.part("train", labelled_only=True).labels.target, val.labels.target),
    )


def _try_depths(
    train: Samples,
    val: Samples,
    donor: Donor,
    head: nn.Module,
    recipe: BranchSettings,
    rng: np.random.Generator,
    progress: Progress | None,
) -> dict[str, tuple[Branch, Fit]]:
    """Train the head, then from there each depth that is wanted; return branch and fit of each."""
    names = list(donor.units)
    wanted = DEPTHS if recipe.depth == "auto" else (recipe.depth,)
    out: dict[str, tuple[Branch, Fit]] = {}
    start: dict[str, torch.Tensor] = {}
    for depth in DEPTHS:
        if depth != "head" and depth not in wanted:
            continue
        if depth == "block" and len(names) == 1 and "stage" in wanted:
            continue  # the stage is one block
        frozen = {"head": len(names), "block": len(names) - 1, "stage": 0}[depth]
        branch = Branch(copy_units(donor.units), head, frozen).to(pick_device(recipe.device))
        if start:
            branch.head.load_state_dict(start)
        # What is frozen is run once; the loop then trains what is left, an Upper, on its output.
        below = _run_frozen(branch, [train, val], recipe)
        upper = _Upper(branch)
        groups = [
            {"params": list(branch.head.parameters()), "lr": recipe.learning_rate * (1.0 if depth == "head" else 0.3)},
            {"params": list(upper.units.parameters()), "lr": recipe.learning_rate * UNIT_RATE},
        ]
        tell = (lambda epoch, depth=depth: progress(depth, epoch, recipe.epochs)) if progress else None
        fitted = fit(upper, [g for g in groups if g["params"]], below[0], below[1], recipe, rng, tell)
        if depth == "head":
            start = {k: v.clone() for k, v in branch.head.state_dict().items()}
        if depth in wanted:
            out[depth] = (_detached(branch), fitted)
    return out


class _Upper(nn.Module):
    """The part of a branch above its frozen units."""

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.units = nn.Sequential(*list(branch.units.values())[branch.frozen :])
        self.head = branch.head

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.units(features.float()))
        return logits


def _detached(branch: Branch) -> Branch:
    """Return a copy that the next depth, which shares the head, cannot change."""
    return copy.deepcopy(branch).eval()


@torch.inference_mode()
def _run_frozen(branch: Branch, parts: list[Samples], recipe: BranchSettings) -> list[Samples]:
    """Return `parts` with the output of the branch's frozen units as inputs; the same parts if none is frozen."""
    if not branch.frozen:
        return parts
    device = pick_device(recipe.device)
    units = nn.Sequential(*branch.frozen_units()).eval()
    rows = np.concatenate([part.rows for part in parts])  # (N, V) of all parts
    inputs = []
    for view, source in enumerate(parts[0].inputs):
        out: npt.NDArray[np.float16] | None = None
        for start in range(0, len(rows), 128):
            block = torch.from_numpy(np.ascontiguousarray(source[rows[start : start + 128, view]])).to(device)
            top = units(block.float()).half().cpu().numpy()  # (B, C', H', W')
            if out is None:
                out = scratch((len(rows), *top.shape[1:]), np.float16)
            out[start : start + len(top)] = top
        assert out is not None
        inputs.append(out)
    ends = np.cumsum([len(part) for part in parts])
    views = len(inputs)
    return [
        Samples(tuple(inputs), np.repeat(np.arange(end - len(part), end)[:, None], views, axis=1), part.labels)
        for part, end in zip(parts, ends, strict=True)
    ]


def _cheapest(candidates: dict[str, tuple[Branch, Fit]]) -> str:
    """Return the cheapest depth whose macro-F1 is within GOOD_ENOUGH of the best."""
    best = max(fitted.macro_f1 for _, fitted in candidates.values())
    return next(d for d in DEPTHS if d in candidates and candidates[d][1].macro_f1 >= best - GOOD_ENOUGH)
