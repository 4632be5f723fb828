"""Trained branches on their way into the registry: what is stored and reported of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..jsonable import jsonable
from ..label_set import LabelSet
from ..nn.familiarity import Familiarity
from ..nn.tree import Branch
from ..registry.records import BranchRecord, FinishedRun, TrainingRun
from ..registry.trees import Proof, save_branch
from ..reports import Result
from ..training.calibrate import Calibration
from ..training.grow import Grown
from ..training.metrics import Scores
from .actor import made_with
from .data import TrainingData


@dataclass(frozen=True, eq=False)
class TrainedBranch:
    """A branch that was trained on `labels` in `run`, and is not stored yet.

    `head` is its head's name, or the plugin that brings it, and what it was made with. `metrics` is what is reported of
    it, "depth", "donor" and "verdict" among it.
    """

    run: TrainingRun
    labels: LabelSet
    branch: Branch
    head: tuple[str, Mapping[str, Any]]
    calibration: Calibration
    familiarity: Familiarity | None
    metrics: dict[str, Any]
    seconds: float

    def finished(self, status: str) -> FinishedRun:
        """Return how its run ended."""
        return FinishedRun(self.run, status, self.seconds, self.metrics)

    def result(
        self, status: str, branch: int | None = None, proof: Proof | None = None, *, reason: str | None = None
    ) -> Result:
        """Return what is reported of it: `branch` is the id it is stored under, `reason` the gate's by default."""
        run, reason = self.run, reason or self.metrics["verdict"]
        found = Result(run.attribute, run.action, status, reason, branch, self.seconds, self.metrics)
        return replace(found, unchanged=jsonable(proof)) if proof else found

    def store(self, data: TrainingData, trunk: str) -> BranchRecord:
        """Store its weights, and return its record on the trunk of that digest. It gets its id with a tree version."""
        attribute, (head, options) = self.labels.attribute, self.head
        return BranchRecord(
            id=None,
            attribute=attribute.name,
            parts=save_branch(data.store, self.branch),
            trunk=trunk,
            depth=self.metrics["depth"],
            head=head,
            donor=self.metrics["donor"],
            values=attribute.labels.keys,
            kind=attribute.labels.kind,
            schema_digest=attribute.digest,
            revision=self.labels.revision,
            fingerprint=self.labels.fingerprint,
            labels=len(self.labels),
            temperature=self.calibration.temperature,
            cut=self.calibration.cut,
            calibrated=self.calibration.calibrated,
            metrics=self.metrics,
            config={**data.recipes.of(attribute.name).model_dump(), "head_options": dict(options)},
            run_id=self.run.id,
            familiarity=data.store.put(self.familiarity.weights()) if self.familiarity else None,
            made_with={**made_with(data.plugins), "schema": attribute.to_json()},
        )


def describe(grown: Grown) -> dict[str, Any]:
    """Return what a report says of a grown branch: scores by split, and how donor and depth were chosen."""
    return {
        **describe_scores(grown.scores, grown.calibration),
        "depth": grown.depth,
        "donor": grown.donor,
        "probe": {name: round(f1, 4) for name, f1 in grown.probe.items()},
        "depths": {
            name: {"score": round(fitted.score, 4), "epochs": fitted.epochs} for name, fitted in grown.depths.items()
        },
        "left_out": dict(grown.left_out),
        "floor": round(grown.floor, 4),
    }


def describe_scores(scores: Mapping[str, Scores], calibration: Calibration) -> dict[str, Any]:
    """Return scores by split and calibration as a report holds them."""
    return {
        **{split: split_scores.to_json() for split, split_scores in scores.items()},
        "temperature": round(calibration.temperature, 4),
        "cut": None if calibration.cut is None else round(calibration.cut, 4),
        "calibrated": calibration.calibrated,
    }
