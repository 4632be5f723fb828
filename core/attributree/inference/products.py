"""Predictions of products: what all their pictures say together, and which of them shows it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..answers import Answers, Floats, answer_today, contradiction, pool, shown_by, translate
from ..article_types import ASKED, UNMAPPED
from ..labels.records import ImageRecord, ProductPictures, ProductPredictionRecord
from ..labels.resolve import Annotation
from ..registry.records import BranchRecord
from ..schema import SEPARATOR, Labels
from ..settings.recipes import Recipes
from ..training.metrics import NO_SCORES, score
from .live import LiveTree
from .predict import (
    ACCEPT,
    ERROR,
    NOT_APPLICABLE,
    RETIRED,
    REVIEW,
    SPLIT,
    UNFAMILIAR,
    UNMAPPED_TYPE,
    decide,
)

#: Pictures, about, that are looked at together.
_PICTURES = 512
_PAGE = 500
_NO_PICTURE = "no picture of it can be looked at"


@dataclass(frozen=True)
class Witness:
    """What one picture of a product says by itself."""

    image: str
    values: tuple[str, ...]
    confidence: float

    def to_json(self) -> dict[str, Any]:
        """Return it as it stands in a prediction."""
        return {"image": self.image, "value": _text(self.values) or None, "confidence": round(self.confidence, 4)}


@dataclass(frozen=True)
class ProductPrediction:
    """One answer about one product, pooled over so many `pictures`; `image` is the one that shows it.

    `shown_by` names for each value of a multi-label attribute the picture that shows it. `contradiction` are two
    pictures that are sure of different answers. `unread` are pictures that could not be looked at, with the reason.
    """

    sku: str
    attribute: str
    kind: str
    values: tuple[str, ...]
    confidence: float | None
    decision: str
    version: int
    image: str | None = None
    pictures: int = 0
    shown_by: Mapping[str, str] | None = None
    contradiction: tuple[Witness, Witness] | None = None
    unread: tuple[tuple[str, str], ...] = ()
    reason: str | None = None
    record: ProductPredictionRecord | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the prediction as one line of `attributree predict --by-product`."""
        out: dict[str, Any] = {
            "sku": self.sku,
            "attribute": self.attribute,
            "value": _text(self.values) or None,
            "confidence": None if self.confidence is None else round(self.confidence, 4),
            "decision": self.decision,
            "image": self.image,
            "pictures": self.pictures,
            "version": self.version,
        }
        if self.kind == "multi":
            out |= {"values": list(self.values), "shown_by": dict(self.shown_by or {})}
        if self.contradiction:
            out["contradiction"] = [witness.to_json() for witness in self.contradiction]
        if self.unread:
            out["unread"] = [{"image": image, "reason": reason} for image, reason in self.unread]
        if self.reason is not None:
            out["reason"] = self.reason
        return out


def predict_products(live: LiveTree, skus: Sequence[str], names: Iterable[str] = ()) -> Iterator[ProductPrediction]:
    """Predict products of the catalogue, product by product in the order of `skus`; nothing is stored.

    Raises UnknownNameError.
    """
    wanted = live.names(names)
    found = live.catalog.labels.products(skus)
    for start in range(0, len(found), _PAGE):
        page = found[start : start + _PAGE]
        yield from _predict(live, page, {product.id: wanted for product in page}, wanted)


def predict_missing_products(live: LiveTree, names: Iterable[str] = ()) -> Iterator[ProductPrediction]:
    """Predict every gap of the catalogue's products, store the predictions and yield them, product by product.

    A gap is a product with a picture in use of which an attribute that applies to it is unknown or ambiguous, when
    all its pictures are heard: a product of which one picture is labelled has none. Of an unmapped article type only
    what is ambiguous is a gap.
    """
    wanted = live.names(names)
    live.follow_settings()
    done, total = 0, live.catalog.labels.counts().products
    for page in live.catalog.labels.product_pages(_PAGE):
        known = {name: live.catalog.labels.known_of_products(name, page)[0] for name in wanted}
        gaps = {
            product.id: [name for name in wanted if _is_gap(live, name, product, known[name].get(product.id))]
            for product in page
            if product.in_use
        }
        answered = list(_predict(live, [product for product in page if gaps.get(product.id)], gaps, wanted))
        live.catalog.registry.save_product_predictions([p.record for p in answered if p.record is not None])
        yield from answered
        done += len(page)
        if live.progress:
            live.progress("predicting products", done, total)


def _is_gap(live: LiveTree, name: str, product: ProductPictures, known: Annotation | None) -> bool:
    if known is None:
        return live.predictor.asks(name, product.article_type) == ASKED
    return known.state == "ambiguous"


def _predict(
    live: LiveTree, products: Sequence[ProductPictures], asked: Mapping[int, Sequence[str]], names: Sequence[str]
) -> Iterator[ProductPrediction]:
    """Predict for each product what is `asked` of it, by its id, out of `names`."""
    for part in _parts(products):
        looked_at = _LookedAt(live, part, names)
        found = {name: looked_at.predict([p for p in part if name in asked[p.id]], name) for name in names}
        for product in part:
            yield from (found[name][product.id] for name in asked[product.id])


def _parts(products: Sequence[ProductPictures]) -> Iterator[list[ProductPictures]]:
    """Yield products in parts with about as many pictures as are looked at together."""
    part: list[ProductPictures] = []
    pictures = 0
    for product in products:
        part.append(product)
        pictures += len(product.in_use)
        if pictures >= _PICTURES:
            yield part
            part, pictures = [], 0
    if part:
        yield part


class _LookedAt:
    """Some products whose pictures were looked at, and what these say of the attributes `names` by themselves."""

    def __init__(self, live: LiveTree, products: Sequence[ProductPictures], names: Sequence[str]) -> None:
        self.live = live
        ids = [image.id for product in products for image in product.in_use]
        self.seen = live.look_at(ids, [name for name in names if name not in live.predictor.failing])
        self.row = {image_id: row for row, image_id in enumerate(self.seen.ids)}
        known = {name: live.catalog.labels.known_of_products(name, products) for name in names}
        self.known = {name: states for name, (states, _) in known.items()}
        self._apart = {name: apart for name, (_, apart) in known.items()}

    def shown(self, product: ProductPictures, name: str) -> list[ImageRecord]:
        """Return the pictures that speak of an attribute: that could be looked at, and to which it applies."""
        return [image for image in product.in_use if image.id in self.row and image.id not in self._apart[name]]

    def pooled(self, products: Sequence[ProductPictures], name: str) -> tuple[Floats, list[Floats]]:
        """Return what products with a picture that shows `name` say of it (M, K), and each one's pictures (P, K).

        K are the values that the branch learnt.
        """
        rows = [[self.row[image.id] for image in self.shown(product, name)] for product in products]
        numbers = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        own = self.seen.probabilities[name][[row for part in rows for row in part]]
        labels = self.live.attributes[name].labels
        return pool(labels, own, numbers), np.split(own, np.flatnonzero(np.diff(numbers)) + 1)

    def unfamiliar(self, product: ProductPictures, name: str) -> bool:
        """Return whether all pictures that show `name` are unlike what its branch learnt from."""
        novelty = self.seen.novelty.get(name)
        return novelty is not None and all(novelty[self.row[image.id]] > 1 for image in self.shown(product, name))

    def predict(self, products: Sequence[ProductPictures], name: str) -> dict[int, ProductPrediction]:
        """Return the answers about products, by their ids."""
        failing, known = self.live.predictor.failing.get(name), self.known[name]
        found: dict[int, ProductPrediction] = {}
        for product in products:
            if product.id in known and known[product.id].state == "not_applicable":
                found[product.id] = self._plain(product, name, NOT_APPLICABLE)
            elif failing is not None or not self.shown(product, name):
                found[product.id] = self._plain(product, name, ERROR, failing or _NO_PICTURE)
        if answered := [product for product in products if product.id not in found]:
            pooled, pictures = self.pooled(answered, name)
            answers = answer_today(self.live.attributes[name].labels, pooled, self.live.loaded.branches[name].values)
            for i, product in enumerate(answered):
                found[product.id] = self._answered(product, name, answers, i, pictures[i])
        return found

    def _plain(
        self, product: ProductPictures, name: str, decision: str, reason: str | None = None
    ) -> ProductPrediction:
        unread = tuple(
            (image.path, image.reason or self.seen.failed[image.id])
            for image in product.images
            if image.id not in self.row
        )
        kind, version = self.live.attributes[name].labels.kind, self.live.version.id
        return ProductPrediction(product.sku, name, kind, (), None, decision, version, unread=unread, reason=reason)

    def _answered(
        self, product: ProductPictures, name: str, answers: Answers, row: int, own: Floats
    ) -> ProductPrediction:
        """Return row `row` of products' `answers`; `own` (P, K) is what its pictures say by themselves."""
        labels, branch = self.live.attributes[name].labels, self.live.version.branches[name]
        shown, said, confidence = self.shown(product, name), answers.said[row], float(answers.confidence[row])
        if labels.exclusive and confidence == 0:
            return self._plain(product, name, ERROR, RETIRED)
        today = translate(own, branch.values, labels)
        decision, reason = decide(branch, confidence), None
        if decision == ACCEPT and self.unfamiliar(product, name):
            decision, reason = REVIEW, UNFAMILIAR
        best, against, witnesses = shown[shown_by(labels, said, today)], None, None
        alone = answer_today(labels, own, branch.values)
        if found := contradiction(alone, _sure(self.live, name), said):
            best, against = shown[found[0]], shown[found[1]].id
            witnesses = (_witness(labels, shown, alone, found[0]), _witness(labels, shown, alone, found[1]))
            decision, reason = REVIEW, ", ".join(f"{w.image} shows {_text(w.values) or 'none'}" for w in witnesses)
        if answers.undecided is not None and answers.undecided[row]:
            decision, reason = REVIEW, SPLIT
        if self.live.predictor.asks(name, product.article_type) == UNMAPPED:
            decision, reason = REVIEW, UNMAPPED_TYPE
        values = _keys(labels, said)
        each = {key: shown[int(today[:, labels.keys.index(key)].argmax())].path for key in values}
        return replace(
            self._plain(product, name, decision, reason),
            values=values,
            confidence=confidence,
            image=best.path,
            pictures=len(shown),
            shown_by=None if labels.exclusive else each,
            contradiction=witnesses,
            record=ProductPredictionRecord(
                product_id=product.id,
                attribute=name,
                values=values,
                confidence=confidence,
                decision=decision,
                image_id=best.id,
                against_id=against,
                pictures=len(shown),
                version=self.live.version.id,
                branch_id=branch.id or 0,
            ),
        )


def _text(values: Sequence[str]) -> str:
    return SEPARATOR.join(values)


def _keys(labels: Labels, said: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[str, ...]:
    return tuple(key for key, there in zip(labels.keys, said, strict=True) if there)


def _witness(labels: Labels, shown: Sequence[ImageRecord], alone: Answers, picture: int) -> Witness:
    return Witness(shown[picture].path, _keys(labels, alone.said[picture]), float(alone.confidence[picture]))


def _cut(branch: BranchRecord) -> float | None:
    return branch.cut if branch.calibrated else None


def _sure(live: LiveTree, name: str) -> float | None:
    """Return the confidence from which a picture is sure by itself, None if none can be.

    It would be accepted, and is right as often as accepted answers must be on average: an easy attribute accepts
    doubtful answers too, which are no reason to mistrust other pictures.
    """
    cut = _cut(live.version.branches[name])
    return None if cut is None else max(cut, Recipes(live.settings).of(name).target_precision)


# -- evaluate --------------------------------------------------------------------------------------


def evaluate_products(live: LiveTree, split: str, names: Collection[str] = ()) -> dict[str, Any]:
    """Return the scores of pooled answers on the labelled products of one split, by attribute.

    As `LiveTree.evaluate` has them by picture, and `pictures`, how many a product has on average. A product whose
    pictures are sure of different answers, or all unlike what was learnt, is not accepted, however sure the pooled
    answer is.
    """
    asked = live.names(names)
    found: dict[str, list[tuple[Floats, Floats, bool, int]]] = {name: [] for name in asked}
    for page in live.catalog.labels.product_pages(_PAGE, split=split):
        for part in _parts(page):
            looked_at = _LookedAt(live, part, asked)
            for name in found.keys() - live.predictor.failing.keys():
                found[name] += _labelled(looked_at, part, name)
    scores: dict[str, Any] = {}
    for name in asked:
        if name in live.predictor.failing:
            scores[name] = {**NO_SCORES, "pictures": None, "error": live.predictor.failing[name]}
        elif not found[name]:
            scores[name] = {**NO_SCORES, "pictures": None}
        else:
            probabilities, target, held_back, pictures = zip(*found[name], strict=True)
            labels, cut = live.attributes[name].labels, _cut(live.version.branches[name])
            scored = score(labels, np.stack(probabilities), np.stack(target), cut, held_back=np.array(held_back))
            scores[name] = {**scored.to_json(), "pictures": round(float(np.mean(pictures)), 2)}
    return scores


def _labelled(
    looked_at: _LookedAt, products: Sequence[ProductPictures], name: str
) -> list[tuple[Floats, Floats, bool, int]]:
    """Return of each labelled product its pooled probabilities (C,), target (C,), whether it is held back (two pictures
    contradict each other, or all are unlike what was learnt), and how many there are.
    """
    labels, branch = looked_at.live.attributes[name].labels, looked_at.live.version.branches[name]
    known = looked_at.known[name]
    wanted = [p for p in products if p.id in known and known[p.id].state == "labelled" and looked_at.shown(p, name)]
    if not wanted:
        return []
    pooled, own = looked_at.pooled(wanted, name)
    answers, today = answer_today(labels, pooled, branch.values), translate(pooled, branch.values, labels)
    sure = _sure(looked_at.live, name)
    absent = 0.0 if labels.exclusive or getattr(labels, "closed_world", True) else np.nan
    rows = []
    for product, said, probabilities, pictures in zip(wanted, answers.said, today, own, strict=True):
        target = np.array([1.0 if key in known[product.id].values else absent for key in labels.keys], dtype=np.float32)
        against = contradiction(answer_today(labels, pictures, branch.values), sure, said)
        held_back = against is not None or looked_at.unfamiliar(product, name)
        rows.append((probabilities, target, held_back, len(pictures)))
    return rows
