"""What leaves the catalogue: frozen records, never database rows.

Times are aware and in UTC, paths absolute, values always today's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..schema import Attribute
from .lineage import follow

# -- ingest ----------------------------------------------------------------------------------------


class LabelRow(NamedTuple):
    """One row of a label file; a tuple, since millions of them pass.

    `line` is 1-based; absent cells are ""; `labels` holds the non-empty ones.

    Rows of an export may name a `source` and an `annotator` of their own.
    """

    line: int
    image: str
    sku: str
    article_type: str
    title: str
    description: str
    split: str
    labels: dict[str, str]
    source: str = ""
    annotator: str = ""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """An image that cannot be used, as its cell names it, and why."""

    image: str
    reason: str


@dataclass(frozen=True, slots=True)
class UnknownValue:
    """A text that no value of `attribute` spells, in how many cells, and the closest key (never applied)."""

    attribute: str
    text: str
    count: int
    nearest: str | None


@dataclass(frozen=True)
class IngestSummary:
    """What one label file brought. `undeclared` counts cells of columns that no attribute reads yet."""

    file: str
    source: str
    rows: int
    images_new: int
    products_new: int
    observations_new: int
    observations_same: int
    quarantined: tuple[Quarantine, ...]
    unknown_values: tuple[UnknownValue, ...]
    undeclared: dict[str, int]
    revision: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self) | {
            "quarantined": [asdict(item) for item in self.quarantined],
            "unknown_values": [asdict(item) for item in self.unknown_values],
        }


@dataclass(frozen=True)
class ExportSummary:
    """What was written. `disputed` images have rows of their own for each voice; `predicted` counts filled gaps."""

    file: str
    format: str
    images: int
    rows: int
    disputed: int
    predicted: int
    columns: tuple[str, ...]
    roots: tuple[str, ...]
    revision: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self) | {"columns": list(self.columns), "roots": list(self.roots)}


@dataclass(frozen=True)
class TaskSummary:
    """What was written for Label Studio: tasks, and in them predicted and reviewed answers."""

    file: str
    attributes: tuple[str, ...]
    tasks: int
    predictions: int
    annotations: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self) | {"attributes": list(self.attributes)}


@dataclass(frozen=True)
class ReviewSummary:
    """What one export of Label Studio's brought. `annotators` counts annotations; "" is nobody that it names.

    `unknown_images` are tasks with annotations whose image is not in the catalogue; `undeclared` counts answers to
    questions that no attribute asks.
    """

    file: str
    source: str
    tasks: int
    annotations: int
    skipped: int
    observations_new: int
    observations_same: int
    annotators: dict[str, int]
    unknown_images: tuple[str, ...]
    unknown_values: tuple[UnknownValue, ...]
    undeclared: dict[str, int]
    revision: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self) | {
            "unknown_images": list(self.unknown_images),
            "unknown_values": [asdict(item) for item in self.unknown_values],
        }


@dataclass(frozen=True, slots=True)
class NewObservation:
    """What somebody says about one image, verbatim, as it would stand in a label file's cell."""

    image_id: int
    attribute: str
    raw: str


# -- attributes and annotations --------------------------------------------------------------------


@dataclass(frozen=True)
class CatalogValue:
    """A value as the catalogue keeps it: its class index is never reused, `replaced_by` are keys, several if split."""

    key: str
    class_index: int
    state: str  # active, retired, replaced
    replaced_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class CatalogAttribute:
    """A registered attribute. `revision` is where its schema last changed; `values` are by class index.

    `former_names` are those that it had, whether its schema lists them or not.
    """

    name: str
    title: str
    kind: str
    declared_by: str
    schema: Attribute
    digest: str
    state: str  # declared, orphaned
    revision: int
    values: tuple[CatalogValue, ...]
    former_names: tuple[str, ...] = ()

    @property
    def today(self) -> Attribute:
        """The schema as it is read and answered: with every former key and name that the catalogue remembers."""
        return self.bring_up(self.schema)

    def bring_up(self, schema: Attribute) -> Attribute:
        """Return `schema`, which takes this one's place, with what the catalogue remembers of former keys and names."""
        heirs = {value.key: value.replaced_by for value in self.values if value.state == "replaced"}
        return follow(schema, heirs, (*self.former_names, self.name))


@dataclass(frozen=True)
class SchemaChange:
    """What became of an attribute at a revision: by which plugin and code, for whom, and its schema since then.

    `change` is register, evolve or orphan, `detail` says it in words.
    """

    attribute: str
    change: str
    detail: str
    revision: int
    created_at: datetime
    declared_by: str
    plugin_version: str | None
    attributree: str
    actor: str
    schema: Attribute
    digest: str

    def to_json(self) -> dict[str, Any]:
        """Return the change as `changes --json` shows it."""
        told = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**told, "created_at": self.created_at.isoformat(), "schema": self.schema.to_json()}


@dataclass(frozen=True)
class AnnotationRecord:
    """What is known of one image: state and keys. `certain` are those of `values` that all sources share."""

    state: str  # labelled, ambiguous, not_applicable
    values: tuple[str, ...]
    certain: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coverage:
    """How far the images in state ok are annotated for one attribute.

    The four states add up to `images`. `per_value`, `per_split` and `train_values` count labelled images.
    """

    labelled: int
    ambiguous: int
    not_applicable: int
    unknown: int
    per_value: dict[str, int]
    per_split: dict[str, int]
    train_values: dict[str, int]
    unreadable: tuple[UnknownValue, ...]

    @property
    def images(self) -> int:
        """Number of images in state ok."""
        return self.labelled + self.ambiguous + self.not_applicable + self.unknown


@dataclass(frozen=True, slots=True)
class FileState:
    """An image's file as it was decoded: SHA-256, size in bytes, time of its last change in nanoseconds."""

    digest: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class ImageRecord:
    """One picture. `path` is the cell verbatim, `file` where it lies (symbolic links followed)."""

    id: int
    path: str
    file: Path
    sku: str
    article_type: str
    title: str
    split: str
    state: str  # ok, quarantined
    reason: str | None
    digest: str | None
    bytes: int | None
    mtime_ns: int | None
    description: str = ""


@dataclass(frozen=True)
class CatalogCounts:
    """How much there is. `images` includes the quarantined ones."""

    products: int
    images: int
    quarantined: int
    observations: int
    revision: int


# -- registry --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TrunkRecord:
    """A trunk: SHA-256 of its artifact and what it was made of (backbone, branch_at, image_size, weights)."""

    digest: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class BranchRecord:
    """A trained branch. `values` are the keys its outputs stand for, in order; `trunk` is a digest.

    `revision` is the catalogue's revision of its training set, `fingerprint` names that set; `parts` are the SHA-256 of
    the weights of each of its units, in order, and of its head last. `made_with` is the schema that it learnt, and the
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

    def to_json(self) -> dict[str, Any]:
        """Return the branch as it stands in a manifest."""
        told = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("attribute", "trunk")}
        created_at = self.created_at.isoformat() if self.created_at else None
        return {**told, "parts": list(self.parts), "values": list(self.values), "created_at": created_at}

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
        return {
            "trunk": {"digest": self.trunk.digest, "spec": dict(self.trunk.spec)},
            "branches": {name: branch.to_json() for name, branch in self.branches.items()},
            "made_with": dict(self.made_with),
        }


@dataclass(frozen=True)
class Promotion:
    """Who made which tree version live, when and why. The latest one counts."""

    id: int
    version: int
    actor: str
    reason: str
    created_at: datetime


@dataclass(frozen=True)
class TrainingRun:
    """One attempt to train on the catalogue of `revision`.

    `status` is running, promoted, kept, failed or cancelled, `branch_id` what came of it. While it runs, `owner` holds
    it until `expires_at`, and writes under `token`. `attempts` counts the failures before, this one included.
    """

    id: int
    attribute: str
    action: str
    fingerprint: str
    schema_digest: str
    config_digest: str
    revision: int
    status: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    metrics: Mapping[str, Any]
    error: str | None
    branch_id: int | None
    reason: str = ""
    owner: str | None = None
    token: int = 0
    attempts: int = 1
    heartbeat_at: datetime | None = None
    expires_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the run as `runs --json` shows it."""
        times = ("started_at", "finished_at", "heartbeat_at", "expires_at")
        told = {name: when.isoformat() if (when := getattr(self, name)) else None for name in times}
        return {**asdict(self), "metrics": dict(self.metrics), **told}


@dataclass(frozen=True)
class FinishedRun:
    """How a run ended: promoted, kept or failed."""

    run: TrainingRun
    status: str
    seconds: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PredictionRecord:
    """The current prediction for one image and attribute. `version` and `branch_id` say who made it."""

    image_id: int
    attribute: str
    values: tuple[str, ...]
    confidence: float
    decision: str  # accept, review, not_applicable, error
    version: int
    branch_id: int


# -- one product -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObservationRecord:
    """What somebody or some file said, verbatim, and when; `cause` is what made its revision."""

    attribute: str
    raw: str
    source: str
    annotator: str | None
    revision: int
    cause: str
    created_at: datetime


@dataclass(frozen=True)
class ImageHistory:
    """All that is kept of one image; annotations and predictions by attribute, an unknown one has none."""

    image: ImageRecord
    observations: tuple[ObservationRecord, ...]
    annotations: Mapping[str, AnnotationRecord]
    predictions: Mapping[str, PredictionRecord]


@dataclass(frozen=True)
class ProductHistory:
    """All that is kept of one product."""

    sku: str
    article_type: str
    title: str
    split: str
    images: tuple[ImageHistory, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the product as `history --json` shows it."""
        return {
            "sku": self.sku,
            "article_type": self.article_type,
            "title": self.title,
            "split": self.split,
            "images": [
                {
                    "image": kept.image.path,
                    "state": kept.image.state,
                    "reason": kept.image.reason,
                    "observations": [
                        {**asdict(said), "created_at": said.created_at.isoformat()} for said in kept.observations
                    ],
                    "annotations": {name: asdict(now) for name, now in kept.annotations.items()},
                    "predictions": {name: asdict(now) for name, now in kept.predictions.items()},
                }
                for kept in self.images
            ],
        }


@dataclass(frozen=True)
class Forgotten:
    """How much was deleted. `digests` are those of image files that no other image has; `records` cached ones."""

    products: int
    images: int
    observations: int
    annotations: int
    predictions: int
    digests: tuple[str, ...] = ()
    records: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the counts as `forget --json` shows them."""
        return {name: count for name, count in asdict(self).items() if name != "digests"}
