"""What leaves the catalogue of images and what was said of them: frozen records, never database rows.

Times are aware and in UTC, paths absolute, values always today's keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection

from ..jsonable import jsonable
from ..schema import Attribute
from .lineage import follow

# -- ingest ----------------------------------------------------------------------------------------


class LabelRows(NamedTuple):
    """Some rows of a label file, column by column, since millions of them pass.

    All lists are of one length. `lines` are 1-based; absent cells are ""; `labels` has the columns with any text.

    Rows of an export may name a `source` and an `annotator` of their own. A row whose `image` is "" speaks of the
    product `sku`, and so of all its pictures.
    """

    lines: list[int]
    image: list[str]
    sku: list[str]
    article_type: list[str]
    title: list[str]
    description: list[str]
    split: list[str]
    source: list[str]
    annotator: list[str]
    labels: dict[str, list[str]]

    def take(self, positions: Sequence[int]) -> LabelRows:
        """Return the rows at `positions`."""
        lists = {name: [texts[i] for i in positions] for name, texts in self._asdict().items() if name != "labels"}
        labels = {column: [texts[i] for i in positions] for column, texts in self.labels.items()}
        return LabelRows(**lists, labels={column: texts for column, texts in labels.items() if any(texts)})


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
    """What one label file brought. `undeclared` counts cells of columns that no attribute reads yet.

    `without_pictures` are how many products it speaks of that no picture in the catalogue shows; `remote_new` of the
    new images are behind URLs, and were not fetched yet.
    """

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
    without_pictures: int = 0
    remote_new: int = 0


@dataclass(frozen=True)
class ExportSummary:
    """What was written. `disputed` images have rows of their own for each voice; `predicted` counts filled gaps.

    `products` counts the lines of an export by product, or the products that had to have a row without an image.
    """

    file: str
    format: str
    images: int
    products: int
    rows: int
    disputed: int
    predicted: int
    columns: tuple[str, ...]
    roots: tuple[str, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class NewObservation:
    """What is said about one image, verbatim, as it would stand in a label file's cell.

    `annotator` None is the annotator that `observe` is given. Observations of one `detail` share a revision, which it
    describes: such as the ids that a tool wants back. A `restated` one is stored even if it says the same as before.
    """

    image_id: int
    attribute: str
    raw: str
    annotator: str | None = None
    detail: str = ""
    restated: bool = False


@dataclass(frozen=True, slots=True)
class NewestObservation:
    """The newest that an annotator says of an attribute on an image.

    `column` is the attribute's name when it was said; `cause`, `detail` and `created_at` are the revision's.
    """

    image_id: int
    attribute: str
    column: str
    raw: str
    annotator: str | None
    cause: str
    detail: str
    created_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ProductText:
    """What is written about a product, and the ids of its images."""

    sku: str
    article_type: str
    title: str
    description: str
    image_ids: tuple[int, ...]


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


@dataclass(frozen=True)
class AnnotationRecord:
    """What is known of one image: state and keys. `certain` are those of `values` that all sources share."""

    state: str  # labelled, ambiguous, not_applicable
    values: tuple[str, ...]
    certain: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coverage:
    """How far the images in state ok are annotated for one attribute.

    The four states add up to `images`. `per_value`, `per_split` and `train_values` count labelled images. `unmapped`
    are those of `unknown` whose article type is unmapped: no rule says whether the attribute is asked of them.
    """

    labelled: int
    ambiguous: int
    not_applicable: int
    unknown: int
    per_value: dict[str, int]
    per_split: dict[str, int]
    train_values: dict[str, int]
    unreadable: tuple[UnknownValue, ...]
    unmapped: int = 0

    @property
    def images(self) -> int:
        """Number of images in state ok."""
        return self.labelled + self.ambiguous + self.not_applicable + self.unknown


@dataclass(frozen=True, slots=True)
class FileState:
    """An image's file as it was decoded: SHA-256, size in bytes, time of its last change in nanoseconds.

    Of one behind a URL only the first is stored: whether it changed is asked with its etag.
    """

    digest: str
    bytes: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class ImageRecord:
    """One picture. `path` is the cell verbatim, `file` where it lies (symbolic links followed), or its URL."""

    id: int
    path: str
    file: Path | str
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
class SharedPicture:
    """A picture that products of several splits show: (path, sku, split) of an image in each."""

    places: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class ProductPictures:
    """A product and its pictures, by id; `in_use` are those that are not in quarantine."""

    id: int
    sku: str
    article_type: str
    title: str
    description: str
    split: str
    images: tuple[ImageRecord, ...]

    @property
    def in_use(self) -> tuple[ImageRecord, ...]:
        """The pictures that can be looked at."""
        return tuple(image for image in self.images if image.state == "ok")


@dataclass(frozen=True)
class CatalogCounts:
    """How much there is. `images` includes the quarantined; `remote` are behind URLs, of which `fetched` were read."""

    products: int
    images: int
    quarantined: int
    observations: int
    revision: int
    remote: int
    fetched: int


# -- predictions -----------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class ProductPredictionRecord:
    """The current prediction for one product and attribute, pooled over so many `pictures`.

    `image_id` is the picture that shows it. `against_id` is another one that is as sure of another answer.
    """

    product_id: int
    attribute: str
    values: tuple[str, ...]
    confidence: float
    decision: str  # accept, review, not_applicable
    image_id: int
    against_id: int | None
    pictures: int
    version: int
    branch_id: int


#: Reads an attribute's predictions for some images, or for all, in the transaction of the connection.
PredictionsOf = Callable[[Connection, str, Sequence[int] | None], Iterable[PredictionRecord]]
#: The same for products.
ProductPredictionsOf = Callable[[Connection, str, Sequence[int] | None], Iterable[ProductPredictionRecord]]


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
    """All that is kept of one product; `observations` are those of all its pictures, each has its own besides."""

    sku: str
    article_type: str
    title: str
    split: str
    observations: tuple[ObservationRecord, ...]
    images: tuple[ImageHistory, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the product as `history --json` shows it."""
        images = [
            {**vars(kept), "image": kept.image.path, "state": kept.image.state, "reason": kept.image.reason}
            for kept in self.images
        ]
        told: dict[str, Any] = jsonable({**vars(self), "images": images})
        return told


@dataclass(frozen=True)
class Forgotten:
    """How much was deleted. `digests` are those of image files that no other image has; `records` cached ones.

    `urls` are where images were fetched from.
    """

    products: int
    images: int
    observations: int
    annotations: int
    predictions: int
    digests: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    records: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the counts as `forget --json` shows them."""
        return {name: count for name, count in asdict(self).items() if name not in ("digests", "urls")}
