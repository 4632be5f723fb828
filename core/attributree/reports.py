"""Plans and what came of them: plain frozen data that hooks, commands and pages share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

#: Called with (what, done, of how many).
Progress = Callable[[str, int, int], None]


def progress_of(name: str, progress: Progress | None) -> Progress | None:
    """Return what tells `progress` that it is `name`'s: "shape: head"."""
    return progress and (lambda what, done, of: progress(f"{name}: {what}", done, of))


#: Actions that train something; the others are done in a moment.
TRAINING = ("train_trunk", "grow", "retrain")


@dataclass(frozen=True)
class Forecast:
    """What an action will cost: `labels` used, `minutes` and `megabytes` from runs like it, None without any run."""

    labels: int
    minutes: float | None
    megabytes: float | None


@dataclass(frozen=True)
class Action:
    """One step: register, evolve, orphan, blocked, train_trunk, grow or retrain. `attribute` is None for the trunk."""

    action: str
    attribute: str | None
    reason: str
    labelled: int = 0
    forecast: Forecast | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the action as `sync-catalog --json` shows it, without a forecast if there is none."""
        return {key: value for key, value in asdict(self).items() if key != "forecast" or value}


@dataclass(frozen=True)
class Plan:
    """What a sync would do, in order."""

    actions: tuple[Action, ...] = ()
    notes: tuple[str, ...] = ()  # what nothing is done about, but should be known

    @property
    def training(self) -> tuple[Action, ...]:
        """The actions that need the network."""
        return self.of(*TRAINING)

    @property
    def blocked(self) -> tuple[Action, ...]:
        """The actions that cannot be done yet."""
        return self.of("blocked")

    def of(self, *actions: str) -> tuple[Action, ...]:
        """Return the actions of these kinds."""
        return tuple(action for action in self.actions if action.action in actions)


PROMOTED, REJECTED, BLOCKED, FAILED, SKIPPED = "promoted", "rejected", "blocked", "failed", "skipped"
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
        return {**asdict(self), "seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class TrunkReport:
    """The trunk that branches grew on; `trained` holds epochs, seconds and macro-F1 if this sync trained it.

    `weights` is what the settings call them, `origin` which those are: the hub's repository, a plugin's version.
    """

    digest: str
    weights: str
    trained: dict[str, Any] | None = None
    origin: str | None = None


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
        return bool(self.quarantined) or any(result.status in (REJECTED, BLOCKED) for result in self.results)

    @property
    def did_something(self) -> bool:
        """Whether anything was registered, changed, orphaned or trained."""
        trained = any(result.status in (PROMOTED, REJECTED, FAILED) for result in self.results)
        return not self.dry_run and (trained or bool(self.plan.of("register", "evolve", "orphan")))

    def to_json(self) -> dict[str, Any]:
        """Return the report as `sync-catalog --json` shows it."""
        return {
            "plan": [action.to_json() for action in self.plan.actions],
            "notes": list(self.plan.notes),
            "results": [result.to_json() for result in self.results],
            "trunk": asdict(self.trunk) if self.trunk else None,
            "version": self.version,
            "quarantined": [{"image": image, "reason": reason} for image, reason in self.quarantined],
            "dry_run": self.dry_run,
        }
