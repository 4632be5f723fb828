"""The label store: what was said of images, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection

from ..database.engine import Database, Result
from ..database.store import Store, reading, writing
from ..errors import CatalogError, IngestError
from ..schema import Attribute
from ..settings.models import ImagesSettings
from . import auto, coverage, export, history, observations, queries, reviews, schemas
from .annotations import active_sources
from .ingest import ingest
from .label_file import LabelFile
from .readers import Formats
from .records import Coverage, ImageRecord, IngestSummary
from .resolve import DEFAULT_SOURCE, Sources


class LabelStore(Store):
    """Images, what was said of them, and what that means. Every method is one transaction.

    What is written follows `sources`, a precedence of sources, from then on; None leaves the one that is followed.
    """

    def __init__(self, database: Database, sources: Sources | None = None) -> None:
        super().__init__(database)
        self._sources = sources

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """Return `work(connection)`, run in one transaction in which annotations follow the precedence of sources."""

        def both(connection: Connection) -> Result:
            schemas.follow_sources(connection, self._sources)
            return work(connection)

        return self.database.write(both)

    def follow_sources(self) -> None:
        """Make the annotations follow the precedence that the catalogue was opened with, if they follow another."""
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

    def coverage(self, attribute: Attribute) -> Coverage:
        """Return how far `attribute` is annotated; it need not be registered.

        Counted once for each revision of the catalogue, and stored; not where the database cannot be written.
        """

        def count(connection: Connection) -> tuple[Coverage, int | None]:
            if stored := coverage.counted(connection, attribute, self._sources):
                return stored, None
            return coverage.coverage(connection, attribute, self._sources), queries.revision(connection)

        counts, fresh_at = self.read(count)
        if fresh_at is not None:
            with suppress(CatalogError):
                self.database.write(lambda c: coverage.store(c, attribute, counts, fresh_at, self._sources))
        return counts

    def wait_for_news(self, revision: int, seconds: float) -> bool:
        """Wait up to `seconds` for a revision after `revision`; return whether there is one."""
        return self.database.wait(lambda c: queries.revision(c) > revision, seconds)

    def pages(self, size: int = 500, *, state: str | None = None) -> Iterator[list[ImageRecord]]:
        """Yield the images by id, `size` at a time; each page is read by itself, when it is asked for."""
        last = 0
        while page := self.page(last, size, state=state):
            yield page
            last = page[-1].id

    observe = writing(observations.observe)
    quarantine = writing(observations.quarantine)
    release = writing(observations.release)
    record_files = writing(observations.record_files)
    forget = writing(history.forget)
    export = reading(export.export)
    history = reading(history.history)

    declare = writing(schemas.declare)
    orphan = writing(schemas.orphan)
    changes = reading(schemas.changes)
    attributes = reading(schemas.attributes)
    auto_attributes = reading(auto.auto_attributes)
    undeclared = reading(queries.undeclared)
    sources = reading(active_sources)

    images = reading(queries.images)
    page = reading(reviews.page)
    image_ids = reading(reviews.image_ids)
    newest_observations = reading(reviews.newest_observations)
    missing = reading(queries.missing)
    annotations = reading(queries.annotated)
    new_labels = reading(queries.new_labels)
    label_set = reading(queries.label_set)
    counts = reading(queries.counts)
    revision = reading(queries.revision)
