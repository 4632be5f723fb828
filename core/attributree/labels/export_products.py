"""An export with a line a product: what is known of it from all its pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from sqlalchemy import select

from ..database.engine import chunks
from ..database.tables import Observation, ProductObservation
from ..schema import NONE_OF_THEM, NOT_APPLICABLE, SEPARATOR
from .export_columns import IMAGES, beside, escape_column
from .export_rows import ExportRows, Said, Voices, about_row, prediction_cells, spoken_row, texts_of
from .names import Voice
from .products import of_pictures
from .records import ProductPictures, ProductPredictionRecord
from .resolve import DEFAULT_SOURCE, Annotation
from .writers import Cell


class ProductRows(ExportRows):
    """An export with a line a product: what is known of it, from all its pictures."""

    about = ("sku", "article_type", "title", "description", "split")

    def header(self) -> list[str]:
        """Return the columns of the file, the product's pictures last."""
        return [*super().header(), IMAGES]

    def product_rows(self, products: Sequence[ProductPictures]) -> Iterator[dict[str, Cell]]:
        """Yield the line of each product, and one more for each source whose word no label file has by itself."""
        ids = [image.id for product in products for image in product.images]
        said: Said = {}
        for part in chunks(ids):
            said |= self.said(part, Observation.image_id.in_(part))
        # A product that no picture shows has only what was said of itself.
        alone = [product.id for product in products if not product.images]
        where = ProductObservation.product_id.in_(alone)
        of_products = self.newest(select(ProductObservation.product_id), ProductObservation, alone, where)
        predicted = self._predicted_of([product.id for product in products])
        for product in products:
            self.products += 1
            self.images += len(product.images)
            row, apart = about_row(product), dict[str, dict[str, Cell]]()
            heard = [said[image.id] for image in product.in_use or product.images] or [of_products[product.id]]
            for column in self.columns:
                voices = [cells.get(column, {}) for cells in heard]
                if column not in self.readers:
                    row[escape_column(column)] = _agreed_by_all(voices)
                    continue
                annotation, cell = self._settle_product(column, product, voices)
                sources = self._heard(column, voices)
                if self.options.provenance:
                    row.update(self._provenance_of(column, annotation, sources))
                gap = annotation is None or annotation.state == "ambiguous"
                if gap and (record := predicted.get((product.id, column))):
                    self.predicted += 1
                    paths = {image.id: image.path for image in product.images}
                    row.update(prediction_cells(record))
                    row[beside(column, "image")] = paths.get(record.image_id, "")
                    row[beside(column, "against")] = paths.get(record.against_id or 0, "")
                if annotation is None or self._weight(column, cell) == annotation.weight or not cell:
                    row[escape_column(column)] = cell
                else:  # mined text must not come back as a label
                    for source in dict.fromkeys(source for (source, _), _ in sources):
                        apart.setdefault(source, {})[escape_column(column)] = cell
            row[IMAGES] = SEPARATOR.join(image.path for image in product.images)
            self.disputed += bool(apart)
            for line in (row, *(spoken_row(product, (source, None)) | cells for source, cells in apart.items())):
                self.lines += 1
                yield {column: cell for column, cell in line.items() if cell != ""}

    def _settle_product(
        self, column: str, product: ProductPictures, voices: Sequence[Voices]
    ) -> tuple[Annotation | None, str]:
        """Return what is known of a product, and the cell that says the same of it, "" for none."""
        reader = self.readers[column]
        if not reader.applies(product.article_type):
            return Annotation("not_applicable"), NOT_APPLICABLE
        each = [reader.annotate(product.article_type, texts_of(said)) for said in voices]
        known = [annotation for annotation in each if annotation is not None]
        if not known:
            return None, _agreed_by_all(voices)
        weight = max(annotation.weight for annotation in known)
        annotation = replace(of_pictures(reader.attribute, known), weight=weight)
        if annotation.state == "not_applicable":
            return annotation, NOT_APPLICABLE
        cell = SEPARATOR.join(sorted(annotation.values, key=self.order[column].__getitem__)) or NONE_OF_THEM
        read = reader.annotate(product.article_type, ((DEFAULT_SOURCE, cell),))
        same = read is not None and (read.state, read.values, read.certain) == (
            annotation.state,
            annotation.values,
            annotation.certain,
        )
        return annotation, cell if same else ""

    def _weight(self, column: str, cell: str) -> float | None:
        """Return what the annotation weighs that `cell` becomes in a label file."""
        read = self.readers[column].annotate("", ((DEFAULT_SOURCE, cell),)) if cell else None
        return read.weight if read else None

    def _heard(self, column: str, voices: Sequence[Voices]) -> list[tuple[Voice, int]]:
        """Return the voices that count for a column on any of the pictures, with their revisions."""
        heard = []
        for said in voices:
            counts = [list(said)[i] for i in self.readers[column].image_texts(texts_of(said))] or list(said)
            heard += [(voice, said[voice][1]) for voice in counts]
        return heard

    def _provenance_of(
        self, column: str, annotation: Annotation | None, heard: Sequence[tuple[Voice, int]]
    ) -> dict[str, Cell]:
        found: dict[str, Cell] = {beside(column, "state"): annotation.state if annotation else "unknown"}
        if heard:
            annotators = dict.fromkeys(annotator for (_, annotator), _ in heard if annotator)
            found[beside(column, "source")] = SEPARATOR.join(dict.fromkeys(source for (source, _), _ in heard))
            found[beside(column, "annotator")] = SEPARATOR.join(annotators)
            found[beside(column, "revision")] = max(number for _, number in heard)
        return found

    def _predicted_of(self, ids: Sequence[int]) -> dict[tuple[int, str], ProductPredictionRecord]:
        if (read := self.options.product_predictions) is None:
            return {}
        found = {}
        for name in self.attributes:
            found.update({(record.product_id, name): record for record in read(self.connection, name, ids)})
        return found


def _agreed_by_all(voices: Iterable[Voices]) -> str:
    """Return the text that all voices share on all pictures of which anything was said, "" if there is none."""
    texts = {raw for said in voices for raw, _ in said.values()}
    return texts.pop() if len(texts) == 1 else ""
