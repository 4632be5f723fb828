"""Heads and losses that say whose they are when they fail: what plugins bring trains beside all the others'."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, isfinite, nn

from ..plugins.hookspecs import Loss


class HeadError(Exception):
    """The head or the loss of `attribute` failed in training."""

    def __init__(self, attribute: str, reason: str) -> None:
        super().__init__(attribute, reason)
        self.attribute, self.reason = attribute, reason

    def __str__(self) -> str:
        return self.reason


class GuardedHead(nn.Module):
    """A head that raises HeadError when it fails, or makes something that is not a number of features that are."""

    def __init__(self, attribute: str, head: nn.Module) -> None:
        super().__init__()
        self.attribute = attribute
        self.head = head

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits (B, outputs) of features (B, C, H, W)."""
        try:
            logits: Tensor = self.head(features)
        except Exception as error:
            raise HeadError(self.attribute, f"{type(error).__name__}: {error}") from error
        if bool(isfinite(features).all()) and not bool(isfinite(logits).all()):
            raise HeadError(self.attribute, "the head answers something that is not a number")
        return logits


@dataclass(frozen=True, eq=False)
class GuardedLoss:
    """A plugin's loss that raises HeadError when it fails, or is not a number for logits that are."""

    attribute: str
    loss: Loss

    def __call__(
        self, logits: Tensor, target: Tensor, weight: Tensor, *, value_weight: Tensor | None, smoothing: float
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in `masked_loss`."""
        if isinstance(self.loss, nn.Module):
            self.loss.to(logits.device)
        try:
            value = self.loss(logits, target, weight, value_weight=value_weight, smoothing=smoothing)
        except Exception as error:
            raise HeadError(self.attribute, f"its loss raised {type(error).__name__}: {error}") from error
        if bool(isfinite(logits).all()) and not bool(isfinite(value).all()):
            raise HeadError(self.attribute, "its loss is something that is not a number")
        return value
