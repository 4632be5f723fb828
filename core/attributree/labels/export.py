"""The catalogue as a label file: what is known, or what was said, so that ingest reads back the very same.

An image has one row. Only what cannot stand in one cell without changing its meaning gets rows of its own, one for each
voice, with its source: sources that disagree, and mined text, which would come back as somebody's label.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from ..database.tables import Image, ImagesRoot, LabelColumn, Observation, VoiceRow
from ..errors import CatalogError, UnknownNameError
from ..schema import NOT_APPLICABLE, SEPARATOR, Attribute
from .annotations import newest_last, reader_of
from .export_columns import ANNOTATOR, KNOWN, PREDICTED, SOURCE, beside, escape_column
from .names import REMOTE, Voice, column_counts
from .observations import WITHDRAWN
from .queries import image_rows, revision
from .records import ExportSummary, PredictionRecord, PredictionsOf
from .resolve import DEFAULT_SOURCE, Annotation
from .schemas import declared
from .writers import Cell, open_table, replacing

#: Images read and written together; memory grows with it.
_PAGE = 2000
_ABOUT = ("image", "sku", "article_type", "title", "description", "split")
#: The newest word of every voice in a cell, with its revision.
Voices = Mapping[Voice, tuple[str, int]]


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export. `attributes` limits the columns, `images` is the one images root whose images are wanted, and
    those behind URLs, which lie below none.

    `observations` writes what each voice said, verbatim, in a row of its own. `provenance` adds to each attribute its
    state and who said it in which revision, `predictions` reads what the registry has of its gaps.
    """

    attributes: tuple[str, ...] = ()
    images: Path | None = None
    observations: bool = False
    provenance: bool = True
    predictions: PredictionsOf | None = None

    def __post_init__(self) -> None:
        if self.observations and self.predictions:
            raise CatalogError("export: predictions stand beside what is known, and observations are what was said")


def export(
    connection: Connection,
    file: Path,
    form: str,
    options: ExportOptions | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> ExportSummary:
    """Write the catalogue to `file`, which is there whole or not at all, in bounded memory.

    Raises UnknownNameError for an attribute that is neither declared nor a column, or an images root without images;
    CatalogError if the file cannot be written or two images would have the same name in it.
    """
    options = options or ExportOptions()
    _check_roots(connection, options.images)
    work = _Export(connection, options)
    with replacing(file) as partial, open_table(partial, form, work.header()) as write:
        for images in _pages(connection, options.images):
            write(work.rows(images))
            if progress is not None:
                progress(work.images)
    return ExportSummary(
        file=str(file),
        format=form,
        images=work.images,
        rows=work.lines,
        disputed=work.disputed,
        predicted=work.predicted,
        columns=tuple(work.columns),
        roots=tuple(sorted(work.roots)),
        revision=revision(connection),
    )


def _pages(connection: Connection, root: Path | None) -> Iterator[Sequence[Any]]:
    """Yield all images with their products, by id, a page at a time."""
    query = image_rows().order_by(Image.id).limit(_PAGE)
    if root is not None:
        query = query.where(ImagesRoot.folder.in_((root.resolve().as_posix(), REMOTE)))
    last = 0
    while page := connection.execute(query.where(Image.id > last)).all():
        yield page
        last = page[-1].id


def _check_roots(connection: Connection, root: Path | None) -> None:
    """Raise UnknownNameError for a root without images, CatalogError if two roots have an image of the same path."""
    if root is not None:
        used = select(Image.id).where(Image.root_id == ImagesRoot.id).exists()
        roots = sorted(connection.execute(select(ImagesRoot.folder).where(used, ImagesRoot.folder != REMOTE)).scalars())
        if root.resolve().as_posix() not in roots:
            raise UnknownNameError(f"no image lies under the images root {root} (there: {', '.join(roots) or 'none'})")
        return
    folder = ImagesRoot.folder
    query = select(Image.path, func.min(folder), func.max(folder)).join(ImagesRoot, ImagesRoot.id == Image.root_id)
    twins = connection.execute(query.group_by(Image.path).having(func.count() > 1).limit(1)).first()
    if twins is not None:
        path, first, second = twins
        raise CatalogError(f"image {path!r} lies under {first} and {second}; export one of them with --images ROOT")


class _Export:
    """One export on its way out: its columns, and the rows of a page of images."""

    def __init__(self, connection: Connection, options: ExportOptions) -> None:
        self.connection = connection
        self.options = options
        known = {name: attribute for name, (_, attribute) in declared(connection).items()}
        # What stands in a former name's column is read as the attribute; verbatim it stays where it was said.
        self._columns_of = [] if options.observations else [attribute.columns for attribute in known.values()]
        self._renamed = {former: name for name, *formerly in self._columns_of for former in formerly}
        self.columns = _columns(connection, known, self._renamed, options.attributes)
        self.attributes = [name for name in self.columns if name in known]
        self._readers = {name: reader_of(connection, known[name]) for name in self.attributes}
        self._order = {name: {key: i for i, key in enumerate(known[name].labels.keys)} for name in self.attributes}
        self.images = self.lines = self.disputed = self.predicted = 0
        self.roots: set[str] = set()

    def header(self) -> list[str]:
        """Return the columns of the file."""
        header = [*_ABOUT, SOURCE, ANNOTATOR]
        words: tuple[str, ...] = ()
        if self.options.provenance:
            words = ("revision",) if self.options.observations else KNOWN
        if self.options.predictions:
            words += PREDICTED
        for column in self.columns:
            header.append(escape_column(column))
            if column in self._readers:
                header += [beside(column, word) for word in words]
        return header

    def rows(self, images: Sequence[Any]) -> Iterator[dict[str, Cell]]:
        """Yield the rows of one page of images."""
        said = self._said(images)
        predicted = self._predicted(images)
        make = self._verbatim if self.options.observations else self._annotated
        for image in images:
            self.images += 1
            if image.folder != REMOTE:
                self.roots.add(image.folder)
            for row in make(image, said.get(image.id, {}), predicted):
                self.lines += 1
                yield row

    def _said(self, images: Sequence[Any]) -> dict[int, dict[str, dict[Voice, tuple[str, int]]]]:
        """Return what stands in each cell of the page: by image, column and voice."""
        query = (
            select(
                Observation.image_id,
                LabelColumn.name,
                Observation.raw,
                VoiceRow.source,
                VoiceRow.annotator,
                Observation.revision,
            )
            .join(LabelColumn, LabelColumn.id == Observation.column_id)
            .join(VoiceRow, VoiceRow.id == Observation.voice_id)
            .where(Observation.image_id.between(images[0].id, images[-1].id))
            .order_by(*newest_last(self._columns_of))
        )
        if self.options.attributes:
            former = [column for column, name in self._renamed.items() if name in self.columns]
            query = query.where(LabelColumn.name.in_([*self.columns, *former]))
        found: dict[int, dict[str, dict[Voice, tuple[str, int]]]] = {image.id: {} for image in images}
        for image_id, column, raw, source, annotator, number in self.connection.execute(query):
            if image_id in found:  # images of other roots lie between
                voices = found[image_id].setdefault(self._renamed.get(column, column), {})
                voices[source, annotator] = (raw, number)
                if raw == WITHDRAWN:
                    del voices[source, annotator]
        return found

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
        row = _about(image)
        apart: dict[Voice, dict[str, Cell]] = {}
        for column in self.columns:
            voices = said.get(column, {})
            if column in self._readers:
                annotation, cell = self._settle(column, image.article_type, voices)
                if self.options.provenance:
                    row.update(self._provenance(column, annotation, voices))
                gap = annotation is None or annotation.state == "ambiguous"
                if gap and (record := predicted.get((image.id, column))):
                    self.predicted += 1
                    row.update(_prediction(record))
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
            yield _spoken(image, voice) | cells

    def _settle(self, column: str, article_type: str, voices: Voices) -> tuple[Annotation | None, str | None]:
        """Return what is known, and the one cell that says the same: "" for nothing, None if no cell does."""
        reader = self._readers[column]
        annotation = reader.annotate(article_type, _texts(voices))
        if annotation is None:
            return None, _agreed(voices)
        if annotation.state == "not_applicable":
            cell = NOT_APPLICABLE
        else:
            cell = SEPARATOR.join(sorted(annotation.values, key=self._order[column].__getitem__))
        same = bool(cell) and reader.annotate(article_type, ((DEFAULT_SOURCE, cell),)) == annotation
        return annotation, cell if same else None

    def _provenance(self, column: str, annotation: Annotation | None, voices: Voices) -> dict[str, Cell]:
        found: dict[str, Cell] = {beside(column, "state"): annotation.state if annotation else "unknown"}
        names, texts = list(voices), _texts(voices)
        # Where nothing could be read, those who said it are named all the same.
        heard = [names[i] for i in self._readers[column].image_texts(texts)] or names
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
                if self.options.provenance and column in self._readers:
                    cells[beside(column, "revision")] = number
        row = _about(image)
        for voice, cells in by_voice.items():
            yield row | _spoken(image, voice) | cells
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


def _about(image: Any) -> dict[str, Cell]:
    row: dict[str, Cell] = {"image": image.path, "sku": image.sku, "split": image.split, SOURCE: ""}
    row.update({name: text for name in ("article_type", "title", "description") if (text := getattr(image, name))})
    return row


def _spoken(image: Any, voice: Voice) -> dict[str, Cell]:
    source, annotator = voice
    row: dict[str, Cell] = {"image": image.path, "sku": image.sku, SOURCE: source}
    return row | ({ANNOTATOR: annotator} if annotator else {})


def _texts(voices: Voices) -> tuple[tuple[str, str], ...]:
    return tuple((source, raw) for (source, _), (raw, _) in voices.items())


def _agreed(voices: Voices) -> str | None:
    """Return the text that all voices share, "" if there is none to share, None if they differ."""
    texts = {raw for raw, _ in voices.values()}
    return texts.pop() if len(texts) == 1 else None if texts else ""


def _prediction(record: PredictionRecord) -> dict[str, Cell]:
    values, confidence = SEPARATOR.join(record.values), round(record.confidence, 4)
    cells: tuple[Cell, ...] = (values, confidence, record.decision, record.version)
    return {beside(record.attribute, word): cell for word, cell in zip(PREDICTED, cells, strict=True)}
