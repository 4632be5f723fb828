"""Where catalogue and engine meet: images of the catalogue as arrays that training reads."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from ..catalog import Catalog
from ..errors import TrainingError
from ..images.cache import Bound
from ..images.features import ActivationStore
from ..inference import Pictures, compute_features, decode_images
from ..label_set import LabelSet
from ..nn import Backbone, Reads, TrunkSpec, build_loss
from ..plugins import LoadedPlugins
from ..registry.artifacts import ArtifactStore
from ..reports import Progress
from ..schema import Attribute
from ..settings.models import BranchSettings, Settings
from ..settings.recipes import tuned
from ..training import Checkpoints, GuardedLoss, Samples, pick_device
from .tops import StoredTops

#: Images on which each promotion proves that no other attribute moved.
PROBE_IMAGES = 16


class Ground:
    """Catalogue, settings, plugins and caches of one piece of training, and what could not be decoded in it."""

    def __init__(
        self, catalog: Catalog, settings: Settings, plugins: LoadedPlugins, progress: Progress | None = None
    ) -> None:
        self.catalog = catalog
        self.settings = settings = tuned(settings, plugins)
        self.plugins = plugins
        self.progress = progress
        self.store = ArtifactStore(settings.catalog.artifacts)
        self.device = pick_device(settings.training.device)
        self.spec = TrunkSpec(**settings.trunk.model_dump())
        self.quarantined: dict[str, str] = {}
        self.bound = Bound.of(settings.catalog)
        self.probe: npt.NDArray[np.uint8] | None = None  # (P, S, S, 3), of the images last used

    def decode(self, ids: Sequence[int], size: int | None = None) -> Pictures:
        """Decode images at `size` pixels (default: the trunk's); those that fail are quarantined and reported."""
        pictures = decode_images(
            self.catalog,
            self.settings.catalog.cache,
            size or self.spec.image_size,
            ids,
            self.settings.training.workers,
            self.progress,
            self.bound,
        )
        if pictures.failed:
            paths = {image.id: image.path for image in self.catalog.labels.images(ids=list(pictures.failed))}
            self.quarantined |= {paths[i]: reason for i, reason in pictures.failed.items()}
        return pictures

    def usable(self, label_set: LabelSet, pictures: Pictures) -> LabelSet:
        """Return the label set without the images that could not be decoded; keep some of the others as a probe.

        Raises TrainingError if too few are left to train and validate on.
        """
        usable = label_set.take(np.isin(label_set.image_ids, list(pictures.digests)))
        if not len(usable.part("train")) or not len(usable.part("val", labelled_only=True)):
            raise TrainingError(f"{label_set.attribute.name}: too few of its images could be decoded; see status")
        self.keep_probe(usable.image_ids.tolist(), pictures)
        return usable

    def keep_probe(self, ids: Sequence[int], pictures: Pictures) -> None:
        """Keep the first of `ids` that could be decoded to prove on them that nothing moved."""
        probe = [pictures.digests[i] for i in ids if i in pictures.digests][:PROBE_IMAGES]
        self.probe = pictures.pixels.read(probe).astype(np.uint8)

    def pixels(self, label_set: LabelSet, pictures: Pictures) -> Samples:
        """Return the pixels (S, S, 3) of a label set's images."""
        rows = pictures.rows(pictures.pixels, label_set.image_ids.tolist())
        return Samples((pictures.pixels.records(),), rows[:, None], label_set)

    def features(
        self,
        backbone: Backbone,
        trunk_digest: str,
        pictures: Pictures,
        reads: Collection[Reads],
        *,
        mirrored: bool = False,
    ) -> dict[Reads, ActivationStore]:
        """Return the stores of what `reads` asks for of the trunk, computing what is missing of `pictures`."""
        return compute_features(
            backbone,
            trunk_digest,
            pictures,
            self.settings.catalog.cache,
            self.device,
            reads,
            mirrored=mirrored,
            progress=self.progress,
            room=self.bound,
        )

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
        """Return the trunk's features of a label set's images, mirrored ones as a second view if `flip`."""
        ids = label_set.image_ids.tolist()
        views = [
            self.features(backbone, trunk_digest, pictures, reads, mirrored=mirrored)
            for mirrored in ((False, True) if flip else (False,))
        ]
        return {what: _samples([view[what] for view in views], ids, pictures, label_set) for what in reads}

    def tops(self, backbone: Backbone, trunk_digest: str, pictures: Pictures) -> StoredTops:
        """Return where donors' top features of `pictures` come from."""
        shapes = backbone.feature_shape, (backbone.out_channels, 1, 1)
        return StoredTops(self.bound, trunk_digest, backbone.spec.image_size, shapes, pictures.digests, self.device)

    def recipe(self, names: Sequence[str]) -> BranchSettings:
        """Return the settings for training `names` together: mirrored and shifted only if none of them minds."""
        recipe, own = self.settings.for_attribute(""), [self.settings.for_attribute(name) for name in names]
        flip, crop = recipe.flip and all(r.flip for r in own), recipe.crop and all(r.crop for r in own)
        return recipe.model_copy(update={"flip": flip, "crop": crop})

    def losses(self, attributes: Iterable[Attribute]) -> dict[str, GuardedLoss]:
        """Return the losses that plugins bring, by attribute. Raises PluginError if one is no loss."""
        found = {attribute.name: build_loss(attribute, self.plugins) for attribute in attributes}
        return {name: GuardedLoss(name, loss) for name, loss in found.items() if loss}

    def checkpoints(self, name: str, **identity: object) -> Checkpoints:
        """Return the checkpoints of training `name`; any change of `identity` is another training."""
        return Checkpoints(
            self.settings.catalog.cache / "runs", name, {"attributree": version("attributree"), **identity}
        )


def _samples(views: Sequence[ActivationStore], ids: Sequence[int], pictures: Pictures, label_set: LabelSet) -> Samples:
    rows = np.stack([pictures.rows(store, ids) for store in views], axis=1)
    return Samples(tuple(store.records() for store in views), rows, label_set)
