"""The catalogue's tables. An attribute is rows, never a column, so a plugin needs no migration.

`migrations/` makes these tables; a test compares the two. Nothing outside this package sees a row.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """A database time as an aware UTC datetime; SQLite's CURRENT_TIMESTAMP is UTC without saying so."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return `value` in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: SQLite numbers its rows by INTEGER PRIMARY KEY only; PostgreSQL gets eight bytes.
BigId = BigInteger().with_variant(Integer, "sqlite")

#: JSON is text in SQLite; PostgreSQL's JSONB forgets the order of keys.
JsonType = JSON().with_variant(JSONB(), "postgresql")

Id = Annotated[int, mapped_column(Integer, primary_key=True)]
LongId = Annotated[int, mapped_column(BigId, primary_key=True)]
Now = Annotated[datetime, mapped_column(UtcDateTime, server_default=func.now())]
Json = Annotated[dict[str, Any], mapped_column(JsonType)]
JsonList = Annotated[list[str], mapped_column(JsonType)]
Digest = Annotated[str, mapped_column(String(64))]


class Base(DeclarativeBase):
    """Base of all tables, named after their classes; text columns are unbounded unless they say otherwise."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {str: Text, datetime: UtcDateTime}  # noqa: RUF012

    def __init_subclass__(cls) -> None:
        cls.__tablename__ = re.sub("(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Row")).lower()
        super().__init_subclass__()


def _state(*states: str, column: str = "state") -> CheckConstraint:
    """Return a check that `column` is one of `states`. Behind an IN, SQLite would make a set of them for every row.

    In tables with few rows the database has an IN all the same; it means the same.
    """
    return CheckConstraint(" OR ".join(f"{column} = {state!r}" for state in states), name=column)


def _to(target: str, *, index: bool = True, **kwargs: Any) -> Any:
    """Return a foreign-key column to `target`, indexed unless a composite index starts with it.

    References to what is never deleted, or seldom, are not, where rows come by the million: hardly anything asks who
    refers to a revision, a label column, a voice or an images root.
    """
    long = target.partition(".")[0] in {"image", "product", "annotation", "prediction", "product_prediction"}
    ondelete = kwargs.pop("ondelete", None)
    return mapped_column(BigId if long else Integer, ForeignKey(target, ondelete=ondelete), index=index, **kwargs)


class Revision(Base):
    """One change of the catalogue; ids only grow."""

    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012
    id: Mapped[Id]
    cause: Mapped[str]
    detail: Mapped[str]
    created_at: Mapped[Now]


class Product(Base):
    """A sellable item. `split` is the effective one."""

    __table_args__ = (_state("train", "val", "test", column="split"),)
    id: Mapped[LongId]
    sku: Mapped[str] = mapped_column(unique=True)
    article_type: Mapped[str] = mapped_column(index=True)
    title: Mapped[str]
    description: Mapped[str]
    split: Mapped[str] = mapped_column(String(5))
    created_at: Mapped[Now]


class ImagesRoot(Base):
    """A folder below which label files name their images."""

    id: Mapped[Id]
    folder: Mapped[str] = mapped_column(unique=True)


class Image(Base):
    """One picture: `path` is the label file's cell below the root, `file` where that leads if not just there."""

    __table_args__ = (
        UniqueConstraint("path", "root_id"),
        Index(None, "file", sqlite_where=text("file IS NOT NULL"), postgresql_where=text("file IS NOT NULL")),
        _state("ok", "quarantined"),
    )
    id: Mapped[LongId]
    product_id: Mapped[int] = mapped_column(BigId, ForeignKey("product.id"), index=True)
    root_id: Mapped[int] = _to("images_root.id", index=False)
    path: Mapped[str]
    file: Mapped[str | None]
    state: Mapped[str] = mapped_column(String(11), index=True)
    reason: Mapped[str | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[Now]


class AttributeRow(Base):
    """A registered attribute; `schema` is its declaration."""

    __table_args__ = (_state("declared", "orphaned"), _state("single", "multi", "ordinal", column="kind"))
    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(63), unique=True)
    title: Mapped[str]
    kind: Mapped[str] = mapped_column(String(7))
    declared_by: Mapped[str]
    schema: Mapped[Json]
    schema_digest: Mapped[Digest]
    state: Mapped[str] = mapped_column(String(8))
    revision: Mapped[int] = _to("revision.id")
    created_at: Mapped[Now]


class AttributeValue(Base):
    """A value of an attribute, for ever: class indices are appended and never reused."""

    __table_args__ = (
        UniqueConstraint("attribute_id", "key"),
        UniqueConstraint("attribute_id", "class_index"),
        _state("active", "retired", "replaced"),
    )
    id: Mapped[Id]
    attribute_id: Mapped[int] = _to("attribute.id", index=False)
    key: Mapped[str]
    title: Mapped[str]
    class_index: Mapped[int]
    state: Mapped[str] = mapped_column(String(8))


class ValueHeir(Base):
    """A value that took the place of a replaced one; several if that was split."""

    value_id: Mapped[int] = _to("attribute_value.id", index=False, primary_key=True)
    heir_id: Mapped[int] = _to("attribute_value.id", primary_key=True)


class FormerName(Base):
    """A name that an attribute had: its column is read as the attribute's for ever."""

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    attribute_id: Mapped[int] = _to("attribute.id")


class SchemaChangeRow(Base):
    """What became of an attribute at a revision: by which plugin and code, and its schema since then."""

    __table_args__ = (_state("register", "evolve", "orphan", column="change"),)
    id: Mapped[Id]
    attribute_id: Mapped[int] = _to("attribute.id")
    revision: Mapped[int] = _to("revision.id")
    change: Mapped[str] = mapped_column(String(8))
    detail: Mapped[str]
    declared_by: Mapped[str]
    plugin_version: Mapped[str | None]
    attributree: Mapped[str]
    actor: Mapped[str]
    schema: Mapped[Json]
    schema_digest: Mapped[Digest]


class LabelColumn(Base):
    """A column that label files, reviewers or miners have had something to say in; `observations` is how much."""

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(unique=True)
    observations: Mapped[int] = mapped_column(BigInteger)


class VoiceRow(Base):
    """Who says something: a source, and the annotator if it names one."""

    id: Mapped[Id]
    source: Mapped[str]
    annotator: Mapped[str | None]


class Observation(Base):
    """What somebody or some file said, verbatim; never edited. At one revision a voice says one text in a cell.

    There is no index but this key, so observations are found by their image; who wants a column reads all of them.
    """

    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012
    image_id: Mapped[int] = _to("image.id", index=False, primary_key=True)
    column_id: Mapped[int] = _to("label_column.id", index=False, primary_key=True)
    voice_id: Mapped[int] = _to("voice.id", index=False, primary_key=True)
    revision: Mapped[int] = _to("revision.id", index=False, primary_key=True)
    raw: Mapped[str]


class ProductObservation(Base):
    """What was said of a product, and so of all its pictures, verbatim; never edited. Keyed as an Observation is."""

    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012
    product_id: Mapped[int] = _to("product.id", index=False, primary_key=True)
    column_id: Mapped[int] = _to("label_column.id", index=False, primary_key=True)
    voice_id: Mapped[int] = _to("voice.id", index=False, primary_key=True)
    revision: Mapped[int] = _to("revision.id", index=False, primary_key=True)
    raw: Mapped[str]


class AnnotationRow(Base):
    """What the observations mean today. `revision` is where the annotation last changed."""

    __table_args__ = (
        UniqueConstraint("image_id", "attribute_id"),
        # new_labels() and coverage() are answered from this index alone.
        Index(None, "attribute_id", "state", "revision"),
        _state("labelled", "ambiguous", "not_applicable"),
    )
    id: Mapped[LongId]
    image_id: Mapped[int] = _to("image.id", index=False)
    attribute_id: Mapped[int] = _to("attribute.id", index=False)
    state: Mapped[str] = mapped_column(String(14))
    weight: Mapped[float]
    revision: Mapped[int] = _to("revision.id", index=False)


class AnnotationValue(Base):
    """A value of an annotation; not certain: a candidate, or disputed with this `share` of the sources for it."""

    annotation_id: Mapped[int] = _to("annotation.id", index=False, primary_key=True, ondelete="CASCADE")
    value_id: Mapped[int] = _to("attribute_value.id", primary_key=True)
    certain: Mapped[bool]
    share: Mapped[float] = mapped_column(server_default="1")


class TrainingRunRow(Base):
    """One attempt to train an attribute."""

    __table_args__ = (
        Index(None, "attribute_id", "fingerprint"),
        _state("running", "promoted", "rejected", "failed", "cancelled", column="status"),
    )
    id: Mapped[Id]
    attribute_id: Mapped[int] = _to("attribute.id", index=False)
    action: Mapped[str]
    fingerprint: Mapped[Digest]
    schema_digest: Mapped[Digest]
    config_digest: Mapped[Digest]
    # No foreign key: revisions are compared with this number, it is never followed.
    revision: Mapped[int]
    status: Mapped[str] = mapped_column(String(9))
    reason: Mapped[str] = mapped_column(server_default=text("''"))
    owner: Mapped[str | None]
    token: Mapped[int] = mapped_column(server_default="0")
    attempts: Mapped[int] = mapped_column(server_default="1")
    heartbeat_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    started_at: Mapped[Now]
    finished_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    metrics: Mapped[Json]
    error: Mapped[str | None]


class Trunk(Base):
    """A trunk by the SHA-256 of its artifact."""

    id: Mapped[Id]
    digest: Mapped[Digest] = mapped_column(unique=True)
    spec: Mapped[Json]
    created_at: Mapped[Now]


class Branch(Base):
    """A trained branch."""

    id: Mapped[Id]
    attribute_id: Mapped[int] = _to("attribute.id")
    trunk_id: Mapped[int] = _to("trunk.id")
    run_id: Mapped[int | None] = _to("training_run.id")
    parts: Mapped[JsonList]
    depth: Mapped[str]
    head: Mapped[str]
    donor: Mapped[str | None]
    outputs: Mapped[JsonList]
    kind: Mapped[str] = mapped_column(String(7))
    schema_digest: Mapped[Digest]
    # No foreign key: revisions are compared with this number, it is never followed.
    revision: Mapped[int]
    fingerprint: Mapped[Digest]
    labels: Mapped[int]
    temperature: Mapped[float]
    cut: Mapped[float | None]
    calibrated: Mapped[bool]
    metrics: Mapped[Json]
    config: Mapped[Json]
    made_with: Mapped[Json]
    familiarity: Mapped[Digest | None]
    created_at: Mapped[Now]


class TreeVersionRow(Base):
    """A manifest: one trunk, and one branch per attribute in `tree_version_branch`."""

    id: Mapped[Id]
    trunk_id: Mapped[int] = _to("trunk.id")
    parent_id: Mapped[int | None] = _to("tree_version.id")
    reason: Mapped[str]
    actor: Mapped[str]
    proof: Mapped[Json]
    made_with: Mapped[Json]
    created_at: Mapped[Now]


class TreeVersionBranch(Base):
    """Which branch answers for which attribute in a tree version."""

    version_id: Mapped[int] = _to("tree_version.id", index=False, primary_key=True)
    attribute_id: Mapped[int] = _to("attribute.id", primary_key=True)
    branch_id: Mapped[int] = _to("branch.id")


class PromotionRow(Base):
    """Append-only: the row with the highest id names the live version."""

    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012
    id: Mapped[Id]
    version_id: Mapped[int] = _to("tree_version.id")
    actor: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[Now]


class Prediction(Base):
    """The current prediction for an image and an attribute."""

    __table_args__ = (UniqueConstraint("image_id", "attribute_id"),)
    id: Mapped[LongId]
    image_id: Mapped[int] = _to("image.id", index=False)
    attribute_id: Mapped[int] = _to("attribute.id")
    version_id: Mapped[int] = _to("tree_version.id")
    branch_id: Mapped[int] = _to("branch.id")
    confidence: Mapped[float]
    decision: Mapped[str] = mapped_column(String(14))
    created_at: Mapped[Now]


class PredictionValue(Base):
    """A predicted value, in the order of `position`."""

    prediction_id: Mapped[int] = _to("prediction.id", index=False, primary_key=True, ondelete="CASCADE")
    value_id: Mapped[int] = _to("attribute_value.id", primary_key=True)
    position: Mapped[int]


class ProductPrediction(Base):
    """The current prediction for a product and an attribute, pooled over `pictures` of its pictures.

    `image_id` is the picture that shows it; `against_id` is set where that one and another contradict each other.
    """

    __table_args__ = (UniqueConstraint("product_id", "attribute_id"),)
    id: Mapped[LongId]
    product_id: Mapped[int] = _to("product.id", index=False)
    attribute_id: Mapped[int] = _to("attribute.id")
    image_id: Mapped[int] = _to("image.id")
    against_id: Mapped[int | None] = _to("image.id")
    pictures: Mapped[int]
    version_id: Mapped[int] = _to("tree_version.id")
    branch_id: Mapped[int] = _to("branch.id")
    confidence: Mapped[float]
    decision: Mapped[str] = mapped_column(String(14))
    created_at: Mapped[Now]


class ProductPredictionValue(Base):
    """A predicted value of a product, in the order of `position`."""

    prediction_id: Mapped[int] = _to("product_prediction.id", index=False, primary_key=True, ondelete="CASCADE")
    value_id: Mapped[int] = _to("attribute_value.id", primary_key=True)
    position: Mapped[int]


class CoverageRow(Base):
    """An attribute's coverage as it was counted at `revision`; `identity` is that of schema and code."""

    attribute: Mapped[str] = mapped_column(primary_key=True)
    identity: Mapped[Digest]
    # No foreign key: revisions are compared with this number, it is never followed.
    revision: Mapped[int]
    counts: Mapped[Json]
