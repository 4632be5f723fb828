"""Training one branch on features that are already there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..nn.losses import balance, masked_loss, probabilities
from ..plugins.hookspecs import Loss
from ..settings.models import BranchSettings
from .data import Samples, Share
from .metrics import score

#: Largest shift of a training picture, as a share of its size.
SHIFT = 0.08
_EVAL_BATCH = 128


@torch.inference_mode()
def predict_logits(module: nn.Module, samples: Samples, device: torch.device) -> Tensor:
    """Return logits (N, K) of `samples` in order, on the CPU. `module` takes one view of the inputs."""
    module.eval()
    out = [module(inputs.to(device)).float().cpu() for inputs, _, _ in samples.batches(_EVAL_BATCH)]
    return torch.cat(out)


def augment(pixels: npt.NDArray[np.uint8], rng: np.random.Generator, recipe: BranchSettings) -> npt.NDArray[np.uint8]:
    """Return the pictures (B, S, S, 3) shifted a little, their edge repeated, if `recipe.crop`.

    By chance they are mirrored if `recipe.flip`.
    """
    size = pixels.shape[1]
    reach = round(size * SHIFT) if recipe.crop else 0
    padded = np.pad(pixels, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    out = np.empty_like(pixels)
    for i, (y, x) in enumerate(rng.integers(0, 2 * reach + 1, size=(len(pixels), 2))):
        out[i] = padded[i, y : y + size, x : x + size]
    mirrored = rng.random(len(pixels)) < 0.5
    if recipe.flip:
        out[mirrored] = out[mirrored, :, ::-1]
    return out


class BranchTask:
    """One attribute's supervision, as the loop sees it: its score is the merit (accuracy and macro-F1) on `val`,
    unambiguous samples.

    `module` makes logits (B, K) of inputs (B, ...); `loss` is `masked_loss` by default. Pictures are shifted and
    mirrored anew each time, as the recipe has it.
    """

    partial = False

    def __init__(
        self,
        module: nn.Module,
        groups: Sequence[Mapping[str, Any]],
        train: Samples,
        val: Samples,
        recipe: BranchSettings,
        loss: Loss | None = None,
    ) -> None:
        self.name = train.labels.attribute.name
        self.module = module
        self.groups = groups
        self.steps = -(-len(train) // recipe.batch_size)
        self._train, self._val, self._recipe = train, val, recipe
        self._labels = train.labels.attribute.labels
        self._loss: Loss = loss or partial(masked_loss, self._labels)
        self._balance = balance(self._labels, train.target) if recipe.class_balance else None

    def batches(self, rng: np.random.Generator, share: Share) -> Iterator[tuple[Tensor, ...]]:
        """Yield (inputs, target, weight) of one epoch's train samples, this process's share."""
        for inputs, target, weight in self._train.batches(self._recipe.batch_size, rng, share):
            picture = inputs.dtype == torch.uint8
            yield torch.from_numpy(augment(inputs.numpy(), rng, self._recipe)) if picture else inputs, target, weight

    def loss(self, module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the attribute's loss of a batch, a scalar."""
        device = next(self.module.parameters()).device
        inputs, target, weight = (tensor.to(device) for tensor in batch)
        return self._loss(
            module(inputs).float(),  # (B, K)
            target,
            weight,
            value_weight=None if self._balance is None else self._balance.to(device),
            smoothing=self._recipe.label_smoothing,
        )

    def validate(self) -> tuple[float, float]:
        """Return the merit (0..1) and the loss on `val`; 0 and the loss if that is not finite."""
        logits = predict_logits(self.module, self._val, next(self.module.parameters()).device)
        target, weight = self._val.target, torch.from_numpy(self._val.labels.weight)
        loss = float(self._loss(logits, target, weight, value_weight=None, smoothing=0.0))
        if not math.isfinite(loss):
            return 0.0, loss  # the loop says so
        probs = probabilities(self._labels.kind, logits).numpy()
        return score(self._labels, probs, self._val.labels.target).merit, loss
