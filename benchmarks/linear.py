"""The plain measure that branches stand beside: a linear classifier on the same frozen features of the trunk."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from attributree import Workspace
from attributree.label_set import LabelSet
from attributree.nn.tree import digest_of, weights_of
from attributree.nn.trunk import PYRAMID
from attributree.sync.data import TrainingData
from commands import BenchmarkError

Floats = npt.NDArray[np.float32]

#: Inverse penalties that are tried; the one with the best accuracy on validation is taken.
PENALTIES = (1e-3, 1e-2, 1e-1)
ROUNDS = 100


@dataclass(frozen=True, eq=False)
class Pyramids:
    """The trunk's pyramid of each image that could be read: `rows` (N, P), and where each image id stands in them."""

    rows: Floats
    of: dict[int, int]

    @classmethod
    def read(cls, workspace: Workspace, ids: Sequence[int]) -> Pyramids:
        """Compute them, or read what a sync left in the cache. Raises BenchmarkError for an image that is missing."""
        data = TrainingData(workspace.catalog, workspace.settings, workspace.plugins)
        backbone = data.backbone()
        pictures = data.decode(ids, backbone.transform)
        if pictures.failed:
            raise BenchmarkError(
                f"{len(pictures.failed)} images cannot be read: {next(iter(pictures.failed.values()))}"
            )
        store = data.features(backbone, digest_of(weights_of(backbone.trunk)), pictures, (PYRAMID,))[PYRAMID]
        rows = store.read([pictures.digests[i] for i in ids]).astype(np.float32)
        return cls(rows, {i: row for row, i in enumerate(ids)})

    def part(self, ids: Sequence[int] | npt.NDArray[np.int64]) -> Floats:
        """Return the pyramids (M, P) of these images."""
        return self.rows[[self.of[int(i)] for i in ids]]


@dataclass(frozen=True)
class Linear:
    """What a linear classifier says of images, by id, and the seconds that learning took."""

    said: dict[int, str]
    penalty: float
    seconds: float


def classify(pyramids: Pyramids, labels: LabelSet, ask: Sequence[int]) -> Linear:
    """Learn a single-label attribute from its train split and answer the images `ask`; the penalty is validation's."""
    start = time.perf_counter()
    train, val = (labels.part(split, labelled_only=True) for split in ("train", "val"))
    scaler = StandardScaler()
    known, unseen = scaler.fit_transform(pyramids.part(train.image_ids)), scaler.transform(pyramids.part(val.image_ids))
    values = np.array(labels.attribute.labels.keys)
    y, wanted = (values[part.target.argmax(axis=1)] for part in (train, val))
    tried, best = dict[float, float](), None
    for penalty in PENALTIES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # so many rounds decide accuracy, not the last digit
            fitted = LogisticRegression(C=penalty, max_iter=ROUNDS).fit(known, y)
        tried[penalty] = float((fitted.predict(unseen) == wanted).mean())
        if best is None or tried[penalty] > tried[best[0]]:
            best = penalty, fitted
    assert best is not None
    said = best[1].predict(scaler.transform(pyramids.part(ask)))
    return Linear(dict(zip(ask, said.tolist(), strict=True)), best[0], time.perf_counter() - start)
