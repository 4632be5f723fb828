"""Temperature and confidence cut: when an answer may be accepted without a look."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..answers import Floats, answer
from ..nn.losses import log_probabilities, probabilities
from ..schema import Labels

#: Standard deviations below the measured share of right answers at which a cut must still hold: four in five do.
SURE = 0.8416


@dataclass(frozen=True)
class Calibration:
    """`temperature` divides the logits; answers at `cut` or more are accepted, none if it is None."""

    temperature: float
    cut: float | None
    calibrated: bool


def calibrate(labels: Labels, logits: Tensor, target: Tensor, *, precision: float, enough: bool) -> Calibration:
    """Return temperature and cut for the validation `logits` (N, K) with unambiguous `target` (N, C).

    `precision`: the share of accepted answers that must be right. With too few labels (`enough` false), or none that
    says what is absent, as in an open world, nothing is fitted and everything goes to review.
    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
    """
    # Without a single "absent", yes to everything would look perfect.
    one_sided = not labels.exclusive and not bool((target == 0).any())
    if not enough or not len(logits) or one_sided:
        return Calibration(1.0, None, calibrated=False)
    temperature = fit_temperature(labels, logits, target)
    probs = probabilities(labels.kind, logits, temperature).numpy()
    return Calibration(temperature, confidence_cut(labels, probs, target.numpy(), precision), calibrated=True)


def fit_temperature(labels: Labels, logits: Tensor, target: Tensor) -> float:
    """Return the temperature in 0.05..20 under which `target` is most likely."""
    log_t = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    scores, wanted = logits.double(), target.double()
    optimizer = torch.optim.LBFGS([log_t], lr=0.5, max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        scaled = scores / log_t.exp()
        if not labels.exclusive:
            known = ~wanted.isnan()
            value = torch.nn.functional.binary_cross_entropy_with_logits(scaled[known], wanted[known])
        else:
            value = -(log_probabilities(labels.kind, scaled) * wanted).sum(dim=1).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    temperature = float(log_t.detach().exp())
    return min(max(temperature, 0.05), 20.0) if np.isfinite(temperature) else 1.0


def confidence_cut(labels: Labels, probs: Floats, target: Floats, precision: float) -> float | None:
    """Return the lowest confidence from which answers are right at least `precision` of the time, or None.

    The share of right answers is taken at the lower end of its interval (Wilson, "Probable Inference, the Law of
    Succession, and Statistical Inference", 1927): the lowest of many cuts that look good is one that was lucky, and a
    handful of images justifies none.
    """
    answers = answer(labels, probs)
    right = answers.right(target)
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, hits = answers.confidence[order], right[order].cumsum()
    accepted = np.arange(1, len(order) + 1)
    last_of_tie = np.append(confidence[1:] != confidence[:-1], True)
    good = (_at_least(hits, accepted) >= precision) & last_of_tie
    return float(confidence[np.flatnonzero(good)[-1]]) if good.any() else None


def _at_least(hits: npt.NDArray[np.int64], of: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the share that `hits` of so many stand for, at the lower end of Wilson's interval."""
    share, z2 = hits / of, SURE**2
    spread = SURE * np.sqrt(share * (1 - share) / of + z2 / (4 * of**2))
    return np.asarray((share + z2 / (2 * of) - spread) / (1 + z2 / of), dtype=np.float64)
