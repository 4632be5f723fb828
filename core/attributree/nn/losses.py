"""Masked losses and probabilities for the three kinds of label.

Every kind becomes log-probabilities of its values first; a loss is then minus the log of the total
probability of what was said. One candidate gives the usual cross entropy, several give the loss of an
ambiguous label (Jin and Ghahramani, "Learning with Multiple Labels", NIPS 2002).
"""

from __future__ import annotations

import zlib

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import PluginError, TrainingError
from ..plugins import LoadedPlugins
from ..plugins.hookspecs import Loss, attributree_loss
from ..schema import Attribute, Labels, MultiLabel

#: Largest weight that class balance gives to a rare value.
MAX_BALANCE = 10.0


def log_probabilities(kind: str, logits: Tensor) -> Tensor:
    """Return the log-probability of each value of an attribute of kind single or ordinal.

    `logits` (B, K) float, K = labels.outputs; the result is (B, C), C = labels.size. An ordinal attribute is a
    continuation-ratio model: logit k is the log-odds of going beyond value k having reached it, so the
    probabilities sum to one and "beyond k" never grows with k. Raises ValueError for another kind.
    """
    if kind == "single":
        return F.log_softmax(logits, dim=1)
    if kind != "ordinal":
        raise ValueError(f"no distribution over the values of an attribute of kind {kind!r}")
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
    if labels.exclusive:  # an image counts once, however many candidates it has
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
    if not labels.exclusive:
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
        # Values that were not listed are weakly taken for absent, as in Cole et al., "Multi-Label Learning from Single
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


def build_loss(attribute: Attribute, plugins: LoadedPlugins | None = None) -> Loss | None:
    """Return the loss that a plugin brings for `attribute`, or None for `masked_loss`.

    It is tried on a dry batch first. Raises PluginError naming the plugin if it fails, returns anything but a finite
    scalar, gives the logits no gradient, or counts an image that says nothing.
    """
    brought = plugins.first(attributree_loss, attribute) if plugins else None
    if brought is None:
        return None
    if problem := _try_loss(brought.value, attribute):
        raise PluginError(f"{brought.plugin.label}: the loss of {attribute.name!r} {problem}")
    return brought.value


def _try_loss(loss: Loss, attribute: Attribute) -> str | None:
    """Return what is wrong with a loss, by a dry batch of all that a target may say, or None."""
    labels = attribute.labels
    target = torch.zeros(5, labels.size)  # labelled, ambiguous, disputed, silent, labelled
    target[0, 0] = target[1, 0] = target[1, -1] = target[4, -1] = 1.0
    target[2, 0] = target[2, -1] = 0.5
    if not labels.exclusive:
        target[1, 0] = torch.nan
    weight = torch.tensor([1.0, 0.3, 1.0, 0.0, 1.0])
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(zlib.crc32(attribute.name.encode()))
        logits = torch.randn(5, labels.outputs).requires_grad_()
        try:
            value = loss(logits, target, weight, value_weight=torch.ones(labels.size), smoothing=0.1)
            if problem := _no_scalar(value):
                return problem
            (gradient,) = torch.autograd.grad(value, logits, allow_unused=True)
            plain = loss(logits, target, weight, value_weight=None, smoothing=0.0)
        except Exception as error:
            return f"failed on a dry batch: {type(error).__name__}: {' '.join(str(error).split())}"
    if problem := _no_scalar(plain):
        return f"{problem} without value_weight"
    if gradient is None or not bool(torch.isfinite(gradient).all()) or not bool(gradient.any()):
        return "gives the logits no finite gradient"
    if bool(gradient[weight == 0].any()):
        return "counts an image of weight 0, which says nothing"
    return None


def _no_scalar(value: object) -> str | None:
    if not isinstance(value, Tensor):
        return f"returned {type(value).__name__}, expected a scalar tensor"
    if value.shape != () or not value.is_floating_point():
        return f"returned {tuple(value.shape)} {value.dtype}, expected a scalar float tensor"
    if not bool(torch.isfinite(value)):
        return f"is {float(value.detach())} on a dry batch, expected a finite number"
    return None if value.requires_grad else "gives the logits no finite gradient"
