"""The live tree on a catalogue: evaluate it, ask it about files, let it fill gaps."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..answers import Floats
from ..catalog import Catalog
from ..errors import CatalogError, ImageError, UnknownNameError
from ..images.addresses import file_of, is_remote, normal_url, scheme_of
from ..images.array_store import RecordStore
from ..images.cache import Bound
from ..images.places import why_no_image
from ..images.remote import Place, RemoteFiles
from ..labels.records import ImageRecord, PredictionRecord
from ..nn.trunk import Features, Reads
from ..plugins import LoadedPlugins
from ..registry.artifacts import ArtifactStore
from ..registry.trees import load_tree
from ..reports import Progress
from ..schema import Attribute
from ..settings.models import Settings
from ..training.data import pick_device
from ..training.metrics import NO_SCORES, score
from .features import CatalogImages, Pictures
from .predict import ERROR, Prediction, Predictor, Subject, branch_probabilities, own_probabilities

_CHUNK = 512


@dataclass(frozen=True, eq=False)
class LookedAt:
    """What the live tree sees on the images `ids`, N of them: by attribute, calibrated probabilities (N, K).

    K are the values that the attribute's branch learnt. `novelty` (N,) is that of the branches that can tell, above 1
    if an image is unlike what it learnt from. `failed` are images that could not be read, and why.
    """

    ids: tuple[int, ...]
    probabilities: dict[str, Floats]
    novelty: dict[str, Floats]
    failed: dict[int, str]


class LiveTree:
    """The live tree version, loaded, with the catalogue and the caches it reads.

    Raises CatalogError if nothing is live yet.
    """

    def __init__(
        self, catalog: Catalog, settings: Settings, plugins: LoadedPlugins, progress: Progress | None = None
    ) -> None:
        version = catalog.registry.live()
        if version is None:
            raise CatalogError("no tree is live yet; run: attributree sync-catalog")
        self.catalog = catalog
        self.settings = settings
        self.progress = progress
        self.version = version
        self.device = pick_device(settings.training.device)
        bound, workers = Bound.of(settings.catalog), settings.training.workers
        self.remote = RemoteFiles.of(settings)
        self._images = CatalogImages(catalog, bound, self.remote, self.device, workers, progress)
        store = ArtifactStore(settings.catalog.artifacts)
        self.loaded = load_tree(store, version.trunk, version.branches, plugins)
        self.attributes: dict[str, Attribute] = {name: a.today for name, a in catalog.labels.attributes().items()}
        types = catalog.labels.types()
        self.predictor = Predictor(self.loaded, version.id, self.attributes, self.device, self.remote, types)

    def names(self, wanted: Iterable[str] = ()) -> list[str]:
        """Return the attributes to answer: `wanted`, or all that are live. Raises UnknownNameError."""
        there, wanted = self.predictor.names(), list(wanted)
        for name in wanted:
            if name not in there:
                live = ", ".join(there) or "none"
                raise UnknownNameError(
                    f"no live branch for attribute {name!r}; there are: {live}. See attributree status"
                )
        return wanted or there

    # -- evaluate ----------------------------------------------------------------------------------

    def evaluate(self, split: str, names: Iterable[str] = ()) -> dict[str, Any]:
        """Return the scores of the live tree on one split, as `evaluate --json` shows them.

        An attribute without a label there has n = 0 and no scores; one whose branch cannot be loaded says why.
        """
        attributes: dict[str, Any] = {}
        asked = self.names(names)
        reads = self._reads(asked)
        for name in asked:
            if name in self.predictor.failing:
                attributes[name] = {**NO_SCORES, "error": self.predictor.failing[name]}
                continue
            attributes[name] = self._evaluate(name, split, reads)
        return {"version": self.version.id, "split": split, "attributes": attributes}

    def _evaluate(self, name: str, split: str, reads: Collection[Reads]) -> dict[str, Any]:
        part = self.catalog.labels.label_set(name).part(split, labelled_only=True)
        pictures, stores = self._features(part.image_ids.tolist(), reads)
        part = part.take(np.isin(part.image_ids, list(pictures.digests)))
        if not len(part):
            return dict(NO_SCORES)
        logits, novel = [], []
        ids = part.image_ids.tolist()
        for start in range(0, len(ids), _CHUNK):
            features = self._read(stores, pictures, ids[start : start + _CHUNK])
            logits.append(self.predictor.tree.from_features(features, [name])[name].cpu())
            novel.append(self.loaded.novelty(features, [name]).get(name, np.zeros(len(logits[-1]), np.float32)))
        record = self.version.branches[name]
        attribute = self.attributes[name]
        probs = branch_probabilities(record, attribute, torch.cat(logits))
        cut = record.cut if record.calibrated else None
        return score(attribute.labels, probs, part.target, cut, held_back=np.concatenate(novel) > 1).to_json()

    # -- predict -----------------------------------------------------------------------------------

    def predict_files(
        self, paths: Sequence[Path | str], names: Iterable[str] = (), article_type: str | None = None
    ) -> list[Prediction]:
        """Predict images, files or URLs; what the catalogue knows of them (sku, article type) is used.

        `article_type` overrides it. An image that cannot be read gives decision `error`. One behind a URL is fetched if
        it is not what is in the cache.
        """
        places = [_named(path) for path in paths]
        there = [file for file, problem in places if not problem]
        known = {image.file: image for image in self.catalog.labels.images(paths=there)}
        subjects = []
        for path, (file, problem) in zip(paths, places, strict=True):
            image = known.get(file)
            kind = article_type or (image.article_type if image else None)
            sku, image_id = (image.sku, image.id) if image else (None, None)
            subjects.append(Subject(str(path), file, sku, kind or None, image_id, problem))
        return self.predictor.predict_files(subjects, self.names(names))

    def predict_missing(self, names: Iterable[str] = ()) -> Iterator[Prediction]:
        """Predict every gap of the catalogue, store the predictions and yield them, image by image.

        A gap is an image that the attribute applies to and whose annotation is unknown or ambiguous. Images
        that cannot be decoded are quarantined and yield decision `error`.
        """
        wanted = self.names(names)
        self.follow_settings()
        gaps: dict[int, list[str]] = {}
        for name in wanted:
            for image_id in self.catalog.labels.missing(name):
                gaps.setdefault(image_id, []).append(name)
        images = self.catalog.labels.images(ids=sorted(gaps))
        for start in range(0, len(images), _CHUNK):
            yield from self._predict_chunk(images[start : start + _CHUNK], gaps)
            if self.progress:
                self.progress("predicting", min(start + _CHUNK, len(images)), len(images))

    def follow_settings(self) -> None:
        """Follow sources and article types of the settings before gaps are looked for: what is predicted is stored."""
        self.catalog.labels.follow_settings()
        self.predictor.types = self.catalog.labels.types()

    def _predict_chunk(self, images: Sequence[ImageRecord], gaps: dict[int, list[str]]) -> list[Prediction]:
        asked = sorted({name for image in images for name in gaps[image.id]})
        pictures, stores = self._features([image.id for image in images], self._reads(asked), quietly=True)
        good = [image for image in images if image.id in pictures.digests]
        out: list[Prediction] = []
        for image in images:
            if image.id in pictures.failed:
                out += self.predictor.failed(_subject(image), gaps[image.id], pictures.failed[image.id])
        if good:
            features = self._read(stores, pictures, [image.id for image in good])
            answered = self.predictor.predict_features([_subject(image) for image in good], features, asked)
            out += [p for p in answered if p.attribute in gaps[p.image_id or 0]]
        records = []
        for p in out:
            branch = self.version.branches[p.attribute].id
            if p.decision != ERROR and p.image_id is not None and branch is not None:
                confidence, version = p.confidence or 0.0, self.version.id
                records.append(
                    PredictionRecord(p.image_id, p.attribute, p.values, confidence, p.decision, version, branch)
                )
        self.catalog.registry.save_predictions(records)
        return out

    def look_at(self, ids: Sequence[int], names: Sequence[str]) -> LookedAt:
        """Return what the branches of `names`, which are loaded, say of images of the catalogue.

        Images that cannot be decoded are quarantined.
        """
        if not ids:
            return LookedAt((), {name: np.zeros((0, 0), np.float32) for name in names}, {}, {})
        pictures, stores = self._features(ids, self._reads(names), quietly=True)
        good = [image_id for image_id in ids if image_id in pictures.digests]
        parts: dict[str, list[Floats]] = {name: [] for name in names}
        novelty: dict[str, list[Floats]] = {name: [] for name in names if name in self.loaded.familiarities}
        for start in range(0, len(good), _CHUNK):
            features = self._read(stores, pictures, good[start : start + _CHUNK])
            for name, logits in self.predictor.tree.from_features(features, names).items():
                parts[name].append(own_probabilities(self.loaded.branches[name], logits))
            for name, found in self.loaded.novelty(features, names).items():
                novelty[name].append(found)
        none = np.zeros((0, 0), np.float32)
        seen = {name: np.concatenate(part) if part else none for name, part in parts.items()}
        novel = {name: np.concatenate(part) for name, part in novelty.items() if part}
        return LookedAt(tuple(good), seen, novel, pictures.failed)

    def files(self, predictions: Sequence[Prediction]) -> dict[int | str, Place]:
        """Return where the file of each predicted image is, or its URL, by `sheet.key_of`."""
        ids = sorted({p.image_id for p in predictions if p.image_id is not None})
        found: dict[int | str, Place] = {image.id: image.file for image in self.catalog.labels.images(ids=ids)}
        return found | {p.image: _named(p.image)[0] for p in predictions if p.image_id is None}

    # -- features ----------------------------------------------------------------------------------

    def _reads(self, names: Iterable[str]) -> frozenset[Reads]:
        """Return what those of the named branches that can answer read of the trunk."""
        return self.loaded.reads(name for name in names if name not in self.predictor.failing)

    def _features(
        self, ids: Sequence[int], reads: Collection[Reads], *, quietly: bool = False
    ) -> tuple[Pictures, dict[Reads, RecordStore]]:
        backbone, images = self.loaded.backbone, replace(self._images, progress=None) if quietly else self._images
        pictures = images.decode(ids, backbone.transform)
        return pictures, images.features(backbone, self.loaded.trunk.digest, pictures, reads)

    def _read(self, stores: Mapping[Reads, RecordStore], pictures: Pictures, ids: Sequence[int]) -> Features:
        return {
            what: torch.from_numpy(np.ascontiguousarray(store.records()[pictures.rows(store, ids)])).to(self.device)
            for what, store in stores.items()
        }


def _named(name: Path | str) -> tuple[Place, str | None]:
    """Return the file or the URL that a user names, and why no image can be there, if that is so."""
    text = str(name)
    if is_remote(text):
        return normal_url(text), None
    try:
        text = file_of(text) if scheme_of(text) else text
    except ImageError as error:
        return Path(text), str(error)
    problem = why_no_image(text)
    return Path(text) if problem else Path(text).resolve(), problem


def _subject(image: ImageRecord) -> Subject:
    return Subject(image.path, image.file, image.sku, image.article_type or None, image.id)
