"""What training reads of a catalogue: its images and labels as arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from ..catalog import Catalog
from ..errors import CatalogError, TrainingError
from ..images.cache import Bound
from ..images.features import ActivationStore, top_key
from ..images.remote import RemoteFiles
from ..inference.features import CatalogImages, Pictures
from ..label_set import LabelSet
from ..nn.familiarity import Familiarity
from ..nn.sources import find_weights
from ..nn.transform import Transform
from ..nn.trunk import PIXELS, PYRAMID, Backbone, Reads, TrunkSpec, build_backbone, transform_of
from ..plugins import LoadedPlugins
from ..registry.artifacts import ArtifactStore
from ..reports import Progress
from ..schema import SPLITS, Attribute
from ..settings.models import BranchSettings, Settings
from ..settings.recipes import Recipes
from ..training.checkpoint import Checkpoints
from ..training.data import Samples, pick_device
from ..training.donors import Donor, pooled_features
from ..training.progressive import BranchSetup

#: Images on which each promotion proves that no other attribute moved.
PROBE_IMAGES = 16


class TrainingData:
    """A catalogue, settings and plugins, as training reads them. `quarantined` says of images why they were no use."""

    def __init__(
        self, catalog: Catalog, settings: Settings, plugins: LoadedPlugins, progress: Progress | None = None
    ) -> None:
        self.catalog = catalog
        self.settings = settings
        self.plugins = plugins
        self.progress = progress
        self.recipes = Recipes.read(settings, plugins)
        self.store = ArtifactStore(settings.catalog.artifacts)
        self.device = pick_device(settings.training.device)
        self.spec = TrunkSpec(**settings.trunk.model_dump())
        self.quarantined: dict[str, str] = {}
        bound, workers = Bound.of(settings.catalog), settings.training.workers
        remote = RemoteFiles.of(settings)
        self._images = CatalogImages(catalog, bound, remote, self.device, workers, progress)
        self.features = self._images.features

    def backbone(self) -> Backbone:
        """Return the configured backbone with its weights. Raises TrunkError if it, or they, cannot be had."""
        return build_backbone(self.spec, plugins=self.plugins)

    @property
    def transform(self) -> Transform:
        """How images are prepared for the configured backbone. Raises TrunkError if there are no such weights."""
        return transform_of(self.spec, find_weights(self.spec.backbone, self.spec.weights, self.plugins))

    def decode(self, ids: Sequence[int], transform: Transform) -> Pictures:
        """Decode images as `transform` says; those that fail are quarantined and reported.

        Raises CatalogError if most of them are behind hosts that cannot be reached: what would be learnt of the others
        is not what is asked for.
        """
        pictures = self._images.decode(ids, transform)
        if len(pictures.away) > len(ids) / 2:
            why = pictures.failed[min(pictures.away)]
            raise CatalogError(
                f"{len(pictures.away)} of {len(ids)} images cannot be fetched, {why} for one; is the network there? "
                "What was fetched is kept"
            )
        if pictures.failed:
            paths = {image.id: image.path for image in self.catalog.labels.images(ids=list(pictures.failed))}
            self.quarantined |= {paths[i]: reason for i, reason in pictures.failed.items()}
        return pictures

    def decode_all(self, label_sets: Mapping[str, LabelSet], transform: Transform) -> Pictures:
        """Decode every image of some label sets."""
        ids = np.unique(np.concatenate([labels.image_ids for labels in label_sets.values()])).tolist()
        return self.decode(ids, transform)

    def pixels(self, label_set: LabelSet, pictures: Pictures) -> Samples:
        """Return the pixels (S, S, 3) of the images of a label set that could be decoded; see `usable`."""
        label_set = usable(label_set, pictures)
        rows = pictures.rows(pictures.pixels, label_set.image_ids.tolist())
        return Samples((pictures.pixels.records(),), rows[:, None], label_set)

    def samples(
        self,
        label_set: LabelSet,
        pictures: Pictures,
        backbone: Backbone,
        trunk_digest: str,
        reads: Collection[Reads],
        *,
        flip: bool,
    ) -> dict[Reads, Samples]:
        """Return the trunk's features of a label set's images, mirrored ones as a second view if `flip`.

        Pyramids have one view: what reads them is linear, and solved; mirrored copies taught such a layer nothing.
        Pixels are mirrored when they are read.
        """
        ids = label_set.image_ids.tolist()
        features = partial(self.features, backbone, trunk_digest, pictures)
        views = [features(reads)]
        if flip and (twice := frozenset(reads) - {PYRAMID, PIXELS}):
            views.append(features(twice, mirrored=True))
        out = {}
        for what in reads:
            stores = [view[what] for view in views if what in view]
            rows = np.stack([pictures.rows(store, ids) for store in stores], axis=1)
            out[what] = Samples(tuple(store.records() for store in stores), rows, label_set)
        return out

    def donor_features(self, backbone: Backbone, trunk_digest: str, pictures: Pictures) -> StoredFeatures:
        """Return where donors' top features of `pictures` come from."""
        below = backbone.trunk.below
        shapes = backbone.shapes[below], (backbone.out_channels, 1, 1)
        bound, size, key = self._images.bound, backbone.spec.image_size, backbone.transform.key(trunk_digest)
        return StoredFeatures(bound, key, size, below, shapes, pictures.digests, self.device)

    def setup(self, attribute: Attribute, backbone: Backbone) -> BranchSetup:
        """Return how branches of an attribute are made. Raises PluginError if its plugin's loss is none."""
        return BranchSetup.of(attribute, backbone, self.plugins, self.recipes.of(attribute.name))

    def checkpoints(self, name: str, **identity: object) -> Checkpoints:
        """Return the checkpoints of training `name`; any change of `identity` is another training."""
        return Checkpoints(
            self.settings.catalog.cache / "runs", name, {"attributree": version("attributree"), **identity}
        )


def usable(label_set: LabelSet, pictures: Pictures) -> LabelSet:
    """Return a label set without the images that could not be decoded.

    Raises TrainingError if too few are left to train and validate on.
    """
    found = label_set.take(np.isin(label_set.image_ids, list(pictures.digests)))
    if not len(found.part("train")) or not len(found.part("val", labelled_only=True)):
        raise TrainingError(f"{label_set.attribute.name}: too few of its images could be decoded; see status")
    return found


def probe_of(ids: Sequence[int], pictures: Pictures) -> npt.NDArray[np.uint8]:
    """Return pixels (P, S, S, 3) of the first of `ids` that could be decoded: what a promotion is proved on."""
    digests = [pictures.digests[i] for i in ids if i in pictures.digests][:PROBE_IMAGES]
    return pictures.pixels.read(digests).astype(np.uint8)


def familiar(backbone: Backbone, pyramids: Samples, recipe: BranchSettings) -> Familiarity | None:
    """Return what the pictures of an attribute have in common, by their `pyramids`; those of the test split apart."""
    seen = pyramids.take(pyramids.labels.split != SPLITS.index("test"))
    rows, labels = torch.from_numpy(np.ascontiguousarray(seen.inputs[0][seen.rows[:, 0]])), seen.labels
    return Familiarity.of(backbone.overall(rows), labels.products, recipe.seed)


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """Donors' top features over one trunk, out of the activation store: computed once an image.

    `key` names the trunk's features, `below` is what of them units read, `digests` names each image's file; `shapes`
    are those of trunk and top features.
    """

    bound: Bound
    key: str
    size: int
    below: Reads
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    digests: Mapping[int, str]
    device: torch.device

    def __call__(self, donor: Donor, samples: Samples) -> Samples:
        """Return `samples` as samples of the donor's top features; see `training.donors.DonorFeatures`."""
        if not donor.digests:
            return pooled_features(donor, samples, self.device)
        keys = [self.digests[i] for i in samples.labels.image_ids.tolist()]
        inputs, rows = [], []
        for view in range(len(samples.inputs)):
            below = self._store(self.key, view, self.shapes[0], self.below)
            store = self._store(top_key(self.key, donor.digests), view, self.shapes[1], "pooled")
            store.fill_pooled(donor.units, below, keys, self.device)
            inputs.append(store.records())
            rows.append(store.rows(keys))
        return Samples(tuple(inputs), np.stack(rows, axis=1), samples.labels)

    def _store(self, key: str, view: int, shape: tuple[int, ...], kind: Reads | Literal["pooled"]) -> ActivationStore:
        cache = self.bound.cache
        return ActivationStore(cache, key, self.size, shape, mirrored=view == 1, kind=kind, room=self.bound)
