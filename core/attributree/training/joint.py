"""Training a trunk and branches together, end to end, on whatever labels each image has.

One attribute is an individual model, all attributes over one set of upper units a multi-label model, and a live tree's
branches are finetuned.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import TrainingError
from ..nn.losses import balance, log_probabilities, masked_loss, probabilities
from ..nn.tree import JointModel
from ..plugins.hookspecs import Loss
from ..reports import Progress
from ..schema import Labels
from ..settings.models import BranchSettings
from .checkpoint import Checkpoints, Fit
from .data import Samples, Share
from .fit import augment
from .loop import run_loop
from .metrics import score

_EVAL_BATCH = 64


@dataclass(frozen=True)
class Rates:
    """Peak learning rates of what had weights before, and of the heads, as shares of the recipe's."""

    body: float = 1.0
    heads: float = 1.0


@dataclass(frozen=True, eq=False)
class Teacher:
    """What the live tree says: logits (M, K) for the images at `rows` (M,) of the pixel store."""

    rows: npt.NDArray[np.int64]
    logits: Tensor


@dataclass(frozen=True)
class JointFit:
    """How joint training went: its loop, and each attribute's validation macro-F1 (0..1) at the best epoch."""

    fit: Fit
    macro_f1: dict[str, float]


def train_joint(
    model: JointModel,
    samples: Mapping[str, Samples],
    recipe: BranchSettings,
    *,
    name: str,
    phase: str = "whole",
    rates: Rates | None = None,
    teachers: Mapping[str, Teacher] | None = None,
    losses: Mapping[str, Loss] | None = None,
    checkpoints: Checkpoints | None = None,
    from_start: bool = False,
    progress: Progress | None = None,
) -> JointFit:
    """Train `model` in place, trunk and branches, and leave it with its best weights.

    `samples` by attribute, all splits, with one view of pixels (S, S, 3) uint8 as inputs, the same array for all. The
    loss is the sum over attributes of the mean over what was observed; the score is the mean validation macro-F1 over
    unambiguous samples. With `teachers`, answers on the training images these speak of stay near theirs
    (`recipe.distill`), and batches are drawn so that attributes with few labels are seen as well. `losses` by attribute
    are `masked_loss` by default.
    Raises TrainingError if the loss stops being a number.
    """
    task = _JointTask(name, model, samples, recipe, rates or Rates(), teachers or {}, losses or {})
    fit = run_loop(
        task,
        recipe,
        phase=phase,
        checkpoints=checkpoints,
        from_start=from_start,
        progress=(lambda epoch: progress(name, epoch, recipe.epochs)) if progress else None,
    )
    return JointFit(fit, task.macro_f1())


class _JointTask:
    """Many attributes' supervision over one set of images, as the loop sees it."""

    partial = True

    def __init__(
        self,
        name: str,
        model: JointModel,
        samples: Mapping[str, Samples],
        recipe: BranchSettings,
        rates: Rates,
        teachers: Mapping[str, Teacher],
        losses: Mapping[str, Loss],
    ) -> None:
        self.name = name
        self.module: nn.Module = model
        self._model = model
        self._recipe = recipe
        self._pixels = next(iter(samples.values())).inputs[0]
        train = {attribute: part.part("train") for attribute, part in samples.items()}
        self._val = {attribute: part.part("val", labelled_only=True) for attribute, part in samples.items()}
        spoken = [part.rows[:, 0] for part in train.values()] + [teacher.rows for teacher in teachers.values()]
        self._rows = np.unique(np.concatenate(spoken))  # (N,) of the pixel store
        self._labels: dict[str, Labels] = {a: part.labels.attribute.labels for a, part in train.items()}
        self._losses: dict[str, Loss] = {
            name: losses.get(name) or partial(masked_loss, labels) for name, labels in self._labels.items()
        }
        self._table = {attribute: _by_row(part, self._rows) for attribute, part in train.items()}
        self._balance = {
            attribute: balance(self._labels[attribute], part.target) if recipe.class_balance else None
            for attribute, part in train.items()
        }
        self._taught = {attribute: _taught(teacher, self._rows) for attribute, teacher in teachers.items()}
        self._draw = attribute_aware([target[1] for target in self._table.values()]) if teachers else None
        heads = [p for attribute in samples for p in model.branch(attribute).head.parameters()]
        own, rate = {id(p) for p in heads}, recipe.learning_rate
        body = [p for p in model.parameters() if id(p) not in own]
        self.groups: Sequence[Mapping[str, Any]] = [
            {"params": body, "lr": rate * rates.body},
            {"params": heads, "lr": rate * rates.heads},
        ]
        self.steps = math.ceil(len(self._rows) / recipe.batch_size)

    def batches(self, rng: np.random.Generator, share: Share) -> Iterator[tuple[Tensor, ...]]:
        count, size = len(self._rows), self._recipe.batch_size
        order = rng.permutation(count) if self._draw is None else rng.choice(count, count, p=self._draw)
        for start in range(0, count, size):
            batch = np.sort(order[start : start + size])
            if len(batch) == 1 and count > 1:
                continue  # BatchNorm cannot be trained on one image
            pixels = augment(np.ascontiguousarray(self._pixels[self._rows[batch]]), rng, self._recipe)
            yield torch.from_numpy(share.take(pixels).copy()), torch.from_numpy(share.take(batch))

    def loss(self, module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        pixels, index = batch
        device = next(self.module.parameters()).device
        logits: dict[str, Tensor] = module(pixels.to(device))
        total = torch.zeros((), device=device)
        for name, (target, weight) in self._table.items():
            scores = logits[name].float()  # (B, K)
            mine = weight[index]
            if bool((mine > 0).any()):
                value_weight = self._balance[name]
                total = total + self._losses[name](
                    scores,
                    target[index].to(device),
                    mine.to(device),
                    value_weight=None if value_weight is None else value_weight.to(device),
                    smoothing=self._recipe.label_smoothing,
                )
            if name in self._taught and self._recipe.distill:
                total = total + self._recipe.distill * distillation(
                    self._labels[name], scores, self._taught[name][index].to(device)
                )
        return total

    def validate(self) -> tuple[float, float]:
        self._model.eval()
        device = next(self.module.parameters()).device
        logits = predict_joint(self._model, self._val, device)
        losses, self._f1 = [], {}
        for name, part in self._val.items():
            labels = self._labels[name]
            if not bool(torch.isfinite(logits[name]).all()):
                raise TrainingError(f"{self.name}: {name} answers something that is not a number; nothing was promoted")
            weight = torch.from_numpy(part.labels.weight)
            loss = self._losses[name](logits[name], part.target, weight, value_weight=None, smoothing=0.0)
            losses.append(float(loss))
            probs = probabilities(labels.kind, logits[name]).numpy()
            self._f1[name] = score(labels, probs, part.labels.target).macro_f1
        return float(np.mean(list(self._f1.values()))), float(np.sum(losses))

    def macro_f1(self) -> dict[str, float]:
        """Return each attribute's validation macro-F1 with the weights as they are."""
        self.validate()
        return dict(self._f1)


def predict_joint(model: JointModel, samples: Mapping[str, Samples], device: torch.device) -> dict[str, Tensor]:
    """Return each attribute's logits (N, K) of its own samples of pixels, in order; an image is run once for all."""
    rows = {name: part.rows[:, 0] for name, part in samples.items()}
    return logits_at(model, next(iter(samples.values())).inputs[0], rows, device)


@torch.inference_mode()
def logits_at(
    model: JointModel, pixels: npt.NDArray[Any], rows: Mapping[str, npt.NDArray[np.int64]], device: torch.device
) -> dict[str, Tensor]:
    """Return each attribute's logits (M, K) of the images at its `rows` (M,) of `pixels`, on the CPU.

    An image is run once for all.
    """
    model.eval()
    every = np.unique(np.concatenate(list(rows.values())))
    out: dict[str, list[Tensor]] = {name: [] for name in rows}
    for start in range(0, len(every), _EVAL_BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(pixels[every[start : start + _EVAL_BATCH]])).to(device)
        for name, logits in model(batch, list(rows)).items():
            out[name].append(logits.float().cpu())
    return {name: torch.cat(out[name])[np.searchsorted(every, mine)] for name, mine in rows.items()}


def teach(
    model: JointModel, pixels: npt.NDArray[Any], rows: Mapping[str, npt.NDArray[np.int64]], device: torch.device
) -> dict[str, Teacher]:
    """Return what `model` says of the images at `rows` (M,) of `pixels`, by attribute."""
    logits = logits_at(model.to(device), pixels, rows, device)
    return {name: Teacher(mine, logits[name]) for name, mine in rows.items()}


def distillation(labels: Labels, logits: Tensor, taught: Tensor) -> Tensor:
    """Return how far `logits` (B, K) are from a teacher's, `taught` (B, K), NaN where it says nothing.

    Cross entropy with the teacher's probabilities, less its entropy, so that agreeing costs nothing; a multi-label
    attribute's values are averaged. Hinton et al., "Distilling the Knowledge in a Neural Network" (2015).
    """
    known = ~taught.isnan().any(dim=1)
    if not bool(known.any()):
        return logits.sum() * 0.0
    mine, theirs = logits[known], taught[known]
    if not labels.exclusive:
        soft = theirs.sigmoid()
        both = F.binary_cross_entropy_with_logits(mine, soft, reduction="none")
        own = F.binary_cross_entropy_with_logits(theirs, soft, reduction="none")
        return (both - own).mean()
    log_p, log_q = log_probabilities(labels.kind, mine), log_probabilities(labels.kind, theirs)
    return (log_q.exp() * (log_q - log_p)).sum(dim=1).mean()


def attribute_aware(weights: Sequence[Tensor]) -> npt.NDArray[np.float64]:
    """Return the probability (N,) of drawing each image, from each attribute's `weights` (N,), 0 for no label.

    Half of the draws are uniform. Of the other half each attribute gets the same part, shared by its labelled images:
    one with fifty labels among ten thousand images would else be in one batch of six.
    """
    labelled = torch.stack([(weight > 0).double() for weight in weights])  # (A, N)
    each = labelled / labelled.sum(dim=1, keepdim=True).clamp(min=1)
    p = (0.5 / labelled.shape[1] + 0.5 * each.mean(dim=0)).numpy()
    return np.asarray(p / p.sum(), dtype=np.float64)


def _by_row(part: Samples, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return targets (N, C) and weights (N,) for all `rows`, weight 0 where the attribute is silent."""
    target = np.zeros((len(rows), part.labels.target.shape[1]), dtype=np.float32)
    weight = np.zeros(len(rows), dtype=np.float32)
    at = np.searchsorted(rows, part.rows[:, 0])
    target[at], weight[at] = part.labels.target, part.labels.weight
    return torch.from_numpy(target), torch.from_numpy(weight)


def _taught(teacher: Teacher, rows: npt.NDArray[np.int64]) -> Tensor:
    """Return a teacher's logits (N, K) for all `rows`, NaN where it says nothing."""
    out = torch.full((len(rows), teacher.logits.shape[1]), torch.nan)
    out[torch.from_numpy(np.searchsorted(rows, teacher.rows))] = teacher.logits
    return out
