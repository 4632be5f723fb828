"""What is stored and reported of a trained branch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..label_set import LabelSet
from ..registry.records import BranchRecord
from ..settings.models import BranchSettings
from ..training import Calibration, Grown, Scores


def branch_record(
    labels: LabelSet,
    parts: tuple[str, ...],
    trunk: str,
    *,
    depth: str,
    head: tuple[str, Mapping[str, Any]],
    donor: str | None,
    calibration: Calibration,
    metrics: dict[str, Any],
    recipe: BranchSettings,
    run_id: int | None,
    made_with: Mapping[str, Any],
) -> BranchRecord:
    """Return the record of a branch that was trained on `labels` by the code `made_with`.

    `head` is its name, or the plugin that brings it, and what it was made with. It gets its id when it is committed.
    """
    attribute, (whose, options) = labels.attribute, head
    return BranchRecord(
        id=None,
        attribute=attribute.name,
        parts=parts,
        trunk=trunk,
        depth=depth,
        head=whose,
        donor=donor,
        values=attribute.labels.keys,
        kind=attribute.labels.kind,
        schema_digest=attribute.digest,
        revision=labels.revision,
        fingerprint=labels.fingerprint,
        labels=len(labels),
        temperature=calibration.temperature,
        cut=calibration.cut,
        calibrated=calibration.calibrated,
        metrics=metrics,
        config={**recipe.model_dump(), "head_options": dict(options)},
        run_id=run_id,
        made_with={**made_with, "schema": attribute.to_json()},
    )


def describe(grown: Grown) -> dict[str, Any]:
    """Return what a report says of a grown branch: scores by split, and how donor and depth were chosen."""
    return {
        **describe_scores(grown.scores, grown.calibration),
        "depth": grown.depth,
        "donor": grown.donor,
        "probe": {name: round(f1, 4) for name, f1 in grown.probe.items()},
        "depths": {
            name: {"macro_f1": round(fitted.score, 4), "epochs": fitted.epochs} for name, fitted in grown.depths.items()
        },
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
