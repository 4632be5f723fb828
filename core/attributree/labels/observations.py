"""Observations: appended, never edited, and annotations brought up to date with them."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby, islice
from operator import attrgetter

from sqlalchemy import Connection, bindparam, select, update
from sqlalchemy.orm import InstrumentedAttribute

from ..database.bulk import insert_rows
from ..database.engine import chunks
from ..database.tables import AttributeRow, Image, LabelColumn, Observation, ProductObservation
from ..errors import CatalogError
from ..schema import reserved_column
from .annotations import derive, new_revision, reads_as_declared
from .names import Voice, add_columns, add_voice, column_ids, count_observations, voice_id
from .queries import require_image
from .records import FileState, NewObservation
from .schemas import declared

#: Texts by column and image.
Texts = defaultdict[str, dict[int, str]]

#: What a source says that has nothing to say any more; no value is spelt so, and annotations go by the others.
WITHDRAWN = ""
#: Observations of `observe` that are stored together.
_CHUNK = 1000
#: Images whose quarantine is told one by one in its revision.
_TOLD = 3


@dataclass
class ObservationWriter:
    """Observations to append, and what this transaction changed.

    `touched` are the images with new observations, by column; `counts` are the observations that its row does not count
    yet, by the id of the label column. `derive_annotations` once the last ones are stored.
    """

    connection: Connection
    cause: str
    detail: str
    new: int = 0
    touched: defaultdict[str, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("q")))
    counts: Counter[int] = field(default_factory=Counter)
    _revision: int | None = None
    _columns: dict[str, int] = field(default_factory=dict)
    _voices: dict[Voice, int] = field(default_factory=dict)

    def revision(self) -> int:
        """Return the revision of this transaction, which is made when something is first written under it."""
        if self._revision is None:
            self._revision = new_revision(self.connection, self.cause, self.detail)
        return self._revision

    def start_revision(self, detail: str) -> None:
        """Give what follows a revision of its own, described by `detail`."""
        self.detail, self._revision = detail, None

    def newest_texts(
        self, voice: Voice, image_ids: Sequence[int], columns: Iterable[str], *, at: int | None = None
    ) -> Texts:
        """Return the newest text of a voice on each of the images, by column; `at` is the one revision to look at."""
        return self._newest_texts(Observation, Observation.image_id, voice, image_ids, columns, at)

    def newest_of_products(self, voice: Voice, product_ids: Sequence[int], columns: Iterable[str]) -> Texts:
        """Return the newest text of a voice on each of the products, by column."""
        return self._newest_texts(ProductObservation, ProductObservation.product_id, voice, product_ids, columns)

    def _newest_texts(
        self,
        table: type[Observation] | type[ProductObservation],
        about: InstrumentedAttribute[int],
        voice: Voice,
        ids: Sequence[int],
        columns: Iterable[str],
        at: int | None = None,
    ) -> Texts:
        names = {column_id: name for name, column_id in column_ids(self.connection, columns).items()}
        query = (
            select(about, table.column_id, table.raw)
            .where(table.column_id.in_(names), table.voice_id == voice_id(self.connection, voice))
            .order_by(table.revision)
        )
        if at is not None:
            query = query.where(table.revision == at)
        newest: Texts = defaultdict(dict)
        for part in chunks(ids):
            for row_id, column_id, raw in self.connection.execute(query.where(about.in_(part))).all():
                newest[names[column_id]][row_id] = raw
        return newest

    def append(self, voice: Voice, said: Mapping[str, Mapping[int, str]]) -> None:
        """Store new observations, the first ones of this voice on them at this revision."""
        self._append(Observation, Observation.image_id.key, voice, said)
        for column, texts in said.items():
            self.touched[column].extend(texts)

    def append_of_products(self, voice: Voice, said: Mapping[str, Mapping[int, str]]) -> None:
        """Store new observations of products, by column and product, as `append` does of images."""
        self._append(ProductObservation, ProductObservation.product_id.key, voice, said)
        shown = defaultdict[int, list[int]](list)
        for part in chunks(sorted({product for texts in said.values() for product in texts})):
            pictures = select(Image.product_id, Image.id).where(Image.product_id.in_(part))
            for product, image in self.connection.execute(pictures):
                shown[product].append(image)
        for column, texts in said.items():
            self.touched[column].extend(image for product in texts for image in shown[product])

    def touch(self, image_ids: Sequence[int]) -> None:
        """Have images read again in the columns in which their products were spoken of."""
        query = (
            select(Image.id, LabelColumn.name)
            .join(ProductObservation, ProductObservation.product_id == Image.product_id)
            .join(LabelColumn, LabelColumn.id == ProductObservation.column_id)
            .distinct()
        )
        for part in chunks(image_ids):
            for image, column in self.connection.execute(query.where(Image.id.in_(part))):
                self.touched[column].append(image)

    def touch_moved(self, image_ids: Sequence[int], former: Sequence[int]) -> None:
        """Have images read again that went away from some of the products `former`, by what was said of these."""
        names = set[str]()
        query = select(LabelColumn.name).join(ProductObservation, ProductObservation.column_id == LabelColumn.id)
        for part in chunks(former):
            names.update(
                self.connection.execute(query.where(ProductObservation.product_id.in_(part)).distinct()).scalars()
            )
        for name in names:
            self.touched[name].extend(image_ids)

    def _append(
        self,
        table: type[Observation] | type[ProductObservation],
        about: str,
        voice: Voice,
        said: Mapping[str, Mapping[int, str]],
    ) -> None:
        said = {column: texts for column, texts in said.items() if texts}
        if not said:
            return
        ids = self._column_ids(said)
        by, at = self._voice_id(voice), self.revision()
        rows = [(row_id, ids[column], by, at, raw) for column, texts in said.items() for row_id, raw in texts.items()]
        rows.sort()  # as they are kept
        insert_rows(self.connection, table, (about, "column_id", "voice_id", "revision", "raw"), rows)
        for column, texts in said.items():
            self.counts[ids[column]] += len(texts)
            self.new += len(texts)

    def _column_ids(self, names: Collection[str]) -> dict[str, int]:
        if not self._columns.keys() >= {*names}:
            self._columns |= add_columns(self.connection, names)
        return self._columns

    def _voice_id(self, voice: Voice) -> int:
        if voice not in self._voices:
            self._voices[voice] = add_voice(self.connection, voice)
        return self._voices[voice]

    def derive_annotations(self, moved: Iterable[int] = ()) -> None:
        """Count what was stored, and bring annotations up to date.

        Those of touched images, and where article types matter of the `moved` ones.
        """
        count_observations(self.connection, self.counts)
        self.counts.clear()
        again = sorted(set(moved))
        for row_id, attribute in declared(self.connection).values():
            images = {image for column in attribute.columns for image in self.touched.get(column, ())}
            wanted = {*images, *again} if attribute.applies_to else images
            if wanted:
                derive(self.connection, row_id, attribute, self.revision(), sorted(wanted))
                if not reads_as_declared(self.connection, attribute):
                    # Its plugin is away or broken: once it is back, this is to be read again.
                    stale = update(AttributeRow).where(AttributeRow.id == row_id).values(schema_digest="")
                    self.connection.execute(stale)


def observe(
    connection: Connection,
    said: Sequence[NewObservation],
    *,
    source: str,
    annotator: str | None = None,
    cause: str = "review",
) -> int:
    """Store observations on known images, all of them or nothing; return how many are new.

    Each `detail` has a revision of its own, in the order in which details first come, and `source` stands in for an
    empty one. Within a revision the last word of an annotator on an image counts. Raises UnknownNameError for an
    unknown image and CatalogError for an empty text or a reserved column.
    """
    for item in said:
        if not item.raw.strip() or "\0" in item.raw:
            raise CatalogError(f"observation of {item.attribute!r} on image {item.image_id}: {item.raw!r} is no text")
        if reserved_column(item.attribute):
            raise CatalogError(f"observation of {item.attribute!r}: that is a reserved column of label files")
    said = [item if item.annotator is not None else replace(item, annotator=annotator) for item in said]
    last = {(item.detail, item.annotator, item.image_id, item.attribute): item for item in said}
    order = {detail: place for place, detail in enumerate(dict.fromkeys(item.detail for item in said))}
    writer = ObservationWriter(connection, cause, source)
    detail = ""
    for part in chunks(sorted(last.values(), key=lambda item: order[item.detail]), _CHUNK):
        known = set(connection.execute(select(Image.id).where(Image.id.in_({i.image_id for i in part}))).scalars())
        for item in part:
            if item.image_id not in known:
                require_image(connection, item.image_id)
        columns = {item.attribute for item in part}
        newest: dict[Voice, Texts] = {}
        for described, items in groupby(part, key=attrgetter("detail")):
            if described != detail:
                writer.start_revision(described or source)
                detail = described
            fresh: dict[Voice, Texts] = {}
            for item in items:
                voice = (source, item.annotator)
                if voice not in newest:
                    newest[voice] = writer.newest_texts(voice, sorted(known), columns)
                raw = item.raw.strip()
                if item.restated or newest[voice][item.attribute].get(item.image_id) != raw:
                    newest[voice][item.attribute][item.image_id] = raw
                    fresh.setdefault(voice, defaultdict(dict))[item.attribute][item.image_id] = raw
            for voice, texts in fresh.items():
                writer.append(voice, texts)
    if writer.new:
        writer.derive_annotations()
    return writer.new


def quarantine(connection: Connection, reasons: Mapping[int, str]) -> None:
    """Take images out of use, each for its reason, by id. Raises UnknownNameError."""
    for image_id in reasons:
        require_image(connection, image_id)
    if reasons:
        rows = [{"row": image_id, "why": reason} for image_id, reason in reasons.items()]
        here = update(Image).where(Image.id == bindparam("row"))
        connection.execute(here.values(state="quarantined", reason=bindparam("why")), rows)
        said = "; ".join(f"image {image_id}: {reason}" for image_id, reason in islice(reasons.items(), _TOLD))
        more = f"; and {len(reasons) - _TOLD} more" if len(reasons) > _TOLD else ""
        new_revision(connection, "quarantine", said + more)


def release(connection: Connection, ids: Sequence[int]) -> None:
    """Take images out of quarantine, by id; those that are not in it are left as they are."""
    released = 0
    for part in chunks(ids):
        here = update(Image).where(Image.id.in_(part), Image.state == "quarantined")
        released += connection.execute(here.values(state="ok", reason=None)).rowcount
    if released:
        new_revision(connection, "release", f"{released} images")


def record_files(connection: Connection, files: Mapping[int, FileState]) -> None:
    """Store what images' files were when they were decoded, by image id."""
    if files:
        rows = [{"row": image_id, **asdict(file)} for image_id, file in files.items()]
        connection.execute(update(Image).where(Image.id == bindparam("row")), rows)
