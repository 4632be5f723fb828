"""The catalogue as the rest of the package sees it: one object, frozen records, no SQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection

from ..errors import CatalogError
from ..labels import LabelSet
from ..schema import Attribute
from . import auto, coverage, declare, derive, history, migrate, precedence, predictions, queries, registry, runs
from .bulk import few_collections
from .engine import Database, Result
from .export import ExportOptions, export
from .ingest import DEFAULT_SOURCE, ingest
from .look import read_and_look
from .manifests import BranchRecord, FinishedRun, NewVersion, Promotion, TrainingRun, TreeVersion, TrunkRecord, Work
from .mine import MineSummary, mine
from .observe import observe, quarantine, record_files
from .readers import Formats
from .records import (
    AnnotationRecord,
    CatalogAttribute,
    CatalogCounts,
    Coverage,
    ExportSummary,
    FileState,
    Forgotten,
    ImageRecord,
    IngestSummary,
    NewObservation,
    PredictionRecord,
    ProductHistory,
    ReviewSummary,
    SchemaChange,
    TaskSummary,
)
from .resolve import Normalizer, Sources
from .runs import LEASE_SECONDS
from .studio import TaskOptions, asked, export_tasks
from .studio_reviews import import_reviews
from .suggest import Suggestions, suggest


class Catalog:
    """An open catalogue. Every method is one transaction; failures outside the program are CatalogError."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        sources: Sources | None = None,
        normalizer: Normalizer | None = None,
    ) -> None:
        self.url = url
        self._sources = sources
        self._database = Database(url, timeout=timeout, attributree_normalizer=normalizer)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        timeout: float = 30.0,
        sources: Sources | None = None,
        normalizer: Normalizer | None = None,
    ) -> Self:
        """Open the catalogue at `url`; a writer waits up to `timeout` seconds for another one.

        `sources` is the precedence that annotations shall follow from the next change on; None leaves what they follow.
        `normalizer` is asked what texts mean that no value spells.
        Raises CatalogVersionError, with the command to type, if its schema is not the one of this code.
        """
        migrate.check(url, timeout=timeout)
        return cls(url, timeout=timeout, sources=sources, normalizer=normalizer)

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what comes in -----------------------------------------------------------------------------

    def ingest(
        self,
        file: Path,
        *,
        images: Path | None = None,
        source: str = DEFAULT_SOURCE,
        formats: Formats | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> IngestSummary:
        """Store a label file, all of it or nothing; `images` is the root of its paths (default: its folder).

        `formats` reads files of suffixes that are not known here; `progress` is told how many rows were read and their
        images looked at. Raises IngestError naming file, row and column.
        """
        look = read_and_look(self._database, Path(file), images, source, progress, formats)
        with few_collections(), look as labels:
            return self._annotate(lambda c: ingest(c, labels, source))

    def _annotate(self, work: Callable[[Connection], Result]) -> Result:
        """Return `work(connection)` in one transaction, in which the annotations follow the precedence of sources."""

        def both(connection: Connection) -> Result:
            with few_collections():
                precedence.follow(connection, self._sources)
                return work(connection)

        return self._database.write(both)

    def observe(
        self,
        observations: Iterable[NewObservation],
        *,
        source: str,
        annotator: str | None = None,
        cause: str = "review",
    ) -> int:
        """Store what a reviewer or a miner says, as ingest does; return how many observations were new."""
        said = list(observations)
        return self._annotate(lambda c: observe(c, said, source, annotator, cause))

    def mine(
        self,
        attributes: Mapping[str, Attribute],
        names: Collection[str] | None = None,
        *,
        languages: Collection[str] = (),
        dry_run: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> MineSummary:
        """Store what titles and descriptions say of `names`, by default of all `attributes`; see `catalog.mine`.

        `attributes` are all that are declared, registered or not. `dry_run` only counts. Raises UnknownNameError.
        """
        transaction = self._database.read if dry_run else self._annotate
        return transaction(
            lambda c: mine(c, attributes, names, languages=languages, dry_run=dry_run, progress=progress)
        )

    def suggest(self, attributes: Mapping[str, Attribute], *, limit: int = 20) -> Suggestions:
        """Return what could be declared besides `attributes`, at most `limit` of each kind; see `catalog.suggest`."""
        return self._database.read(lambda c: suggest(c, attributes, limit))

    def import_reviews(
        self, file: Path, *, source: str = "review", progress: Callable[[int], None] | None = None
    ) -> ReviewSummary:
        """Store the annotations of an export of Label Studio's, all or nothing; see `catalog.studio_reviews`."""
        return self._annotate(lambda c: import_reviews(c, Path(file), source, progress))

    def quarantine(self, image_id: int, reason: str) -> None:
        """Take an image out of use until its file changes and is ingested again. Raises UnknownNameError."""
        self._database.write(lambda c: quarantine(c, image_id, reason))

    def record_files(self, files: Mapping[int, FileState]) -> None:
        """Remember the SHA-256 of images' files, by image id; a changed file forgets it."""
        self._database.write(lambda c: record_files(c, files))

    # -- what goes out -----------------------------------------------------------------------------

    def export(
        self,
        file: Path,
        form: str,
        options: ExportOptions | None = None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> ExportSummary:
        """Write a label file (csv, jsonl or parquet) of one snapshot; see `catalog.export`.

        `progress` is told the number of images done. Raises CatalogError, leaving what was there, if it cannot be
        written.
        """
        return self._database.read(lambda c: export(c, Path(file), form, options or ExportOptions(), progress))

    def export_tasks(
        self, file: Path, options: TaskOptions | None = None, *, progress: Callable[[int], None] | None = None
    ) -> TaskSummary:
        """Write Label Studio's tasks of one snapshot; see `catalog.studio`. Raises as `export` does."""
        return self._database.read(lambda c: export_tasks(c, Path(file), options or TaskOptions(), progress))

    def asked(self, names: Sequence[str] = ()) -> list[Attribute]:
        """Return the declared attributes, or those of `names`. Raises UnknownNameError, CatalogError for none."""
        return self._database.read(lambda c: asked(c, names))

    # -- attributes --------------------------------------------------------------------------------

    def sources(self) -> Sources:
        """Return the precedence of sources that the annotations follow."""
        return self._database.read(derive.followed)

    def follow_sources(self) -> None:
        """Make the annotations follow the precedence that this catalogue was opened with, if they follow another."""
        self._annotate(lambda c: None)

    def declare(self, attribute: Attribute, declared_by: str, version: str | None = None, *, actor: str = "") -> int:
        """Register, evolve or rename an attribute and read all observations under it; return its revision.

        `version` is that of the plugin, `actor` who runs it, for the record. Raises CatalogError, changing nothing.
        """
        by = declare.Declarer(declared_by, version, actor)
        return self._annotate(lambda c: declare.declare(c, attribute, by))

    def orphan(self, name: str, *, actor: str = "") -> None:
        """Mark an attribute whose plugin is gone; `declare` revives it. Raises UnknownNameError."""
        self._database.write(lambda c: declare.orphan(c, name, actor))

    def changes(self, name: str | None = None) -> list[SchemaChange]:
        """Return what became of an attribute's schema, or of all, oldest first. Raises UnknownNameError."""
        return self._database.read(lambda c: declare.changes(c, name))

    def attributes(self) -> dict[str, CatalogAttribute]:
        """Return every registered attribute, orphans too, by name."""
        return self._database.read(declare.attributes)

    def auto_attributes(self, taken: Iterable[str]) -> dict[str, Attribute]:
        """Return the attributes that columns other than `taken` make by themselves; see `catalog.auto`."""
        return self._database.read(lambda c: auto.auto_attributes(c, taken))

    def undeclared(self) -> dict[str, int]:
        """Return the columns that no declared attribute reads, with the number of their observations."""
        return self._database.read(queries.undeclared)

    # -- images and annotations --------------------------------------------------------------------

    def images(self, *, ids: Sequence[int] | None = None, paths: Sequence[Path] | None = None) -> list[ImageRecord]:
        """Return the images by id: all, or those with one of `ids` or at one of `paths` (absolute, resolved)."""
        return self._database.read(lambda c: queries.images(c, ids, paths))

    def quarantined(self) -> list[ImageRecord]:
        """Return the images that cannot be used, with their reasons."""
        return self._database.read(lambda c: queries.images(c, state="quarantined"))

    def missing(self, name: str) -> list[int]:
        """Return the images that the attribute applies to and that are unknown or ambiguous."""
        return self._database.read(lambda c: queries.missing(c, name))

    def annotations(self, name: str, image_ids: Iterable[int]) -> dict[int, AnnotationRecord]:
        """Return what is known of `image_ids`; an image that is not in the result is unknown."""
        ids = list(image_ids)
        return self._database.read(lambda c: queries.annotated(c, name, ids))

    def coverage(self, attribute: Attribute) -> Coverage:
        """Return how far `attribute` is annotated; it need not be registered.

        Counted once for each revision of the catalogue, and stored; not where the database cannot be written.
        """

        def count(connection: Connection) -> tuple[Coverage, int | None]:
            if stored := coverage.counted(connection, attribute, self._sources):
                return stored, None
            return coverage.coverage(connection, attribute, self._sources), queries.revision(connection)

        counts, fresh_at = self._database.read(count)
        if fresh_at is not None:
            with suppress(CatalogError):
                self._database.write(lambda c: coverage.store(c, attribute, counts, fresh_at, self._sources))
        return counts

    def new_labels(self, name: str, since_revision: int) -> int:
        """Return how many labelled or ambiguous annotations changed after `since_revision`."""
        return self._database.read(lambda c: queries.new_labels(c, name, since_revision))

    def label_set(self, name: str) -> LabelSet:
        """Return the supervision of one attribute; see `attributree.labels`. Raises UnknownNameError."""
        return self._database.read(lambda c: queries.label_set(c, name))

    def counts(self) -> CatalogCounts:
        """Return how much there is."""
        return self._database.read(queries.counts)

    def revision(self) -> int:
        """Return the newest revision, 0 for an empty catalogue."""
        return self._database.read(queries.revision)

    def wait_for_news(self, revision: int, seconds: float) -> bool:
        """Wait up to `seconds` for a revision after `revision`; return whether there is one."""
        return self._database.wait(lambda c: queries.revision(c) > revision, seconds)

    # -- one product -----------------------------------------------------------------------------

    def history(self, sku: str) -> ProductHistory:
        """Return all that is kept of a product. Raises UnknownNameError."""
        return self._database.read(lambda c: history.history(c, sku))

    def forget(self, skus: Sequence[str], actor: str) -> Forgotten:
        """Delete products with all that was said or predicted of them. Raises UnknownNameError, deleting nothing."""
        return self._database.write(lambda c: history.forget(c, skus, actor))

    # -- training runs -----------------------------------------------------------------------------

    def claim_run(
        self, work: Work, owner: str, *, lease: float = LEASE_SECONDS, seen: Collection[int] | None = None
    ) -> TrainingRun | None:
        """Return a run of `work` that `owner` holds for `lease` seconds, or None if it is another's, or done already.

        A run that was broken off is taken over. `seen` are the runs that `owner` knew to be finished when it decided.
        """
        return self._database.write(lambda c: runs.claim(c, work, owner, lease, seen))

    def heartbeat(self, run: TrainingRun, *, lease: float = LEASE_SECONDS) -> bool:
        """Hold a run for another `lease` seconds; return False if it is lost."""
        return self._database.write(lambda c: runs.heartbeat(c, run, lease))

    def finish_run(
        self,
        run: TrainingRun,
        status: str,
        *,
        seconds: float,
        metrics: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> TrainingRun:
        """Close a run as promoted, kept or failed. Raises LeaseError if it was taken over, cancelled or closed."""
        done = FinishedRun(run, status, seconds, metrics or {}, error)
        return self._database.write(lambda c: runs.finish(c, done))

    def cancel_run(self, run_id: int, actor: str) -> TrainingRun:
        """Cancel a running run; what comes of it will be refused. Raises UnknownNameError or LeaseError."""
        return self._database.write(lambda c: runs.cancel(c, run_id, actor))

    def runs(self, attribute: str | None = None) -> list[TrainingRun]:
        """Return the runs, oldest first, of one attribute or of all."""
        return self._database.read(lambda c: runs.runs(c, attribute))

    def training(self) -> dict[str, str]:
        """Return who trains what right now: attribute -> owner."""
        return self._database.read(runs.held)

    def require_idle(self) -> None:
        """Raise CatalogError, naming who trains what, if somebody does."""
        if held := self.training():
            said = ", ".join(f"{name} by {owner}" for name, owner in sorted(held.items()))
            raise CatalogError(f"training is under way ({said}); try again when it is done, or see `attributree runs`")

    # -- the registry ------------------------------------------------------------------------------

    def save_trunk(self, trunk: TrunkRecord) -> None:
        """Store a trunk unless its digest is there already."""
        self._database.write(lambda c: registry.save_trunk(c, trunk))

    def branches(self) -> list[BranchRecord]:
        """Return every stored branch, oldest first."""
        return list(self._database.read(registry.branches).values())

    def commit_version(self, version: NewVersion) -> TreeVersion:
        """Store a tree version with its new branches and, if asked, make it live, all in one transaction.

        Raises CatalogError if its parts do not belong together; LeaseError if one of its runs was taken over; and,
        promoting, OvertakenError if its parent is not live any more.
        """

        def work(connection: Connection) -> TreeVersion:
            for done in version.finished:
                runs.finish(connection, done)
            return registry.commit_version(connection, version)

        return self._database.write(work)

    def live(self) -> TreeVersion | None:
        """Return the live version, or None before the first promotion."""
        return self._database.read(registry.live)

    def version(self, version_id: int) -> TreeVersion:
        """Return one tree version. Raises UnknownNameError, naming those that are there."""
        return self._database.read(lambda c: registry.version(c, version_id))

    def versions(self) -> list[TreeVersion]:
        """Return all tree versions, oldest first."""
        return self._database.read(registry.versions)

    def promote(self, version_id: int, actor: str, reason: str) -> TreeVersion:
        """Make a stored version live. Raises UnknownNameError."""
        return self._database.write(lambda c: registry.promote(c, version_id, actor, reason))

    def named_parts(self) -> frozenset[str]:
        """Return the digest of every part that a stored trunk or branch is made of."""
        return self._database.read(registry.named_parts)

    def promotions(self) -> list[Promotion]:
        """Return every promotion, oldest first."""
        return self._database.read(registry.promotions)

    # -- predictions -------------------------------------------------------------------------------

    def save_predictions(self, records: Sequence[PredictionRecord]) -> None:
        """Store predictions, replacing those of the same image and attribute."""
        self._database.write(lambda c: predictions.save(c, records))

    def predictions(self, attribute: str, image_ids: Iterable[int] | None = None) -> list[PredictionRecord]:
        """Return the current predictions for one attribute under today's values."""
        ids = None if image_ids is None else list(image_ids)
        return self._database.read(lambda c: predictions.load(c, attribute, ids))

    @contextmanager
    def sync_lock(self, *, timeout: float | None = None) -> Iterator[None]:
        """Be the only one who syncs; wait `timeout` seconds for the one who does (None: for ever)."""
        with self._database.lock("sync", timeout=timeout):
            yield
