"""Masked losses and probabilities for the three kinds of label.

Every kind becomes log-probabilities of its values first; a loss is then minus the log of the total
probability of what was said. One candidate gives the usual cross entropy, several give the loss of an
ambiguous label (Jin and Ghahramani, "Learning with Multiple Labels", NIPS 2002).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import TrainingError
from ..schema import Labels, MultiLabel

#: Largest weight that class balance gives to a rare value.
MAX_BALANCE = 10.0


def log_probabilities(kind: str, logits: Tensor) -> Tensor:
    """Return the log-probability of each value of an attribute of kind single or ordinal.

    `logits` (B, K) float, K = labels.outputs; the result is (B, C), C = labels.size. An ordinal attribute is a
    continuation-ratio model: logit k is the log-odds of going beyond value k having reached it, so the
    probabilities sum to one and "beyond k" never grows with k.
    """
    if kind == "single":
        return F.log_softmax(logits, dim=1)
    beyond = F.pad(F.logsigmoid(logits).cumsum(dim=1), (1, 0))  # (B, C): log P(y >= k)
    stop = F.pad(F.logsigmoid(-logits), (0, 1))  # (B, C): log P(y = k | y >= k); the last always stops
    return beyond + stop


def probabilities(kind: str, logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return each value's probability (B, C) after dividing `logits` (B, K) by `temperature`.

    Single-label and ordinal rows sum to one; a multi-label row holds independent probabilities.
    """
    scaled = logits.float() / temperature
    if kind == "multi":
        return scaled.sigmoid()
    return log_probabilities(kind, scaled).exp()


def balance(labels: Labels, target: Tensor) -> Tensor:
    """Return a weight per value (C,): the square root of its rarity, at most MAX_BALANCE, one on average.

    `target` (N, C) as in LabelSet. The square root is the usual middle between no correction, which forgets
    rare values, and full correction, which overrates them and spoils calibration.
    """
    said = target.nan_to_num(0.0)
    if labels.kind != "multi":  # an image counts once, however many candidates it has
        said = said / said.sum(dim=1, keepdim=True).clamp(min=1e-6)
    counts = said.sum(dim=0)  # (C,)
    if not bool((counts > 0).any()):
        return torch.ones_like(counts)  # a multi-label set in which no value is ever there
    weights = (counts.sum() / counts.clamp(min=1.0)).sqrt()
    weights = torch.where(counts > 0, weights, 1.0).clamp(max=float(weights[counts > 0].min()) * MAX_BALANCE)
    return weights / ((weights * counts).sum() / counts.sum())


def masked_loss(
    labels: Labels,
    logits: Tensor,
    target: Tensor,
    weight: Tensor,
    *,
    value_weight: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the weighted mean loss over what was observed, a scalar.

    `logits` (B, K); `target` (B, C) as in LabelSet: of candidates the total probability counts, and where sources
    disagree each value as far as its share goes (cross entropy with a soft target);
    `weight` (B,), 0 for an image that says nothing; `value_weight` (C,) as from `balance`.
    Raises TrainingError if nothing at all was observed.
    """
    if labels.kind == "multi":
        return _multi_loss(labels, logits, target, weight, value_weight, smoothing)
    candidates = target > 0  # (B, C)
    observed = candidates.any(dim=1) & (weight > 0)
    if not bool(observed.any()):
        raise TrainingError("a batch without a single observed label reached the loss")
    log_p = log_probabilities(labels.kind, logits)  # (B, C)
    loss = -log_p.masked_fill(~candidates, -torch.inf)[observed].logsumexp(dim=1)
    soft = target[observed]
    loss = torch.where((soft.amax(dim=1) < 1), -(soft * log_p[observed]).sum(dim=1), loss)
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * log_p[observed].mean(dim=1)
    weight = weight[observed]
    if value_weight is not None:
        share = target[observed] / target[observed].sum(dim=1, keepdim=True)  # (B', C)
        weight = weight * (share * value_weight).sum(dim=1)
    return (loss * weight).sum() / weight.sum()


def _multi_loss(
    labels: Labels, logits: Tensor, target: Tensor, weight: Tensor, value_weight: Tensor | None, smoothing: float
) -> Tensor:
    known = ~target.isnan()  # (B, C)
    entry = known.float() * weight[:, None]
    wanted = target.nan_to_num(0.0)
    if isinstance(labels, MultiLabel) and not labels.closed_world and labels.size > 1:
        # Values nobody listed are weakly taken for absent, as in Cole et al., "Multi-Label Learning from Single
        # Positive Labels" (CVPR 2021); without it, saying yes to everything would cost nothing.
        spoken = known.any(dim=1, keepdim=True).float() * weight[:, None]
        entry = torch.where(known, entry, spoken / (labels.size - 1))
    if not bool((entry > 0).any()):
        raise TrainingError("a batch without a single observed label reached the loss")
    if value_weight is not None:
        entry = entry * torch.where(wanted > 0, value_weight[None, :], 1.0)
    soft = wanted * (1 - smoothing) + 0.5 * smoothing
    loss = F.binary_cross_entropy_with_logits(logits, soft, reduction="none")  # (B, C)
    return (loss * entry).sum() / entry.sum()
