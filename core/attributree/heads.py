"""Heads for branches, ready made: a plugin's hook returns one, or `head = "NAME"` under [attributes.NAME] picks one.

    @hookimpl
    def attributree_branch_head(attribute, in_features):
        from attributree.heads import AttentionHead  # torch: not at the top of a plugin

        return AttentionHead(in_features, attribute.labels.outputs, queries=4)

Every head takes features (B, F, H, W) of any height and width, F = in_features, and returns logits (B, K),
K = attribute.labels.outputs, both float32. N = H * W is the number of places in the map, 49 for a ResNet at 224 pixels.

| name       | class          | reads the map by                                         | parameters          |
|------------|----------------|----------------------------------------------------------|---------------------|
| linear     | LinearHead     | its average                                              | F K + K             |
| multiscale | MultiscaleHead | average and maximum of the whole and of each quarter     | 10 F K + K          |
| attention  | AttentionHead  | weighted averages, the weights learnt                    | Q F + Q F K + K     |
| ordinal    | OrdinalHead    | its average, along one direction that all steps share    | F + K               |
| multilabel | MultiLabelHead | its average, and for each value where that value shows   | F K + K             |

A branch of depth `exit` without a head of its own has PyramidHead, whose features are another thing: see there.

A head whose options its weights do not show says them in `extra_repr`: a training's checkpoints are named by it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .errors import ConfigError, UnknownNameError
from .schema import Attribute
from .settings.head_names import EXIT_HEAD, HEAD_NAMES, unfit

__all__ = [
    "HEADS",
    "AttentionHead",
    "LinearHead",
    "LinearReadout",
    "MultiLabelHead",
    "MultiscaleHead",
    "OrdinalHead",
    "PyramidHead",
    "default_options",
    "new_head",
    "spatial_pyramid",
]


class LinearReadout(nn.Module):
    """A head that learns one linear layer on what it reads, flattened: (B, ...) to (B, K).

    Where that is frozen, training solves the layer, which needs no learning rate; see `training.linear`. A subclass
    that learns anything else besides is trained by epochs, as any head.
    """

    def __init__(self, features: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, outputs)

    def flat(self, features: Tensor) -> Tensor:
        """Return what the linear layer reads, (B, F), of what the head is given."""
        return features

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.dropout(self.flat(features)))
        return logits


class LinearHead(LinearReadout):
    """Average over the map, dropout, one linear layer: (B, F, H, W) to (B, K). The standard head.

    Costs F K + K parameters, F N additions and F K multiplications an image. A head with `pooled = True` answers
    features that were averaged over the map before, (B, F, 1, 1), as it answers the map: it is trained on those, which
    costs little. One with a method `reduced` answers `reduced(features)` as it answers the map, and is trained on that.
    """

    pooled = True

    def __init__(self, in_features: int, outputs: int, dropout: float = 0.2) -> None:
        super().__init__(in_features, outputs, dropout)

    def flat(self, features: Tensor) -> Tensor:
        """Return the averages over the map."""
        return features.mean(dim=(2, 3))


class MultiscaleHead(LinearReadout):
    """Average and maximum of every cell of several grids, one linear layer: (B, F, H, W) to (B, K).

    For what fills a few places, as an edge or a fastening does: the average over the map drowns it, the maximum and the
    average of the cell it lies in do not; and a cell knows above from below. `grids` are numbers of cells along a side,
    or (rows, columns): (1, (2, 1)) is the whole, the upper and the lower half. Cells of a map too small for them
    overlap. Each cell's average and each maximum is normalised by itself, since a maximum is several times an average.

    The grids are the spatial pyramid of He et al., "Spatial Pyramid Pooling in Deep Convolutional Networks for Visual
    Recognition" (ECCV 2014). With C cells in all, 5 by default, costs 2 C F K + K parameters, 2 F N additions and
    comparisons a grid, and 2 C F K multiplications an image. It is trained on its cells, which are taken once.
    """

    def __init__(
        self,
        in_features: int,
        outputs: int,
        grids: Sequence[int | Sequence[int]] = (1, 2),
        dropout: float = 0.2,
    ) -> None:
        cut = tuple((grid, grid) if isinstance(grid, int) else (grid[0], grid[1]) for grid in grids)
        if not cut or min(map(min, cut)) < 1:
            raise ValueError(f"grids is {grids!r}; a grid is a number of cells along a side, or (rows, columns)")
        super().__init__(2 * in_features * sum(rows * columns for rows, columns in cut), outputs, dropout)
        self.grids = cut

    def flat(self, features: Tensor) -> Tensor:
        """Return the cells (B, 2 C F), which may have been taken before."""
        return features if features.ndim == 2 else self.reduced(features)

    def reduced(self, features: Tensor) -> Tensor:
        """Return what the linear layer reads, (B, 2 C F): nothing in it is learnt, so it may be computed once."""
        return spatial_pyramid(features, self.grids)

    def extra_repr(self) -> str:
        return f"grids={self.grids}"


class PyramidHead(LinearReadout):
    """One linear layer on the trunk's pyramid: (B, P) to (B, K). The standard head of a branch of depth `exit`.

    The pyramid is what every stage of the trunk has seen, cell by cell (`nn.Trunk.features`): edges and texture from
    its lower stages, parts and shapes from its upper ones. A trunk that was taught other attributes has often dropped
    from its last stage what a new one asks about, and still has it below.

    Linear layers on intermediate stages are the probes of Alain and Bengio, "Understanding intermediate layers using
    linear classifier probes" (2016); all stages at once are the hypercolumns of Hariharan et al. (CVPR 2015). Costs
    P K + K parameters and P K multiplications an image; of a ResNet-34 cut at layer4, P is 10,240.
    """

    def __init__(self, in_features: int, outputs: int, dropout: float = 0.5) -> None:
        super().__init__(in_features, outputs, dropout)


class AttentionHead(nn.Module):
    """Averages weighted by learnt queries, one linear layer: (B, F, H, W) to (B, K).

    A query asks each place of the map how much it matters; the places' features are averaged by the answers, one
    average a query. Queries begin at zero, where every place counts alike: training starts at average pooling and
    leaves it as far as that helps. Queries part because the linear layer reads each of them differently.

    Learnt queries over a set of features are those of Lee et al., "Set Transformer" (ICML 2019), here without values,
    keys and layers of their own. With Q queries, costs Q F + Q F K + K parameters and 2 Q F N + Q F K multiplications
    an image. It is trained on maps, not on their averages; on a map of one place the queries have nothing to choose.
    """

    def __init__(self, in_features: int, outputs: int, queries: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        if queries < 1:
            raise ValueError(f"queries is {queries}; at least one is needed")
        self.queries = nn.Parameter(torch.zeros(queries, in_features))
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(queries * in_features, outputs)

    def forward(self, features: Tensor) -> Tensor:
        places = features.flatten(2)  # (B, F, N)
        weights = self.weights(features).flatten(2)  # (B, Q, N)
        pooled = weights @ places.transpose(1, 2)  # (B, Q, F)
        logits: Tensor = self.linear(self.dropout(pooled.flatten(1)))
        return logits

    def weights(self, features: Tensor) -> Tensor:
        """Return how much each place counts, (B, Q, H, W); a query's weights sum to one. Shows where a branch looks."""
        asked = self.queries @ features.flatten(2) / math.sqrt(features.shape[1])  # (B, Q, N)
        return asked.softmax(dim=2).view(*asked.shape[:2], *features.shape[2:])

    def extra_repr(self) -> str:
        return f"queries={len(self.queries)}"


class OrdinalHead(nn.Module):
    """One direction in the features and a threshold for each step: (B, F, H, W) to (B, K), K one less than values.

    Logit k is the log-odds of going beyond value k having reached it (a continuation-ratio model, see `nn.losses`): the
    direction says how far along an image is, and the same for every step, the bias how readily step k is taken.

    The biases are free. Where logits are of "beyond k" outright they must fall with k, or probabilities turn negative;
    here "beyond k" is a product of the steps so far and cannot grow whatever they are. Forcing an order on them
    would forbid ordinary data: after a rare value the next step is taken readily, after a common one seldom.

    The sequential model of Tutz, "Sequential item response models with an ordered response" (1990). Costs F + K
    parameters, F N additions and F multiplications an image, where LinearHead has a direction for each step: take it
    when labels are few, or when some values have hardly any. `pooled` as LinearHead is.
    """

    pooled = True

    def __init__(self, in_features: int, outputs: int, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.direction = nn.Linear(in_features, 1, bias=False)
        self.steps = nn.Parameter(torch.zeros(outputs))

    def forward(self, features: Tensor) -> Tensor:
        along: Tensor = self.direction(self.dropout(features.mean(dim=(2, 3))))  # (B, 1)
        return along + self.steps

    def extra_repr(self) -> str:
        return f"steps={len(self.steps)}"


class MultiLabelHead(nn.Module):
    """Each value's average score and its score where it shows: (B, F, H, W) to (B, K).

    A value's score is taken at every place. Its logit is the average of the scores, plus `share` times their average
    weighted towards the places where they are highest: several values can hold at once, each in a place of its own.
    With `share = 0` it is LinearHead; a greater `sharpness` looks at fewer places.

    Class-specific residual attention with one head: Zhu and Wu, "Residual Attention: A Simple but Effective Method for
    Multi-Label Recognition" (ICCV 2021), whose lambda and temperature are `share` and `sharpness`. Costs F K + K
    parameters, as LinearHead does, and F K N multiplications an image. Any kind of attribute may have it. It is trained
    on maps, not on their averages.
    """

    def __init__(
        self, in_features: int, outputs: int, share: float = 0.2, sharpness: float = 1.0, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.share, self.sharpness = share, sharpness
        self.dropout = nn.Dropout2d(dropout)  # a feature is dropped in all places, as it is where it was averaged
        self.linear = nn.Linear(in_features, outputs)

    def forward(self, features: Tensor) -> Tensor:
        scores: Tensor = self.linear(self.dropout(features).flatten(2).transpose(1, 2))  # (B, N, K)
        shown = (scores * (self.sharpness * scores).softmax(dim=1)).sum(dim=1)  # (B, K)
        return scores.mean(dim=1) + self.share * shown

    def extra_repr(self) -> str:
        return f"share={self.share}, sharpness={self.sharpness}"


def spatial_pyramid(maps: Tensor, grids: Sequence[tuple[int, int]]) -> Tensor:
    """Return average and maximum of every cell of `grids` (rows, columns) over `maps` (B, F, H, W), as (B, 2 C F).

    With C cells in all; the F numbers of each average and each maximum are normalised together.
    """
    parts = [
        F.layer_norm(pooled, pooled.shape[1:])
        for cell in _cells(maps, grids)
        for pooled in (cell.mean(dim=(2, 3)), cell.amax(dim=(2, 3)))
    ]  # 2 C of (B, F)
    return torch.cat(parts, dim=1)


def _cells(maps: Tensor, grids: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    """Yield the cells (B, F, h, w) of each grid, as adaptive pooling cuts them.

    torch's own adaptive pooling is not used: on GPUs its gradients differ from run to run.
    """
    height, width = maps.shape[2:]
    for rows, columns in grids:
        for above, below in _cuts(height, rows):
            for left, right in _cuts(width, columns):
                yield maps[:, :, above:below, left:right]


#: The heads by name, as settings and the records of branches have them. A name means one thing for good: what a
#: stored branch was made of is found under it.
HEADS: Final[Mapping[str, type[nn.Module]]] = {
    "linear": LinearHead,
    "multiscale": MultiscaleHead,
    "attention": AttentionHead,
    "ordinal": OrdinalHead,
    "multilabel": MultiLabelHead,
    EXIT_HEAD: PyramidHead,
}


def new_head(name: str, attribute: Attribute, in_features: int, **options: Any) -> nn.Module:
    """Return a new head of that name for `attribute`; `options` are its class's own, such as `queries` or `dropout`.

    Raises UnknownNameError if there is no such head, ConfigError if it cannot answer such an attribute.
    """
    if name not in HEADS:
        raise UnknownNameError(f"no head {name!r}; there are: {', '.join(HEAD_NAMES)}")
    if problem := unfit(name, attribute):
        raise ConfigError(problem)
    return HEADS[name](in_features, attribute.labels.outputs, **options)


def default_options(name: str) -> dict[str, Any]:
    """Return the options of the head of that name with their defaults: what a branch's record keeps beside the name."""
    given = inspect.signature(HEADS[name]).parameters.values()
    return {option.name: option.default for option in given if option.default is not option.empty}


def _cuts(length: int, cells: int) -> list[tuple[int, int]]:
    """Return begin and end of each of `cells` stretches of `length` places, none of them empty."""
    return [(i * length // cells, -(-(i + 1) * length // cells)) for i in range(cells)]
