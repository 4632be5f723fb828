"""The catalogue: products, images, labels and the registry of trees, in SQLite or PostgreSQL. Never torch."""

from .ingest import DEFAULT_SOURCE, split_of
from .migrate import check, current, upgrade
from .readers import read_labels
from .records import (
    AnnotationRecord,
    BranchRecord,
    CatalogAttribute,
    CatalogCounts,
    CatalogValue,
    Coverage,
    FileState,
    FinishedRun,
    ImageRecord,
    IngestSummary,
    LabelRow,
    NewObservation,
    NewVersion,
    PredictionRecord,
    Promotion,
    Quarantine,
    TrainingRun,
    TreeVersion,
    TrunkRecord,
    UnknownValue,
    Work,
)
from .resolve import Annotation, Reading, combine, read_cell
from .runs import LEASE_SECONDS, new_owner
from .store import Catalog

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
    "FileState",
    "FinishedRun",
    "ImageRecord",
    "IngestSummary",
    "LabelRow",
    "NewObservation",
    "NewVersion",
    "PredictionRecord",
    "Promotion",
    "Quarantine",
    "Reading",
    "TrainingRun",
    "TreeVersion",
    "TrunkRecord",
    "UnknownValue",
    "Work",
    "check",
    "combine",
    "current",
    "new_owner",
    "read_cell",
    "read_labels",
    "split_of",
    "upgrade",
]
