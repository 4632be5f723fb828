"""Predictions of the live tree: what it says, how sure it is, and whether that may be accepted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..answers import Answers, Floats, answer_today, outlived, translate
from ..article_types import EXACT, OUTSIDE, UNMAPPED, ArticleTypes
from ..errors import ImageError
from ..images.decode import quiet
from ..images.pixels import decode_place
from ..images.remote import Place, RemoteFiles
from ..nn.losses import probabilities
from ..nn.trunk import Features
from ..registry.records import BranchRecord
from ..registry.trees import LoadedTree
from ..schema import SEPARATOR, Attribute

_BATCH = 64
ACCEPT, REVIEW, NOT_APPLICABLE, ERROR = "accept", "review", "not_applicable", "error"
#: The reason of an answer about a product of an unmapped article type.
UNMAPPED_TYPE = "its article type is unmapped, so it is not known whether this is asked of it; see attributree types"
#: The reason of an answer whose value was split after its branch had learnt it.
SPLIT = "the branch learnt these as one value, which was split since; label some of each to have it retrained"
#: The reason of an answer about a picture that is unlike those that the branch learnt from.
UNFAMILIAR = "it is unlike the pictures that this was learnt from; label some of its kind, and they will be learnt"
#: The reason why there is no answer where all that the branch can imagine are values that were retired.
RETIRED = "the branch sees a value that was retired, and gives no chance to any of today's"


@dataclass(frozen=True)
class Prediction:
    """One answer about one image. `values` are keys; `confidence` is None where nothing was computed.

    `novelty` is how unlike the pictures that the branch learnt from the image is: above 1 unlike them, None if unknown.
    """

    image: str
    sku: str | None
    attribute: str
    kind: str
    values: tuple[str, ...]
    confidence: float | None
    decision: str
    version: int
    reason: str | None = None
    image_id: int | None = None
    novelty: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as one line of `attributree predict`."""
        out: dict[str, Any] = {
            "image": self.image,
            "sku": self.sku,
            "attribute": self.attribute,
            "value": SEPARATOR.join(self.values) or None,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "decision": self.decision,
            "version": self.version,
        }
        if self.kind == "multi":
            out["values"] = list(self.values)
        if self.novelty is not None and self.novelty > 1:
            out["novelty"] = round(self.novelty, 3)
        if self.reason is not None:
            out["reason"] = self.reason
        return out


@dataclass(frozen=True)
class Subject:
    """An image to be predicted: what to call it, where it is, and what is known of its product.

    `problem` is why there is none.
    """

    image: str
    file: Place
    sku: str | None = None
    article_type: str | None = None
    image_id: int | None = None
    problem: str | None = None


def branch_probabilities(record: BranchRecord, attribute: Attribute, logits: torch.Tensor) -> Floats:
    """Return the calibrated probabilities (N, C) of today's values for a branch's logits (N, K).

    `attribute` is `CatalogAttribute.today`, which knows all former keys.
    """
    return translate(own_probabilities(record, logits), record.values, attribute.labels)


def own_probabilities(record: BranchRecord, logits: torch.Tensor) -> Floats:
    """Return the calibrated probabilities (N, C) of the values that a branch learnt for its logits (N, K)."""
    own: Floats = probabilities(record.kind, logits.cpu(), record.temperature).numpy()
    return own  # (N, K)


def decide(record: BranchRecord, confidence: float) -> str:
    """Return accept or review. Without calibration, or a cut that holds its precision, all goes to review."""
    sure = record.calibrated and record.cut is not None and confidence >= record.cut
    return ACCEPT if sure else REVIEW


class Predictor:
    """The live tree with today's schemas: pixels or features in, predictions out."""

    def __init__(
        self,
        loaded: LoadedTree,
        version: int,
        attributes: Mapping[str, Attribute],
        device: torch.device,
        remote: RemoteFiles,
        types: ArticleTypes = EXACT,
    ) -> None:
        self.loaded = loaded
        self.attributes = attributes
        self.device = device
        self.tree = loaded.tree.to(device)
        self.version = version
        self.remote = remote
        self.types = types
        self.failing: dict[str, str] = {
            name: f"the live branch learnt {', '.join(record.values)}, and none of that is a value today; run: "
            f"attributree sync-catalog"
            for name, record in loaded.branches.items()
            if name in attributes and outlived(record.values, attributes[name].labels)
        } | loaded.missing

    def names(self) -> list[str]:
        """Return the attributes that can be answered or whose failure can be told, in order."""
        return sorted({*self.tree.branches, *self.failing})

    def asks(self, name: str, article_type: str | None) -> str:
        """Return whether an attribute is asked of products of an article type: ASKED, OUTSIDE or UNMAPPED."""
        return self.types.asks(self.attributes[name], article_type)

    def predict_files(self, subjects: Sequence[Subject], names: Iterable[str] | None = None) -> list[Prediction]:
        """Decode and predict images. One that cannot be read gives predictions with decision `error`."""
        wanted = list(names) if names is not None else self.names()
        out: list[Prediction] = []
        for start in range(0, len(subjects), _BATCH):
            out += self._predict_batch(subjects[start : start + _BATCH], wanted)
        return out

    def _predict_batch(self, subjects: Sequence[Subject], names: list[str]) -> list[Prediction]:
        unread: dict[int, list[Prediction]] = {}
        pixels: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
        fetched = any(isinstance(subject.file, str) for subject in subjects)
        with quiet(), ThreadPoolExecutor(self.remote.settings.connections if fetched else 1) as pool:
            for i, decoded in enumerate(pool.map(self._decode, subjects)):
                if isinstance(decoded, ImageError):
                    unread[i] = self.failed(subjects[i], names, str(decoded))
                else:
                    pixels.append(decoded)
        answered: Iterator[Prediction] = iter(())
        if pixels:
            with torch.inference_mode():
                batch = torch.from_numpy(np.stack(pixels)).to(self.device)
                features = self.tree.trunk.features(batch, self.loaded.reads(self._present(names)))
                good = [subject for i, subject in enumerate(subjects) if i not in unread]
                answered = iter(self.predict_features(good, features, names))
        # One prediction a name either way, so the answers come in the order of the subjects.
        return [p for i in range(len(subjects)) for p in unread.get(i) or islice(answered, len(names))]

    def _decode(self, subject: Subject) -> npt.NDArray[np.uint8] | ImageError:
        if subject.problem is not None:
            return ImageError(subject.problem)
        how = self.loaded.backbone.transform
        try:
            return decode_place(subject.file, how.size, how.interpolation, self.remote, recheck=True)[0]
        except ImageError as error:
            return error

    def predict_features(
        self, subjects: Sequence[Subject], features: Features, names: Iterable[str]
    ) -> list[Prediction]:
        """Predict `subjects`, image by image in the order of `names`, from what these read of the trunk's features.

        The features are on the tree's device.
        """
        names = list(names)
        present = self._present(names)
        logits = self.tree.from_features(features, present)
        answers = {name: self._answer(name, logits[name]) for name in present}
        novelty = self.loaded.novelty(features, present)
        out: list[Prediction] = []
        for i, subject in enumerate(subjects):
            for name in names:
                if self.asks(name, subject.article_type) == OUTSIDE:
                    out.append(self._plain(subject, name, NOT_APPLICABLE))
                elif name in answers:
                    out.append(self._answered(subject, name, answers[name], novelty.get(name), i))
                else:
                    out += self.failed(subject, [name], self.failing[name])
        return out

    def _present(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name in self.tree.branches and name not in self.failing]

    def failed(self, subject: Subject, names: Iterable[str], reason: str) -> list[Prediction]:
        """Return predictions that say why there are none."""
        return [self._plain(subject, name, ERROR, reason) for name in names]

    def _answer(self, name: str, logits: torch.Tensor) -> Answers:
        attribute = self.attributes[name]
        record = self.loaded.branches[name]
        return answer_today(attribute.labels, own_probabilities(record, logits), record.values)

    def _answered(self, subject: Subject, name: str, answers: Answers, novelty: Floats | None, row: int) -> Prediction:
        record = self.loaded.branches[name]
        confidence = float(answers.confidence[row])
        keys = self.attributes[name].labels.keys
        values = tuple(key for key, said in zip(keys, answers.said[row], strict=True) if said)
        undecided = answers.undecided is not None and bool(answers.undecided[row])
        if self.attributes[name].labels.exclusive and confidence == 0:
            return self._plain(subject, name, ERROR, RETIRED)
        novel = None if novelty is None else float(novelty[row])
        decision, reason = (REVIEW, SPLIT) if undecided else (decide(record, confidence), None)
        if decision == ACCEPT and novel is not None and novel > 1:
            decision, reason = REVIEW, UNFAMILIAR
        if self.asks(name, subject.article_type) == UNMAPPED:
            decision, reason = REVIEW, UNMAPPED_TYPE
        plain = self._plain(subject, name, decision, reason)
        return replace(plain, values=values, confidence=confidence, novelty=novel)

    def _plain(self, subject: Subject, name: str, decision: str, reason: str | None = None) -> Prediction:
        kind = self.attributes[name].labels.kind
        return Prediction(
            subject.image, subject.sku, name, kind, (), None, decision, self.version, reason, subject.image_id
        )
