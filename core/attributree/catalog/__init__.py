"""The catalogue: products, images, labels and the registry of trees, in SQLite or PostgreSQL. Never torch."""

from .export import ExportOptions
from .ingest import DEFAULT_SOURCE, split_of
from .lineage import describe_change, follow, predecessor, refuse_kind
from .manifests import BranchRecord, FinishedRun, NewVersion, Promotion, TrainingRun, TreeVersion, TrunkRecord, Work
from .migrate import check, current, upgrade
from .readers import read_labels
from .records import (
    AnnotationRecord,
    CatalogAttribute,
    CatalogCounts,
    CatalogValue,
    Coverage,
    ExportSummary,
    FileState,
    Forgotten,
    ImageHistory,
    ImageRecord,
    IngestSummary,
    LabelRows,
    NewObservation,
    ObservationRecord,
    PredictionRecord,
    ProductHistory,
    Quarantine,
    ReviewSummary,
    SchemaChange,
    TaskSummary,
    UnknownValue,
)
from .resolve import Annotation, Reading, Sources, Trust, combine, read_cell
from .runs import LEASE_SECONDS, new_owner
from .store import Catalog
from .studio import TaskOptions, labelling_config

__all__ = [
    "DEFAULT_SOURCE",
    "LEASE_SECONDS",
    "Annotation",
    "AnnotationRecord",
    "BranchRecord",
    "Catalog",
    "CatalogAttribute",
    "CatalogCounts",
    "CatalogValue",
    "Coverage",
    "ExportOptions",
    "ExportSummary",
    "FileState",
    "FinishedRun",
    "Forgotten",
    "ImageHistory",
    "ImageRecord",
    "IngestSummary",
    "LabelRows",
    "NewObservation",
    "NewVersion",
    "ObservationRecord",
    "PredictionRecord",
    "ProductHistory",
    "Promotion",
    "Quarantine",
    "Reading",
    "ReviewSummary",
    "SchemaChange",
    "Sources",
    "TaskOptions",
    "TaskSummary",
    "TrainingRun",
    "TreeVersion",
    "TrunkRecord",
    "Trust",
    "UnknownValue",
    "Work",
    "check",
    "combine",
    "current",
    "describe_change",
    "follow",
    "labelling_config",
    "new_owner",
    "predecessor",
    "read_cell",
    "read_labels",
    "refuse_kind",
    "split_of",
    "upgrade",
]
