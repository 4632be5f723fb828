"""The rows of an export: columns, and what stands in each cell of an image."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, select

from ..database.engine import chunks
from ..database.tables import Image, LabelColumn, Observation, ProductObservation, VoiceRow
from ..errors import CatalogError, UnknownNameError
from ..schema import NONE_OF_THEM, NOT_APPLICABLE, SEPARATOR, Attribute
from .annotations import Table, newest_last, reader_of
from .export_columns import ANNOTATOR, KNOWN, PREDICTED, PRODUCT_PREDICTED, SOURCE, beside, escape_column
from .names import Voice, column_counts
from .observations import WITHDRAWN
from .records import PredictionRecord, PredictionsOf, ProductPictures, ProductPredictionRecord, ProductPredictionsOf
from .resolve import DEFAULT_SOURCE, Annotation
from .roots import roots
from .schemas import declared
from .writers import Cell

_ABOUT = ("image", "sku", "article_type", "title", "description", "split")
#: The newest word of every voice in a cell, with its revision.
Voices = Mapping[Voice, tuple[str, int]]
#: That of images or products, by their id and the column.
Said = dict[int, dict[str, dict[Voice, tuple[str, int]]]]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export. `attributes` limits the columns, `images` is the one images root whose images are wanted, and
    those behind URLs, which lie below none.

    `observations` writes what each voice said, verbatim, in a row of its own. `provenance` adds to each attribute its
    state and who said it in which revision, `predictions` reads what the registry has of its gaps. `by_product` writes
    a line a product, `product_predictions` reads what the registry has of the gaps of products.
    """

    attributes: tuple[str, ...] = ()
    images: Path | None = None
    observations: bool = False
    provenance: bool = True
    predictions: PredictionsOf | None = None
    by_product: bool = False
    product_predictions: ProductPredictionsOf | None = None

    def __post_init__(self) -> None:
        if self.observations and (self.predictions or self.product_predictions):
            raise CatalogError("export: predictions stand beside what is known, and observations are what was said")
        if self.by_product and (self.observations or self.images or self.predictions):
            raise CatalogError(
                "export: by product there is what is known of whole products, and what is predicted of them"
            )


class ExportRows:
    """One export on its way out: its columns, and the rows of a page of images."""

    about: tuple[str, ...] = _ABOUT

    def __init__(self, connection: Connection, options: ExportOptions) -> None:
        self.connection = connection
        self.options = options
        known = {name: attribute for name, (_, attribute) in declared(connection).items()}
        # What stands in a former name's column is read as the attribute; verbatim it stays where it was said.
        self._columns_of = [] if options.observations else [attribute.columns for attribute in known.values()]
        self._renamed = {former: name for name, *formerly in self._columns_of for former in formerly}
        self.columns = _columns(connection, known, self._renamed, options.attributes)
        self.attributes = [name for name in self.columns if name in known]
        self.readers = {name: reader_of(connection, known[name]) for name in self.attributes}
        self.order = {name: {key: i for i, key in enumerate(known[name].labels.keys)} for name in self.attributes}
        self.images = self.products = self.lines = self.disputed = self.predicted = 0
        self.places = roots(connection)
        self.roots: set[int] = set()

    def header(self) -> list[str]:
        """Return the columns of the file."""
        header = [*self.about, SOURCE, ANNOTATOR]
        words: tuple[str, ...] = ()
        if self.options.provenance:
            words = ("revision",) if self.options.observations else KNOWN
        if self.options.predictions:
            words += PREDICTED
        if self.options.product_predictions:
            words += PRODUCT_PREDICTED
        for column in self.columns:
            header.append(escape_column(column))
            if column in self.readers:
                header += [beside(column, word) for word in words]
        return header

    def rows(self, images: Sequence[Any]) -> Iterator[dict[str, Cell]]:
        """Yield the rows of one page of images."""
        between = Observation.image_id.between(images[0].id, images[-1].id)
        said = self.said([image.id for image in images], between)
        predicted = self._predicted(images)
        make = self._verbatim if self.options.observations else self._annotated
        for image in images:
            self.images += 1
            if image.root_id in self.places:
                self.roots.add(image.root_id)
            for row in make(image, said.get(image.id, {}), predicted):
                self.lines += 1
                yield row

    def said(self, ids: Sequence[int], where: ColumnElement[bool]) -> Said:
        """Return what stands in each cell of the images `ids`: by image, column and voice.

        What was said of their products stands there too, but where what was said is wanted verbatim.
        """
        own = self.newest(select(Observation.image_id), Observation, ids, where)
        if self.options.observations or not self._products_are_spoken_of:
            return own
        shows = select(Image.id).join(ProductObservation, ProductObservation.product_id == Image.product_id)
        shared: Said = {}
        for part in chunks(ids):
            shared |= self.newest(shows, ProductObservation, part, Image.id.in_(part))
        for image_id, columns in own.items():
            for column, voices in shared[image_id].items():
                columns[column] = voices | columns.get(column, {})
        return own

    @cached_property
    def _products_are_spoken_of(self) -> bool:
        return self.connection.execute(select(ProductObservation.raw).limit(1)).first() is not None

    def newest(self, about: Select[int], table: Table, ids: Sequence[int], where: ColumnElement[bool]) -> Said:
        """Return the newest words in `table` of all voices, by the id that `about` selects, out of `ids`."""
        query = (
            about.add_columns(LabelColumn.name, table.raw, VoiceRow.source, VoiceRow.annotator, table.revision)
            .join(LabelColumn, LabelColumn.id == table.column_id)
            .join(VoiceRow, VoiceRow.id == table.voice_id)
            .where(where)
            .order_by(*newest_last(self._columns_of, table))
        )
        if self.options.attributes:
            former = [column for column, name in self._renamed.items() if name in self.columns]
            query = query.where(LabelColumn.name.in_([*self.columns, *former]))
        found: Said = {about_id: {} for about_id in ids}
        for about_id, column, raw, source, annotator, number in self.connection.execute(query):
            if about_id in found:  # images of other roots lie between
                voices = found[about_id].setdefault(self._renamed.get(column, column), {})
                voices[source, annotator] = (raw, number)
                if raw == WITHDRAWN:
                    del voices[source, annotator]
        return found

    def of_products(self, products: Sequence[ProductPictures]) -> Iterator[dict[str, Cell]]:
        """Yield what was said of whole products: all of it if it is wanted verbatim, else what no image shows."""
        wanted = [p for p in products if self.options.observations or not p.images]
        if root := self.options.images:
            folder = root.resolve()
            wanted = [p for p in wanted if any(_is_below(i.file, folder) for i in p.images)]
        ids = [product.id for product in wanted]
        said = self.newest(
            select(ProductObservation.product_id), ProductObservation, ids, ProductObservation.product_id.in_(ids)
        )
        for product in wanted:
            self.products += 1
            for row in self._verbatim(product, said[product.id], None):
                self.lines += 1
                yield row

    def _predicted(self, images: Sequence[Any]) -> dict[tuple[int, str], PredictionRecord]:
        if (read := self.options.predictions) is None:
            return {}
        ids = [image.id for image in images]
        return {
            (record.image_id, name): record for name in self.attributes for record in read(self.connection, name, ids)
        }

    # -- what is known -----------------------------------------------------------------------------

    def _annotated(
        self, image: Any, said: Mapping[str, Voices], predicted: Mapping[tuple[int, str], PredictionRecord]
    ) -> Iterator[dict[str, Cell]]:
        """Yield the image's row, and one for each voice of the cells that cannot stand in it."""
        row = about_row(image)
        apart: dict[Voice, dict[str, Cell]] = {}
        for column in self.columns:
            voices = said.get(column, {})
            if column in self.readers:
                annotation, cell = self._settle(column, image.article_type, voices)
                if self.options.provenance:
                    row.update(self._provenance(column, annotation, voices))
                gap = annotation is None or annotation.state == "ambiguous"
                if gap and (record := predicted.get((image.id, column))):
                    self.predicted += 1
                    row.update(prediction_cells(record))
            else:
                cell = _agreed(voices)
            if cell:
                row[escape_column(column)] = cell
            elif cell is None:
                for voice, (raw, _) in voices.items():
                    apart.setdefault(voice, {})[escape_column(column)] = raw
        self.disputed += bool(apart)
        yield row
        for voice, cells in apart.items():
            yield spoken_row(image, voice) | cells

    def _settle(self, column: str, article_type: str, voices: Voices) -> tuple[Annotation | None, str | None]:
        """Return what is known, and the one cell that says the same: "" for nothing, None if no cell does."""
        reader = self.readers[column]
        annotation = reader.annotate(article_type, texts_of(voices))
        if annotation is None:
            return None, _agreed(voices)
        if annotation.state == "not_applicable":
            cell = NOT_APPLICABLE
        else:
            cell = SEPARATOR.join(sorted(annotation.values, key=self.order[column].__getitem__)) or NONE_OF_THEM
        same = reader.annotate(article_type, ((DEFAULT_SOURCE, cell),)) == annotation
        return annotation, cell if same else None

    def _provenance(self, column: str, annotation: Annotation | None, voices: Voices) -> dict[str, Cell]:
        found: dict[str, Cell] = {beside(column, "state"): annotation.state if annotation else "unknown"}
        names, texts = list(voices), texts_of(voices)
        # Where nothing could be read, those who said it are named all the same.
        heard = [names[i] for i in self.readers[column].image_texts(texts)] or names
        if heard:
            found[beside(column, "source")] = SEPARATOR.join(dict.fromkeys(source for source, _ in heard))
            if annotators := dict.fromkeys(annotator for _, annotator in heard if annotator):
                found[beside(column, "annotator")] = SEPARATOR.join(annotators)
            found[beside(column, "revision")] = max(voices[voice][1] for voice in heard)
        return found

    # -- what was said -----------------------------------------------------------------------------

    def _verbatim(self, image: Any, said: Mapping[str, Voices], _: object) -> Iterator[dict[str, Cell]]:
        """Yield a row for each voice with its newest words; an image of which nothing was said has a bare one."""
        by_voice: dict[Voice, dict[str, Cell]] = {}
        for column in self.columns:
            for voice, (raw, number) in said.get(column, {}).items():
                cells = by_voice.setdefault(voice, {})
                cells[escape_column(column)] = raw
                if self.options.provenance and column in self.readers:
                    cells[beside(column, "revision")] = number
        row = about_row(image)
        for voice, cells in by_voice.items():
            yield row | spoken_row(image, voice) | cells
            row = {}
        if row:
            yield row


def _columns(
    connection: Connection, known: Mapping[str, Attribute], renamed: Collection[str], wanted: Sequence[str]
) -> list[str]:
    """Return the attributes and the columns that no attribute reads, each in order of name, or those `wanted`."""
    there = {*column_counts(connection)}
    for name in wanted:
        if name not in known and name not in there:
            names = ", ".join(sorted({*known, *there})) or "none"
            raise UnknownNameError(f"attribute {name!r} is neither declared nor a column (there: {names})")
    if wanted:
        return list(dict.fromkeys(wanted))
    return [*sorted(known), *sorted(there.difference(known, renamed))]


def _is_below(file: Path | str, folder: Path) -> bool:
    """Return whether an image belongs to an images root; one behind a URL belongs to each."""
    return isinstance(file, str) or file.is_relative_to(folder)


def _path(image: Any) -> dict[str, Cell]:
    """Return the cell that names an image; a product has none."""
    return {} if isinstance(image, ProductPictures) else {"image": image.path}


def about_row(image: Any) -> dict[str, Cell]:
    """Return the cells that say what is known of an image and its product, or of a product."""
    row: dict[str, Cell] = {"sku": image.sku, "split": image.split, SOURCE: "", **_path(image)}
    row.update({name: text for name in ("article_type", "title", "description") if (text := getattr(image, name))})
    return row


def spoken_row(image: Any, voice: Voice) -> dict[str, Cell]:
    """Return the cells that say of what, and who says it."""
    source, annotator = voice
    row: dict[str, Cell] = {"sku": image.sku, SOURCE: source, **_path(image)}
    return row | ({ANNOTATOR: annotator} if annotator else {})


def texts_of(voices: Voices) -> tuple[tuple[str, str], ...]:
    """Return the (source, text) pairs that a reader takes."""
    return tuple((source, raw) for (source, _), (raw, _) in voices.items())


def _agreed(voices: Voices) -> str | None:
    """Return the text that all voices share, "" if there is none to share, None if they differ."""
    texts = {raw for raw, _ in voices.values()}
    return texts.pop() if len(texts) == 1 else None if texts else ""


def prediction_cells(record: PredictionRecord | ProductPredictionRecord) -> dict[str, Cell]:
    """Return what stands beside a gap."""
    values, confidence = SEPARATOR.join(record.values), round(record.confidence, 4)
    if not values and record.decision != "not_applicable":
        values = NONE_OF_THEM
    cells: tuple[Cell, ...] = (values, confidence, record.decision, record.version)
    return {beside(record.attribute, word): cell for word, cell in zip(PREDICTED, cells, strict=True)}
