"""Pretraining on the catalogue's own images: which ones, from which weights, into which file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog import Catalog
from ..errors import ConfigError, TrainingError
from ..labels.records import ImageRecord
from ..nn.sources import RANDOM
from ..nn.tree import unit_digests
from ..nn.weights import write_weights
from ..plugins import LoadedPlugins
from ..reports import Progress
from ..settings.models import Settings
from ..settings.recipes import outcome_settings
from ..training.loop import seed_everything
from ..training.pretrain import HELD_OUT, METHOD, pretrain
from .data import TrainingData

#: Share of the products whose images are held out, to choose the epoch by.
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True)
class PretrainReport:
    """What was written: `weights` is how `trunk -> weights` names the file, `begun_with` what that said before.

    `loss` and `spread` (of the embeddings; 1 is striven for) are those of the held-out images.
    """

    file: Path
    weights: str
    method: str
    backbone: str
    image_size: int
    begun_with: str
    images: int
    held_out: int
    epochs: int
    loss: float
    spread: float
    seconds: float
    quarantined: tuple[tuple[str, str], ...] = ()

    @property
    def toml(self) -> str:
        """What to write into plugins.toml."""
        return f"[trunk]\nweights = {json.dumps(self.weights, ensure_ascii=False)}"

    def to_json(self) -> dict[str, Any]:
        """Return the report as `pretrain --json` shows it."""
        return {
            **asdict(self),
            "file": str(self.file),
            "quarantined": [{"image": image, "reason": reason} for image, reason in self.quarantined],
            "toml": self.toml,
        }


def pretrain_trunk(
    catalog: Catalog,
    settings: Settings,
    plugins: LoadedPlugins,
    out: Path,
    *,
    epochs: int | None = None,
    images: int | None = None,
    progress: Progress | None = None,
) -> PretrainReport:
    """Train the configured backbone without labels and write it to the safetensors file `out`.

    It learns from the images of the train split, or so many of them; validation and test stay unseen. `epochs` is
    `training -> epochs` by default. A run that was killed goes on where it was. Raises ConfigError if `out` cannot be
    the file, TrainingError without images or after a collapse.
    """
    _check_file(out)
    data = TrainingData(catalog, settings, plugins, progress)
    recipe = data.recipes.together(plugins.attributes)
    recipe = recipe.model_copy(update={"epochs": epochs or recipe.epochs})
    usable = [image for image in catalog.labels.images() if image.state == "ok" and image.split == "train"]
    if not usable:
        raise TrainingError("pretrain: no image of the train split can be used; ingest some: attributree ingest FILE")
    if images is not None:
        order = seed_everything(recipe.seed, "pretrain images").permutation(len(usable))
        usable = [usable[i] for i in sorted(order[:images])]
    seed_everything(recipe.seed, "pretrain weights")
    backbone = data.backbone()
    pictures = data.decode([image.id for image in usable], backbone.transform)
    learn, hold = _parted([image for image in usable if image.id in pictures.digests])
    held_out = np.unique(pictures.rows(pictures.pixels, hold))
    train = np.setdiff1d(pictures.rows(pictures.pixels, learn), held_out)  # one file may be two products' image
    digests = sorted(pictures.digests[i] for i in learn)
    checkpoints = data.checkpoints(
        "pretrain",
        method=METHOD,
        trunk=settings.trunk_identity(),
        weights=unit_digests({"trunk": backbone.trunk, **backbone.upper}),
        recipe=outcome_settings(recipe),
        images=hashlib.sha256("".join(digests).encode()).hexdigest(),
    )
    done = pretrain(
        backbone,
        pictures.pixels.records(),
        train,
        held_out,
        recipe,
        learnt=data.spec.weights != RANDOM,
        checkpoints=checkpoints,
        progress=progress,
    )
    report = PretrainReport(
        file=out,
        weights=_as_written(out, settings.folder),
        method=METHOD,
        backbone=data.spec.backbone,
        image_size=data.spec.image_size,
        begun_with=data.spec.weights,
        images=len(train),
        held_out=len(held_out),
        epochs=done.epochs,
        loss=round(done.loss, 4),
        spread=round(done.spread, 4),
        seconds=round(done.seconds, 3),
        quarantined=tuple(data.quarantined.items()),
    )
    said = ("method", "backbone", "image_size", "images", "epochs", "begun_with")
    metadata = {"attributree": version("attributree"), **{name: str(getattr(report, name)) for name in said}}
    metadata["prepared"] = backbone.transform.to_json()
    write_weights(out, done.state, metadata)
    checkpoints.forget()
    return report


def _check_file(out: Path) -> None:
    """Raise ConfigError if `out` cannot be written as a new weights file; looked at before hours of work."""
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out: {out} must end in .safetensors, as trunk -> weights asks for")
    if out.exists():
        # Sync compares weights by name: what was under this one may be what the live tree stands on.
        raise ConfigError(f"--out: {out} is there already; give another name")


def _parted(images: Sequence[ImageRecord]) -> tuple[list[int], list[int]]:
    """Return the ids to learn from and those held out: all images of a few products, chosen by a hash of the sku."""
    skus = sorted({image.sku for image in images}, key=lambda sku: hashlib.sha256(sku.encode()).hexdigest())
    few = set(skus[: min(max(2, round(len(skus) * HELD_OUT_SHARE)), HELD_OUT)])
    return [i.id for i in images if i.sku not in few], [i.id for i in images if i.sku in few]


def _as_written(out: Path, folder: Path) -> str:
    """Return a path as plugins.toml in `folder` would name it."""
    path = out.absolute()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
