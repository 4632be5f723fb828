"""Training what is linear in its features: convex, so it is solved, with no learning rate and no epochs.

A linear readout of frozen features has one best answer for each penalty. L-BFGS finds it from zero on standardised
features, from strong penalties to weak, each from the former answer, until validation says that weaker ones fit noise.
Found so, an exit of few labels stands well above the same layer trained by epochs (benchmarks/RESULTS.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard

import torch
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from ..heads import LinearReadout
from ..label_set import turns_of
from ..nn.losses import balance, masked_loss, probabilities
from ..plugins.hookspecs import Loss
from ..settings.models import BranchSettings
from .checkpoint import Fit
from .data import Samples
from .loop import require_finite, start
from .metrics import score

#: Weights of the penalty, half the squared length of the standardised layer, from strong to weak.
PENALTIES = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
#: So many layers are solved at most: one more with rare values weighed up.
MOST_LAYERS = len(PENALTIES) + 1
#: Steps of L-BFGS for one penalty, at most; a step that gains less than `_GAIN` of the loss ends it.
STEPS, _GAIN = 40, 1e-5
#: Train images are held out in so many turns, those of a product together.
TURNS = 5
#: Features that fit into so many bytes as float32 are converted once, others at each step.
IN_MEMORY = 2_000_000_000
_ROWS = 8192
#: Features that hardly vary are not blown up: the least deviation that they are divided by.
_LEAST = 1e-3


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer's weight (K, F) and bias (K,) on plain features, and what validation says of it."""

    weight: Tensor
    bias: Tensor
    merit: float
    loss: float


def is_linear(head: nn.Module) -> TypeGuard[LinearReadout]:
    """Return whether all that `head` learns is one linear layer on what it reads."""
    return (
        isinstance(head, LinearReadout)
        and type(head).forward is LinearReadout.forward
        and len(list(head.parameters())) == len(list(head.linear.parameters()))
    )


def solve(
    head: LinearReadout,
    train: Samples,
    val: Samples,
    recipe: BranchSettings,
    loss: Loss | None = None,
    progress: Callable[[int], None] | None = None,
) -> Fit:
    """Give `head` the layer that is best on `val` among the penalties, and leave it in evaluation mode.

    `train` and `val` are samples of what the head reads. The penalty with the least loss on `val` is taken. With
    `recipe.class_balance` it is solved once more with rare values weighed up, which counts if macro-F1 gains more than
    accuracy loses. In the Fit, `epochs` is how many layers were solved and `best` which of them won. Raises
    TrainingError if a loss is not a finite number.
    """
    problem = _Problem(head, train, recipe, loss)
    solved: list[_Layer] = []

    def add(penalty: float, value_weight: Tensor | None = None) -> _Layer:
        solved.append(problem.measured(problem.solve(penalty, value_weight), val))
        if progress:
            progress(len(solved))
        return solved[-1]

    chosen = PENALTIES[0]
    best = add(chosen)
    for penalty in PENALTIES[1:]:
        layer = add(penalty)
        if layer.loss >= best.loss:
            break
        best, chosen = layer, penalty
    pays = False
    if recipe.class_balance:
        balanced = add(chosen, balance(train.labels.attribute.labels, train.target))
        pays = balanced.merit > best.merit
        best = balanced if pays else best
    fit = Fit(len(solved), solved.index(best) + 1, best.merit, best.loss, chosen, pays)
    accelerator = start(recipe)
    if accelerator.num_processes > 1:  # each has solved the same; the last digits are the first one's
        told: list[Any] = [best, fit]
        broadcast_object_list(told)
        best, fit = told
    with torch.no_grad():
        head.linear.weight.copy_(best.weight)
        head.linear.bias.copy_(best.bias)
    head.eval()
    return fit


def held_out(
    head: LinearReadout, train: Samples, fit: Fit, recipe: BranchSettings, loss: Loss | None = None
) -> tuple[Tensor, Tensor]:
    """Return logits (M, K) and targets (M, C) of the unambiguous train samples, as if they were validation's.

    Each is answered by a layer that was solved as `fit` says, without it and the other images of its product. So
    calibration sees as many images as there are labels, and not only a validation split that may be easier or harder
    than the rest. The head itself is left as it is. M may be 0.
    """
    labels = train.labels.attribute.labels
    turns = turns_of(train.labels.products, TURNS, recipe.seed)
    weights = balance(labels, train.target) if fit.balanced else None
    logits, targets = [torch.zeros(0, labels.outputs)], [torch.zeros(0, labels.size)]
    for turn in range(TURNS):
        kept, out = train.take(turns != turn), train.take((turns == turn) & ~train.labels.ambiguous)
        if len(out) and len(kept) > 1 and fit.penalty is not None:
            problem = _Problem(head, kept, recipe, loss)
            logits.append(problem.logits(problem.solve(fit.penalty, weights), out))
            targets.append(out.target)
    return torch.cat(logits), torch.cat(targets)


class _Problem:
    """A head's layer on standardised features, as L-BFGS sees it. The last solution is where the next one begins."""

    def __init__(self, head: LinearReadout, train: Samples, recipe: BranchSettings, loss: Loss | None) -> None:
        self.head, self.train, self.recipe = head, train, recipe
        self.name = train.labels.attribute.name
        self.labels = train.labels.attribute.labels
        self.loss: Loss = loss or partial(masked_loss, self.labels)
        self.device = head.linear.weight.device
        self.mean, self.deviation = self._moments()  # (F,) each
        self.layer = torch.zeros_like(head.linear.weight, requires_grad=True)  # (K, F)
        self.bias = torch.zeros_like(head.linear.bias, requires_grad=True)  # (K,)
        self._kept: list[tuple[Tensor, ...]] | None = None
        if len(train) * len(self.mean) * 4 <= IN_MEMORY:
            self._kept = list(self._read())

    def solve(self, penalty: float, value_weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the weight (K, F) and bias (K,), on plain features, that are best under a penalty.

        Raises TrainingError if the loss is not a finite number.
        """
        optimizer = torch.optim.LBFGS(
            [self.layer, self.bias], max_iter=STEPS, tolerance_change=_GAIN, line_search_fn="strong_wolfe"
        )
        weights = None if value_weight is None else value_weight.to(self.device)
        smoothing = self.recipe.label_smoothing

        def objective() -> Tensor:
            optimizer.zero_grad()
            total = penalty / 2 * self.layer.square().sum()
            total.backward()  # type: ignore[no-untyped-call]
            for features, target, weight in self._blocks():
                logits = features @ self.layer.T + self.bias  # (B, K)
                said = self.loss(logits, target, weight, value_weight=weights, smoothing=smoothing)
                share = said * (len(features) / len(self.train))
                share.backward()  # type: ignore[no-untyped-call]
                total = total + share.detach()
            require_finite(self.name, float(total.detach()), "loss")
            return total.detach()

        optimizer.step(objective)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            weight = self.layer / self.deviation
            return weight, self.bias - weight @ self.mean

    @torch.no_grad()
    def logits(self, layer: tuple[Tensor, Tensor], samples: Samples) -> Tensor:
        """Return a layer's logits (N, K) of `samples` in order, on the CPU."""
        weight, bias = layer
        blocks = (self.head.flat(inputs.to(self.device).float()) for inputs, _, _ in samples.batches(_ROWS))
        return torch.cat([(features @ weight.T + bias).cpu() for features in blocks])

    def measured(self, layer: tuple[Tensor, Tensor], val: Samples) -> _Layer:
        """Return a layer with its scores on `val`. Raises TrainingError if its loss is not a finite number."""
        logits, weight = self.logits(layer, val), torch.from_numpy(val.labels.weight)
        said = float(self.loss(logits, val.target, weight, value_weight=None, smoothing=0.0))
        require_finite(self.name, said, "validation loss")
        scores = score(self.labels, probabilities(self.labels.kind, logits).numpy(), val.labels.target)
        return _Layer(*layer, scores.merit, said)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and deviation (F,) of the train features."""
        total, squares = torch.zeros(()), torch.zeros(())
        for inputs, _, _ in self.train.batches(_ROWS):
            features = self.head.flat(inputs.to(self.device).float()).double()
            total, squares = (
                total.to(features) + features.sum(dim=0),
                squares.to(features) + features.square().sum(dim=0),
            )
        mean = total / len(self.train)
        deviation = (squares / len(self.train) - mean.square()).clamp(min=0.0).sqrt()
        return mean.float(), deviation.clamp(min=_LEAST).float()

    def _blocks(self) -> Iterable[tuple[Tensor, ...]]:
        return self._read() if self._kept is None else self._kept

    def _read(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield standardised features (B, F), targets (B, C) and weights (B,) of the train samples."""
        for inputs, target, weight in self.train.batches(_ROWS):
            features = self.head.flat(inputs.to(self.device).float())
            yield (features - self.mean) / self.deviation, target.to(self.device), weight.to(self.device)
