"""What the arms are measured by, the same for all: scores on test, time to predict, resampled scores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..answers import Floats
from ..nn.losses import probabilities
from ..nn.tree import Tree
from ..schema import SPLITS
from ..settings.models import BranchSettings
from ..training.calibrate import Calibration
from ..training.data import Samples
from ..training.gate import ROUNDS, contributions, resampled_f1
from ..training.grow import finish
from ..training.joint import predict_joint
from ..training.metrics import NO_SCORES, score

#: Predicting is timed on at most so many test images, in batches, several times over.
TIMED_IMAGES, BATCH, TIMED_PASSES = 512, 64, 5


@dataclass(frozen=True, eq=False)
class Answered:
    """One attribute as one arm answers it: calibrated probabilities (N, C) of its unambiguous images by split."""

    samples: dict[str, Samples]  # "val" and "test"
    probabilities: dict[str, Floats]
    calibration: Calibration
    report: dict[str, Any]  # scores on test, over all and by article type; "macro_f1" is None without a label there


def measure(
    trees: Sequence[Tree],
    samples: Mapping[str, Samples],
    recipes: Mapping[str, BranchSettings],
    article_types: Mapping[int, str],
    device: torch.device,
) -> dict[str, Answered]:
    """Return how `trees` answer the attributes of `samples` (pixels, all splits), calibrated on validation.

    `article_types` by image id.
    """
    out = {}
    for tree in trees:
        tree.to(device)
        names = [name for name in samples if name in tree.branches]
        logits: dict[str, dict[str, torch.Tensor]] = {}
        for split in ("val", "test"):
            parts = {name: samples[name].part(split, labelled_only=True) for name in names}
            there = {name: part for name, part in parts.items() if len(part)}
            logits[split] = predict_joint(tree, there, device) if there else {}
        for name in names:
            out[name] = _answered(name, samples[name], logits, recipes[name], article_types)
        tree.cpu()
    return {name: out[name] for name in samples}


def _answered(
    name: str,
    samples: Samples,
    logits: Mapping[str, Mapping[str, torch.Tensor]],
    recipe: BranchSettings,
    article_types: Mapping[int, str],
) -> Answered:
    labels = samples.labels.attribute.labels
    parts = {split: samples.part(split, labelled_only=True) for split in ("val", "test")}
    calibration, scores, probs = finish(
        labels, samples, lambda part: logits[SPLITS[int(part.labels.split[0])]][name], recipe
    )
    report = {**NO_SCORES, "article_types": {}}
    if "test" in scores:
        report = {**scores["test"].to_json(), "article_types": _by_type(parts["test"], probs["test"], article_types)}
    report |= {"calibrated": calibration.calibrated, "val_macro_f1": round(scores["val"].macro_f1, 4)}
    return Answered(parts, probs, calibration, report)


def _by_type(part: Samples, probs: Floats, article_types: Mapping[int, str]) -> dict[str, dict[str, Any]]:
    """Return size, accuracy and macro-F1 of each article type; an image without one counts as "unknown"."""
    types = np.array([article_types.get(i) or "unknown" for i in part.labels.image_ids.tolist()])
    out = {}
    for kind in sorted(set(types.tolist())):
        mine = types == kind
        scores = score(part.labels.attribute.labels, probs[mine], part.labels.target[mine])
        out[kind] = {"n": scores.n, "accuracy": round(scores.accuracy, 4), "macro_f1": round(scores.macro_f1, 4)}
    return out


def predict_ms(trees: Sequence[Tree], answered: Mapping[str, Answered], device: torch.device) -> float | None:
    """Return the milliseconds an image from pixels to the probabilities of all attributes; None without a test image.

    The median of several passes, after one to warm up.
    """
    tested = [part for part in (found.samples["test"] for found in answered.values()) if len(part)]
    if not tested:
        return None
    rows = np.unique(np.concatenate([part.rows[:, 0] for part in tested]))[:TIMED_IMAGES]
    pixels = np.ascontiguousarray(tested[0].inputs[0][rows])  # (M, S, S, 3)
    for tree in trees:
        tree.to(device)
    taken = []
    for _ in range(TIMED_PASSES + 1):
        begun = time.perf_counter()
        for start in range(0, len(pixels), BATCH):
            batch = torch.from_numpy(pixels[start : start + BATCH]).to(device)
            for tree in trees:
                for name, logits in tree(batch).items():
                    kind = answered[name].samples["test"].labels.attribute.labels.kind
                    probabilities(kind, logits, answered[name].calibration.temperature).cpu()
        taken.append(time.perf_counter() - begun)
    for tree in trees:
        tree.cpu()
    return 1000 * median(taken[1:]) / len(pixels)


def resampled(answered: Mapping[str, Answered], seed: int, rounds: int = ROUNDS) -> npt.NDArray[np.float64]:
    """Return the mean macro-F1 over the attributes in each resample (rounds,) of the test images.

    An image is drawn with all of its labels. The same `seed` and images give the same resamples, so two arms' can be
    subtracted. Empty without a test image.
    """
    tested = [found for found in answered.values() if len(found.samples["test"])]
    if not tested:
        return np.empty(0)
    images = np.unique(np.concatenate([found.samples["test"].labels.image_ids for found in tested]))
    counted = []
    for found in tested:
        labels = found.samples["test"].labels
        counts = contributions(labels.attribute.labels, found.probabilities["test"], labels.target)
        counted.append((counts, np.searchsorted(images, labels.image_ids)))
    return np.asarray(resampled_f1(counted, len(images), seed, rounds).mean(axis=0))
