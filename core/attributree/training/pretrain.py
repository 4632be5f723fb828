"""Pretraining: a backbone learns from images without labels.

VICReg (Bardes, Ponce and LeCun, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
ICLR 2022, arXiv:2105.04906). It asks that two views of an image have near embeddings, that each dimension of an
embedding varies over the images, and that no two dimensions say the same. Chosen among the methods that need no
negatives:

- SimSiam and BYOL have their least loss where everything collapsed into one point, and are kept from it by the way they
  are trained alone; the epoch with the best validation loss would be the worst one. VICReg's loss is high there.
- BYOL runs a second network and SimSiam a predictor; VICReg has a backbone and an expander.
- Barlow Twins is its near kin; but there the spread of an embedding is divided out, and here it is a term of its own,
  so that a collapse can be seen and said.

Batches of 32 are enough: on 3,000 photographs 28 pixels wide they taught as much as batches of 128.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from ..errors import TrainingError
from ..nn.trunk import Backbone
from ..reports import Progress
from ..settings.models import TrainingSettings
from .checkpoint import Checkpoints
from .data import Share
from .loop import run_loop, seed_everything

METHOD = "VICReg"
#: Width of the expander. The paper's is 8192, for a million images; it is thrown away after training.
WIDTH = 1024
#: Weights of the loss's terms, the paper's.
INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0
#: Weights that have learnt before take this share of the learning rate.
LEARNT_RATE = 0.1
#: At most so many held-out images give the validation loss: the covariance is a matrix over all of them at once.
HELD_OUT = 512
#: Embeddings whose dimensions vary less than this (the loss strives for 1) have collapsed.
COLLAPSED = 0.1

Pixels = npt.NDArray[Any]


def augmentation(size: int, *, flip: bool = True) -> Callable[[Tensor], Tensor]:
    """Return what makes a view of one image (3, S, S) uint8. What it changes, the features learn to overlook.

    Crops keep three tenths or more, so that top and bottom are often both in view. Colour and lightness are attributes:
    they move a little, as between two lamps. (Twice as much jitter cost a linear probe 5 to 9 points of macro-F1 on
    tone and gained it 3 on article, on the same photographs.) One view in ten is grey, so that hue alone
    does not give an image's two views away (Chen et al., "A Simple Framework for Contrastive Learning of Visual
    Representations", ICML 2020, section 3.2). Blur is rare and slight, for texture is an attribute too.
    Mirrored only if `flip`.
    """
    kernel = max(3, size // 20 * 2 + 1)
    steps: Callable[[Tensor], Tensor] = v2.Compose(
        [
            v2.RandomResizedCrop(size, scale=(0.3, 1.0), antialias=True),
            v2.RandomHorizontalFlip(0.5 if flip else 0.0),
            v2.RandomApply([v2.ColorJitter(0.15, 0.15, 0.15, 0.02)], p=0.5),
            v2.RandomGrayscale(0.1),
            v2.RandomApply([v2.GaussianBlur(kernel, (0.1, kernel / 6))], p=0.2),
        ]
    )
    return steps


@dataclass(frozen=True, eq=False)
class Pretrained:
    """What was learnt: `state` has timm's names for the backbone without its classifier.

    `epochs` and `seconds` is what it took; `loss` is that of the kept epoch on held-out images.
    `spread` is the standard deviation of their embeddings over the images, averaged over dimensions; 1 is striven for.
    """

    state: dict[str, Tensor]
    epochs: int
    loss: float
    spread: float
    seconds: float


def pretrain(
    backbone: Backbone,
    pixels: Pixels,
    train: npt.NDArray[np.int64],
    held_out: npt.NDArray[np.int64],
    recipe: TrainingSettings,
    *,
    learnt: bool = False,
    checkpoints: Checkpoints | None = None,
    progress: Progress | None = None,
) -> Pretrained:
    """Train `backbone`, trunk and upper units, in place on the rows `train` of `pixels` (M, S, S, 3).

    The epoch with the least loss on the rows `held_out` is kept. `learnt`: the weights it begins with are worth
    keeping, and move slowly. Raises TrainingError with fewer than two images on either side, if the loss stops being
    a number, or if the embeddings collapsed.
    """
    if len(train) < 2 or len(held_out) < 2:
        raise TrainingError(
            f"pretrain: {len(train)} images to learn from and {len(held_out)} to validate on; at least 2 of each "
            "are needed, and hundreds are of use. Ingest more"
        )
    begun = time.monotonic()
    seed_everything(recipe.seed, "pretrain expander")
    task = _PretrainTask(backbone, pixels, train, held_out, recipe, learnt)
    fit = run_loop(
        task,
        recipe,
        phase="pretrain",
        checkpoints=checkpoints,
        patience=recipe.epochs,  # the learning rate falls to the end, and the loss with it
        progress=(lambda epoch: progress("pretraining", epoch, recipe.epochs)) if progress else None,
    )
    spread = task.spread()
    if not spread >= COLLAPSED:
        raise TrainingError(
            f"pretrain: collapsed: the embeddings of {len(held_out)} held-out images vary by {spread:.3f}, and 1 is "
            f"striven for, {COLLAPSED} the least. Are the images all alike? Else lower training -> learning_rate, or "
            "raise training -> batch_size"
        )
    task.module.cpu()
    return Pretrained(backbone.state(), fit.epochs, fit.loss, spread, time.monotonic() - begun)


def vicreg(first: Tensor, second: Tensor) -> Tensor:
    """Return VICReg's loss (a scalar) of the embeddings (B, D) of two views, B at least 2; equations 1 to 6."""
    invariance = F.mse_loss(first, second)
    variance = sum((F.relu(1 - _deviation(z)).mean() / 2 for z in (first, second)), torch.zeros(()).to(first))
    covariance = _covariance(first) + _covariance(second)
    return INVARIANCE * invariance + VARIANCE * variance + COVARIANCE * covariance


def _deviation(embeddings: Tensor) -> Tensor:
    """Return the standard deviation (D,) over a batch (B, D)."""
    return (embeddings.var(dim=0) + 1e-4).sqrt()


def _covariance(embeddings: Tensor) -> Tensor:
    """Return the sum of the squared covariances between dimensions, over the number of dimensions."""
    centred = embeddings - embeddings.mean(dim=0)
    matrix = centred.T @ centred / (len(embeddings) - 1)  # (D, D)
    return (matrix.square().sum() - matrix.diagonal().square().sum()) / embeddings.shape[1]


class _Embedder(nn.Module):
    """Trunk, upper units and expander: (B, S, S, 3) uint8 pixels to embeddings (B, WIDTH)."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.trunk = backbone.trunk
        self.units = nn.ModuleDict(backbone.upper)
        # Its BatchNorm keeps no statistics: a few steps an epoch are too few to gather them for the validation.
        self.expander = nn.Sequential(
            nn.Linear(backbone.out_channels, WIDTH, bias=False),
            nn.BatchNorm1d(WIDTH, track_running_stats=False),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH, bias=False),
            nn.BatchNorm1d(WIDTH, track_running_stats=False),
            nn.ReLU(),
            nn.Linear(WIDTH, WIDTH, bias=False),
        )

    def pooled(self, pixels: Tensor) -> Tensor:
        """Return the top features averaged over the map (B, F)."""
        top = self.trunk(pixels).float()  # (B, C, H, W)
        for unit in self.units.values():
            top = unit(top)
        pooled: Tensor = top.mean(dim=(2, 3))
        return pooled

    def forward(self, pixels: Tensor) -> Tensor:
        embeddings: Tensor = self.expander(self.pooled(pixels))
        return embeddings


class _PretrainTask:
    """Two views of each image, as the loop sees them."""

    partial = False

    def __init__(
        self,
        backbone: Backbone,
        pixels: Pixels,
        train: npt.NDArray[np.int64],
        held_out: npt.NDArray[np.int64],
        recipe: TrainingSettings,
        learnt: bool,
    ) -> None:
        self.name = "pretrain"
        self._model = _Embedder(backbone)
        self.module: nn.Module = self._model
        self._pixels, self._train, self._held_out = pixels, train, held_out[:HELD_OUT]
        self._seed = recipe.seed
        self._size = min(recipe.batch_size, len(train))
        self._augment = augmentation(backbone.spec.image_size, flip=recipe.flip)
        body = [*self._model.trunk.parameters(), *self._model.units.parameters()]
        expander, rate = list(self._model.expander.parameters()), recipe.learning_rate
        self.groups: Sequence[Mapping[str, Any]] = [
            {"params": body, "lr": rate * (LEARNT_RATE if learnt else 1.0)},
            {"params": expander, "lr": rate},
        ]
        self.steps = len(train) // self._size  # a last, smaller batch would only blur the statistics

    def batches(self, rng: np.random.Generator, share: Share) -> Iterator[tuple[Tensor, ...]]:
        order = rng.permutation(len(self._train))
        for step in range(self.steps):
            batch = np.sort(order[step * self._size : (step + 1) * self._size])
            yield self._views(self._train[share.take(batch)])

    def loss(self, module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        first, second = module(torch.cat(batch)).float().chunk(2)  # (B, D) each
        with torch.autocast(first.device.type, enabled=False):  # bfloat16 is too coarse for a covariance
            return vicreg(first, second)

    def validate(self) -> tuple[float, float]:
        seed_everything(self._seed, "pretrain views")  # the same views in each epoch
        loss = float(vicreg(*self._embed(views=True)))
        return -loss, loss

    def spread(self) -> float:
        """Return the mean standard deviation of the held-out images' embeddings."""
        return float(_deviation(self._embed(views=False)[0]).mean())

    @torch.inference_mode()
    def _embed(self, *, views: bool) -> list[Tensor]:
        """Return the held-out images' embeddings (N, D): of two views of each, or of each as it is."""
        pooled: list[list[Tensor]] = []
        for start in range(0, len(self._held_out), 64):
            rows = self._held_out[start : start + 64]
            batch = self._views(rows) if views else (self._read(rows),)
            pooled.append([self._model.pooled(pixels) for pixels in batch])
        return [self._model.expander(torch.cat(parts)).float() for parts in zip(*pooled, strict=True)]

    def _read(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """Return pixels (B, S, S, 3) on the network's device."""
        return torch.from_numpy(np.ascontiguousarray(self._pixels[rows])).to(next(self.module.parameters()).device)

    def _views(self, rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Return two views (B, S, S, 3) uint8. torchvision draws once a call, so each image is changed by itself."""
        images = self._read(rows).permute(0, 3, 1, 2)  # (B, 3, S, S)
        first, second = (torch.stack([self._augment(image) for image in images]) for _ in range(2))
        return first.permute(0, 2, 3, 1), second.permute(0, 2, 3, 1)
