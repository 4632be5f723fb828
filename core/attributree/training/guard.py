"""Heads that say whose they are when they fail: plugins' heads share the trunk with all the others."""

from __future__ import annotations

from torch import Tensor, isfinite, nn


class HeadError(Exception):
    """The head of `attribute` failed while the trunk was trained."""

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
