"""The training loop of one branch: epochs, early stopping, the best weights kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..config import BranchSettings
from ..errors import TrainingError
from ..nn import balance, masked_loss, probabilities
from .data import Samples, pick_device
from .metrics import score

_EVAL_BATCH = 128


@dataclass(frozen=True)
class Fit:
    """How a loop went: `epochs` run, the `best` one, its validation macro-F1 (0..1) and loss."""

    epochs: int
    best: int
    macro_f1: float
    loss: float


@torch.inference_mode()
def predict_logits(module: nn.Module, samples: Samples, device: torch.device) -> Tensor:
    """Return logits (N, K) of `samples` in order, on the CPU. `module` takes one view of the inputs."""
    module.eval()
    out = [module(inputs.to(device)).float().cpu() for inputs, _, _ in samples.batches(_EVAL_BATCH)]
    return torch.cat(out)


def fit(
    module: nn.Module,
    groups: list[dict[str, object]],
    train: Samples,
    val: Samples,
    recipe: BranchSettings,
    rng: np.random.Generator,
    progress: Callable[[int], None] | None = None,
) -> Fit:
    """Train `module` (inputs (B, ...) to logits (B, K)) and leave it with its best weights, in evaluation mode.

    `groups` are AdamW parameter groups with their learning rates, which warm up and then fall along a cosine.
    The best epoch is the one with the highest validation macro-F1, the lower loss breaking ties; after
    `recipe.patience` epochs without a better one it ends. Raises TrainingError if a loss is not a finite number.
    """
    device = pick_device(recipe.device)
    labels = train.labels.attribute.labels
    value_weight = balance(labels, train.target).to(device) if recipe.class_balance else None
    optimizer = torch.optim.AdamW(groups, weight_decay=0.05, fused=True)
    steps = max(1, math.ceil(len(train) / recipe.batch_size)) * recipe.epochs
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_share(step, steps))
    best: Fit | None = None
    weights: dict[str, Tensor] = {}
    if progress:
        progress(0)
    for epoch in range(1, recipe.epochs + 1):
        module.train()
        for inputs, target, weight in train.batches(recipe.batch_size, rng):
            logits = module(inputs.to(device))  # (B, K)
            loss = masked_loss(
                labels,
                logits,
                target.to(device),
                weight.to(device),
                value_weight=value_weight,
                smoothing=recipe.label_smoothing,
            )
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"{train.labels.attribute.name}: the loss became {loss.item()} in epoch {epoch}; "
                    "nothing was promoted. Lower training -> learning_rate, or look at the plugin's head"
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimizer.step()
            scheduler.step()
        macro_f1, val_loss = validate(module, val, device)
        if best is None or (macro_f1, -val_loss) > (best.macro_f1, -best.loss):
            best = Fit(epoch, epoch, macro_f1, val_loss)
            weights = copy.deepcopy(module.state_dict())
        if progress:
            progress(epoch)
        if epoch - best.best >= recipe.patience:
            break
    assert best is not None
    module.load_state_dict(weights)
    module.eval()
    return Fit(epoch, best.best, best.macro_f1, best.loss)


def validate(module: nn.Module, val: Samples, device: torch.device) -> tuple[float, float]:
    """Return macro-F1 (0..1) and mean loss of `module` on unambiguous validation samples.

    Raises TrainingError if the loss is not a finite number: an epoch's last step may break weights whose own loss
    was still one.
    """
    labels = val.labels.attribute.labels
    logits = predict_logits(module, val, device)
    loss = float(masked_loss(labels, logits, val.target, torch.from_numpy(val.labels.weight)))
    if not math.isfinite(loss):
        raise TrainingError(
            f"{val.labels.attribute.name}: the validation loss became {loss}; "
            "nothing was promoted. Lower training -> learning_rate, or look at the plugin's head"
        )
    return score(labels, probabilities(labels.kind, logits).numpy(), val.labels.target).macro_f1, loss


def rate_share(step: int, steps: int) -> float:
    """Return the share of the learning rate at `step`: linear over the first tenth, then a cosine to 1 %."""
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))
