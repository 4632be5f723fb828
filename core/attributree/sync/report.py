"""What a sync did, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .plan import Plan

PROMOTED, KEPT, BLOCKED, FAILED, SKIPPED = "promoted", "kept", "blocked", "failed", "skipped"
#: Not for reports: another worker is at it, and what comes of that is to be seen.
BUSY = "busy"


@dataclass(frozen=True)
class Result:
    """What became of one attribute. `branch` is the id of its new branch, `seconds` what its training took.

    `unchanged` is the proof that no other attribute moved: {"attributes", "images", "max_abs_diff"}.
    """

    attribute: str
    action: str
    status: str
    reason: str
    branch: int | None = None
    seconds: float = 0.0
    metrics: dict[str, Any] = field(default_factory=dict)
    unchanged: dict[str, Any] = field(default_factory=lambda: {"attributes": [], "max_abs_diff": 0.0})

    def to_json(self) -> dict[str, Any]:
        """Return the result as `sync-catalog --json` shows it."""
        return {
            "attribute": self.attribute,
            "action": self.action,
            "status": self.status,
            "reason": self.reason,
            "branch": self.branch,
            "seconds": round(self.seconds, 3),
            "metrics": self.metrics,
            "unchanged": self.unchanged,
        }


@dataclass(frozen=True)
class TrunkReport:
    """The trunk that branches grew on; `trained` holds epochs, seconds and macro-F1 if this sync trained it."""

    digest: str
    weights: str
    trained: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the trunk as `sync-catalog --json` shows it."""
        return {"digest": self.digest, "weights": self.weights, "trained": self.trained}


@dataclass(frozen=True)
class SyncReport:
    """Plan and results. `version` is live now, None before the first branch; `quarantined` images failed to decode."""

    plan: Plan
    results: tuple[Result, ...] = ()
    trunk: TrunkReport | None = None
    version: int | None = None
    quarantined: tuple[tuple[str, str], ...] = ()
    dry_run: bool = False

    @property
    def failed(self) -> tuple[Result, ...]:
        """The results of trainings that broke off."""
        return tuple(result for result in self.results if result.status == FAILED)

    @property
    def held_back(self) -> bool:
        """Whether anything was blocked, gated out or quarantined."""
        return bool(self.quarantined) or any(result.status in (KEPT, BLOCKED) for result in self.results)

    @property
    def did_something(self) -> bool:
        """Whether anything was registered, changed, orphaned or trained."""
        trained = any(result.status in (PROMOTED, KEPT, FAILED) for result in self.results)
        return not self.dry_run and (trained or bool(self.plan.of("register", "evolve", "orphan")))

    def to_json(self) -> dict[str, Any]:
        """Return the report as `sync-catalog --json` shows it."""
        return {
            "plan": [action.to_json() for action in self.plan.actions],
            "notes": list(self.plan.notes),
            "results": [result.to_json() for result in self.results],
            "trunk": self.trunk.to_json() if self.trunk else None,
            "version": self.version,
            "quarantined": [{"image": image, "reason": reason} for image, reason in self.quarantined],
            "dry_run": self.dry_run,
        }
