"""The label store: what was said of images, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from ..article_types import ArticleTypes
from ..database.engine import Database, Result
from ..database.store import Store, reading, writing
from ..errors import CatalogError, IngestError
from ..schema import Attribute
from ..settings.models import ImagesSettings
from . import article_types, auto, coverage, export, history, observations, products, queries, reviews, roots, schemas
from .annotations import active_sources, active_types
from .ingest import ingest
from .label_file import LabelFile
from .readers import Formats
from .records import Coverage, ImageRecord, IngestSummary, ProductPictures
from .relocate import Relocated, relocate
from .resolve import DEFAULT_SOURCE, Sources


class LabelStore(Store):
    """Images, what was said of them, and what that means. Every method is one transaction.

    What is written follows `sources`, a precedence of sources, and the article types that `types` returns, from then
    on; None leaves those that are followed. `types` is called when they are needed.
    """

    def __init__(
        self, database: Database, sources: Sources | None = None, types: Callable[[], ArticleTypes] | None = None
    ) -> None:
        super().__init__(database)
        self._sources = sources
        self._types = types
        self._adopted = False

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return `work(connection)`, run in one transaction in which annotations follow sources and article types.

        The first one of a store also keeps images roots relative that an older attributree stored.
        """

        def all_of_it(connection: Connection) -> Result:
            if not self._adopted:
                roots.adopt_roots(connection)
            schemas.follow_sources(connection, self._sources)
            article_types.follow_types(connection, self._next_types(connection))
            return work(connection)

        done = self.database.write(all_of_it)
        self._adopted = True
        return done

    def _next_types(self, connection: Connection) -> ArticleTypes:
        """Return the article types that will be followed from the next change on."""
        followed = active_types(connection)
        return followed if self._types is None else self._types().after(followed)

    def follow_settings(self) -> None:
        """Make annotations follow the sources and article types that the catalogue was opened with."""
        self.write(lambda connection: None)

    def ingest(
        self,
        file: Path,
        *,
        images: Path | None = None,
        source: str = DEFAULT_SOURCE,
        formats: Formats | None = None,
        remote: ImagesSettings | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> IngestSummary:
        """Store a label file, all of it or nothing; `images` is the root of its paths (default: its folder).

        `formats` reads files of suffixes that are not known here; `remote` says which URLs of images may be fetched
        later; `progress` is told how many rows were read and their images inspected. Raises IngestError naming file,
        row and column.
        """
        if not source.strip():
            raise IngestError(f"{file}: the source has no name; give one with --source NAME")
        labels = LabelFile(Path(file), images, formats, remote or ImagesSettings())
        labels.check(self.database, progress)
        return self.write(lambda connection: ingest(connection, labels, source))

    def adopt_roots(self) -> None:
        """Keep images roots relative, where they can be, that an older attributree stored."""
        self.database.write(roots.adopt_roots)
        self._adopted = True

    def relocate(self, old: Path, new: Path, actor: str) -> Relocated:
        """Let the images root `old` lie at `new`; its images keep what was said of them. Raises CatalogError."""
        self.adopt_roots()
        return relocate(self.database, Path(old), Path(new), actor)

    def coverage(self, attribute: Attribute) -> Coverage:
        """Return how far `attribute` is annotated; it need not be registered.

        Counted once for each revision of the catalogue, and stored; not where the database cannot be written.
        """

        def count(connection: Connection) -> tuple[Coverage, int | None]:
            types = self._next_types(connection)
            if stored := coverage.counted(connection, attribute, self._sources, types):
                return stored, None
            return coverage.coverage(connection, attribute, self._sources, types), queries.revision(connection)

        counts, fresh_at = self.read(count)
        if fresh_at is not None:
            with suppress(CatalogError):
                self.database.write(
                    lambda c: coverage.store(c, attribute, counts, fresh_at, self._sources, self._next_types(c))
                )
        return counts

    def next_types(self) -> ArticleTypes:
        """Return the article types that annotations will follow from the next change on."""
        return self.read(self._next_types)

    def wait_for_news(self, revision: int, seconds: float) -> bool:
        """Wait up to `seconds` for a revision after `revision`; return whether there is one."""
        return self.database.wait(lambda c: queries.revision(c) > revision, seconds)

    def pages(self, size: int = 500, *, state: str | None = None) -> Iterator[list[ImageRecord]]:
        """Yield the images by id, `size` at a time; each page is read by itself, when it is asked for."""
        last = 0
        while page := self.page(last, size, state=state):
            yield page
            last = page[-1].id

    def product_pages(self, size: int = 500, *, split: str | None = None) -> Iterator[list[ProductPictures]]:
        """Yield the products by id, `size` at a time, of one split or of all."""
        last = 0
        while page := self.product_page(last, size, split=split):
            yield page
            last = page[-1].id

    observe = writing(observations.observe)
    quarantine = writing(observations.quarantine)
    release = writing(observations.release)
    record_files = writing(observations.record_files)
    forget = writing(history.forget)
    export = reading(export.export)
    root_warnings = reading(roots.warnings)
    history = reading(history.history)

    declare = writing(schemas.declare)
    orphan = writing(schemas.orphan)
    changes = reading(schemas.changes)
    attributes = reading(schemas.attributes)
    auto_attributes = reading(auto.auto_attributes)
    undeclared = reading(queries.undeclared)
    sources = reading(active_sources)
    types = reading(active_types)
    product_counts = reading(queries.product_counts)
    stated_labels = reading(article_types.stated_labels)

    images = reading(queries.images)
    page = reading(reviews.page)
    image_ids = reading(reviews.image_ids)
    newest_observations = reading(reviews.newest_observations)
    product_page = reading(products.product_page)
    known_of_products = reading(products.known_of_products)
    products = reading(products.products)
    missing = reading(queries.missing)
    annotations = reading(queries.annotated)
    new_labels = reading(queries.new_labels)
    label_set = reading(queries.label_set)
    counts = reading(queries.counts)
    products_per_split = reading(queries.products_per_split)
    alike_in_size = reading(queries.alike_in_size)
    shared_between_splits = reading(queries.shared_between_splits)
    revision = reading(queries.revision)
