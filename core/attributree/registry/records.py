"""What leaves the catalogue of trees and trainings: frozen records, never database rows.

Times are aware and in UTC, values always today's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..jsonable import jsonable
from ..settings.models import EXIT, NETWORK


@dataclass(frozen=True)
class TrunkRecord:
    """A trunk: SHA-256 of its artifact and what it was made of (backbone, branch_at, image_size, weights)."""

    digest: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class BranchRecord:
    """A trained branch. `values` are the keys its outputs stand for, in order; `trunk` is a digest.

    `revision` is the catalogue's revision of its training set, `fingerprint` names that set; `parts` are the SHA-256 of
    the weights of each of its units, in order, and of its head last; `familiarity` is that of what its pictures have in
    common, None if that is not known. `made_with` is the schema that it learnt, and the
    code and plugins that taught it.
    `id` and `created_at` are None until the catalogue has stored it.
    """

    id: int | None
    attribute: str
    parts: tuple[str, ...]
    trunk: str
    depth: str
    head: str
    donor: str | None
    values: tuple[str, ...]
    kind: str
    schema_digest: str
    revision: int
    fingerprint: str
    labels: int
    temperature: float
    cut: float | None
    calibrated: bool
    metrics: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    run_id: int | None = None
    created_at: datetime | None = None
    made_with: Mapping[str, Any] = field(default_factory=dict)
    familiarity: str | None = None

    @property
    def owns_trunk(self) -> bool:
        """Whether its first part is a trunk of its own."""
        return self.depth == NETWORK or (self.depth == EXIT and len(self.parts) > 1)

    @property
    def path(self) -> tuple[str, ...]:
        """The SHA-256 of all that a picture goes through to its answer: one that has the same answers the same."""
        return self.parts if self.owns_trunk else (self.trunk, *self.parts)

    @property
    def stored(self) -> tuple[str, ...]:
        """The SHA-256 of all that is stored of it."""
        return (*self.parts, self.familiarity) if self.familiarity else self.parts

    @property
    def head_options(self) -> Mapping[str, Any]:
        """What the head was made with, if it is one of attributree's own."""
        options: Mapping[str, Any] = self.config.get("head_options", {})
        return options


@dataclass(frozen=True)
class Work:
    """What there is to train: an attribute, on these labels, under this schema, with these settings, and why."""

    attribute: str
    action: str
    fingerprint: str
    schema_digest: str
    config_digest: str
    revision: int
    reason: str = ""


@dataclass(frozen=True)
class NewVersion:
    """A tree version to commit. Branches without an id are stored with it; `parent` is what it grew from.

    `finished` are the runs that end with it, in the same transaction; `made_with` the code and plugins that made it.
    """

    trunk: TrunkRecord
    branches: tuple[BranchRecord, ...]
    parent: int | None
    reason: str
    actor: str
    proof: Mapping[str, Any] = field(default_factory=dict)
    promote: bool = True
    finished: tuple[FinishedRun, ...] = ()
    made_with: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TreeVersion:
    """A committed tree version: one trunk and one branch per attribute."""

    id: int
    trunk: TrunkRecord
    branches: dict[str, BranchRecord]
    parent: int | None
    reason: str
    actor: str
    proof: Mapping[str, Any]
    created_at: datetime
    live: bool
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def manifest(self) -> dict[str, Any]:
        """Return all that the version is made of, as `versions --json` shows it."""
        told = {"trunk": self.trunk, "branches": self.branches, "made_with": self.made_with}
        manifest: dict[str, Any] = jsonable(told)
        for branch in manifest["branches"].values():
            del branch["attribute"], branch["trunk"]  # said above them
        return manifest


@dataclass(frozen=True, kw_only=True)
class TrainingRun(Work):
    """One attempt to train on the catalogue of `revision`.

    `status` is running, promoted, rejected, failed or cancelled, `branch_id` what came of it. While it runs, `owner`
    holds it until `expires_at`, and writes under `token`. `attempts` counts the failures before, this one included.
    """

    id: int
    status: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    metrics: Mapping[str, Any]
    error: str | None
    branch_id: int | None
    owner: str | None = None
    token: int = 0
    attempts: int = 1
    heartbeat_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True)
class FinishedRun:
    """How a run ended that made a branch: promoted or rejected."""

    run: TrainingRun
    status: str
    seconds: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
