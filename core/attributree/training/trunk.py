"""Training a trunk from random weights, end to end on the first attributes.

A trunk without learnt weights is no ground to grow on, so the whole backbone is trained once, as one multi-label
model with a head for each attribute that has labels. Its upper units are the donor of the first branches; attributes
that come later find a trunk that has seen clothes, or whatever the catalogue holds.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..config import BranchSettings
from ..errors import TrainingError
from ..nn import Backbone, balance, copy_units, masked_loss, probabilities
from ..progress import Progress
from .data import Samples, pick_device
from .donors import Donor
from .fit import rate_share
from .grow import seed_everything
from .metrics import score

#: Largest shift of a training picture, as a share of its size.
SHIFT = 0.08


@dataclass(frozen=True, eq=False)
class TrainedTrunk:
    """The trunk is trained in place; `donor` is the upper units that it was trained with."""

    donor: Donor
    epochs: int
    macro_f1: dict[str, float]  # on the validation split, 0..1


class _Joint(nn.Module):
    """Trunk, upper units and heads in one module, so that best weights are kept and restored together."""

    def __init__(self, backbone: Backbone, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.trunk = backbone.trunk
        self.units = nn.ModuleDict(copy_units(backbone.upper))
        self.heads = nn.ModuleDict(dict(heads))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        features = self.trunk(pixels).float()  # (B, C, H, W)
        for unit in self.units.values():
            features = unit(features)
        return {name: head(features) for name, head in self.heads.items()}


def train_trunk(
    backbone: Backbone,
    samples: Mapping[str, Samples],
    heads: Mapping[str, nn.Module],
    recipe: BranchSettings,
    progress: Progress | None = None,
) -> TrainedTrunk:
    """Train `backbone.trunk` on every image that any of the attributes says something about.

    `samples` by attribute, with one view of pixels (S, S, 3) uint8 as inputs, the same array for all. The loss is the
    sum over attributes of the mean over what was observed. The epoch with the best mean validation macro-F1 is
    kept. Raises TrainingError if the loss stops being a number.
    """
    rng = seed_everything(recipe.seed, "trunk")
    device = pick_device(recipe.device)
    _reset(backbone)
    model = _Joint(backbone, heads).to(device)
    train = {name: part.part("train") for name, part in samples.items()}
    val = {name: part.part("val", labelled_only=True) for name, part in samples.items()}
    weights = {
        name: balance(part.labels.attribute.labels, part.target).to(device) if recipe.class_balance else None
        for name, part in train.items()
    }
    pixels_of = next(iter(samples.values())).inputs[0]
    rows = np.unique(np.concatenate([part.rows[:, 0] for part in train.values()]))
    table = {name: _by_row(part, rows) for name, part in train.items()}
    steps = recipe.epochs * math.ceil(len(rows) / recipe.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=0.05, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(step, steps))
    best, best_epoch, best_f1, best_state = -1.0, 0, dict[str, float](), dict[str, Tensor]()
    if progress:
        progress("trunk", 0, recipe.epochs)
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        order = rng.permutation(len(rows))
        for start in range(0, len(order), recipe.batch_size):
            batch = np.sort(order[start : start + recipe.batch_size])
            if len(batch) == 1:
                continue  # BatchNorm cannot be trained on one image
            pixels = _augment(np.ascontiguousarray(pixels_of[rows[batch]]), rng, recipe.flip)
            logits = model(torch.from_numpy(pixels).to(device))
            losses = []
            for name, (target, weight) in table.items():
                if not (weight[batch] > 0).any():
                    continue
                losses.append(
                    masked_loss(
                        train[name].labels.attribute.labels,
                        logits[name],
                        torch.from_numpy(target[batch]).to(device),
                        torch.from_numpy(weight[batch]).to(device),
                        value_weight=weights[name],
                        smoothing=recipe.label_smoothing,
                    )
                )
            loss = torch.stack(losses).sum()
            if not torch.isfinite(loss):
                raise TrainingError(f"trunk: the loss became {loss.item()} in epoch {epoch}; nothing was promoted")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            scheduler.step()
        f1 = _validate(model, val, device)
        mean = float(np.mean(list(f1.values())))
        if mean > best:
            best, best_epoch, best_f1 = mean, epoch, f1
            best_state = copy.deepcopy(model.state_dict())
        if progress:
            progress("trunk", epoch, recipe.epochs)
        if epoch - best_epoch >= recipe.patience:
            break
    model.load_state_dict(best_state)
    model.cpu().eval()
    return TrainedTrunk(Donor("trunk", dict(model.units.items())), best_epoch, best_f1)


def _reset(backbone: Backbone) -> None:
    """Draw the random weights anew, from the seed: how often a generator was used before must not matter."""
    for module in [*backbone.trunk.modules(), *(m for unit in backbone.upper.values() for m in unit.modules())]:
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _by_row(part: Samples, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return targets (M, C) and weights (M,) for all `rows`, weight 0 where the attribute is silent."""
    target = np.zeros((len(rows), part.labels.target.shape[1]), dtype=np.float32)
    weight = np.zeros(len(rows), dtype=np.float32)
    at = np.searchsorted(rows, part.rows[:, 0])
    target[at], weight[at] = part.labels.target, part.labels.weight
    return target, weight


def _augment(pixels: npt.NDArray[np.uint8], rng: np.random.Generator, flip: bool) -> npt.NDArray[np.uint8]:
    """Return the pictures (B, S, S, 3) shifted a little, their edge repeated, and mirrored by chance if `flip`."""
    size = pixels.shape[1]
    reach = round(size * SHIFT)
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    out = np.empty_like(pixels)
    for i, (y, x) in enumerate(rng.integers(0, 2 * reach + 1, size=(len(pixels), 2))):
        out[i] = padded[i, y : y + size, x : x + size]
    mirrored = rng.random(len(pixels)) < 0.5
    if flip:
        out[mirrored] = out[mirrored, :, ::-1]
    return out


@torch.inference_mode()
def _validate(model: _Joint, val: Mapping[str, Samples], device: torch.device) -> dict[str, float]:
    """Return each attribute's macro-F1 on its unambiguous validation samples."""
    model.eval()
    rows = np.unique(np.concatenate([part.rows[:, 0] for part in val.values()]))
    pixels_of = next(iter(val.values())).inputs[0]
    out: dict[str, list[Tensor]] = {name: [] for name in val}
    for start in range(0, len(rows), 64):
        pixels = np.ascontiguousarray(pixels_of[rows[start : start + 64]])
        for name, logits in model(torch.from_numpy(pixels).to(device)).items():
            out[name].append(logits.float().cpu())
    f1 = {}
    for name, part in val.items():
        labels = part.labels.attribute.labels
        mine = torch.cat(out[name])[np.searchsorted(rows, part.rows[:, 0])]
        if not bool(torch.isfinite(mine).all()):
            raise TrainingError(f"trunk: {name} answers something that is not a number; nothing was promoted")
        f1[name] = score(labels, probabilities(labels.kind, mine).numpy(), part.labels.target).macro_f1
    return f1
