"""The head of the neckline branch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NecklineHead(nn.Module):
    """Feature map (B, in_features, H, W) to logits (B, outputs), with an eye on the upper half.

    A neckline fills a few cells near the top of the map, and the average over all of them drowns it. So the
    average is joined by the maximum, which one cell can set, and by the average of the upper half alone.
    """

    def __init__(self, in_features: int, outputs: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(3 * in_features)  # a maximum is several times an average
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(3 * in_features, outputs)

    def forward(self, features: Tensor) -> Tensor:
        upper = features[:, :, : (features.shape[2] + 1) // 2]  # (B, C, ceil(H / 2), W)
        pooled = torch.cat(
            (features.mean(dim=(2, 3)), features.amax(dim=(2, 3)), upper.mean(dim=(2, 3))), dim=1
        )  # (B, 3 C)
        logits: Tensor = self.classifier(self.dropout(self.norm(pooled)))  # (B, outputs)
        return logits
