"""Label Studio's files, inwards: what annotators chose, as observations with their names and Label Studio's ids."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, select

from ..catalog import Catalog
from ..database.tables import Image
from ..errors import IngestError
from ..labels.names import Voice
from ..labels.observations import ObservationWriter, Texts
from ..labels.queries import revision
from ..labels.records import ReviewSummary
from ..labels.resolve import Reader, UnknownTexts
from ..labels.schemas import declared
from ..schema import SEPARATOR
from .files import StudioAnnotation, StudioTask, read_tasks
from .tasks import CAUSE

#: Tasks that are stored together.
_CHUNK = 500


def import_reviews(
    catalog: Catalog, file: Path, *, source: str = "review", progress: Callable[[int], None] | None = None
) -> ReviewSummary:
    """Store the annotations of an export of Label Studio's, JSON or JSON-MIN, all of them or nothing.

    Each annotation is a revision whose detail holds the ids of its task, itself and its regions. Drafts, predictions
    and what was skipped say nothing. Tasks of unknown images are left out and named. Raises IngestError.
    """
    if not source.strip():
        raise IngestError(f"{file}: the source has no name; give one with --source NAME")
    return catalog.labels.write(lambda connection: _import(connection, file, source, progress))


def _import(connection: Connection, file: Path, source: str, progress: Callable[[int], None] | None) -> ReviewSummary:
    work = _Import(connection, file, source.strip())
    tasks = read_tasks(file, set(work.readers))
    while part := list(islice(tasks, _CHUNK)):
        work.store(part)
        if progress is not None:
            progress(work.tasks)
    return work.finish()


class _Import:
    """One export of Label Studio's on its way in."""

    def __init__(self, connection: Connection, file: Path, source: str) -> None:
        self.connection = connection
        self.file = file
        self.source = source
        self.writer = ObservationWriter(connection, CAUSE, str(file))
        self.readers = {name: Reader(attribute) for name, (_, attribute) in declared(connection).items()}
        self.unread = {name: UnknownTexts() for name in self.readers}
        self.undeclared: Counter[str] = Counter()
        self.annotators: Counter[str] = Counter()
        self.unknown: list[str] = []
        self.tasks = self.annotations = self.skipped = 0

    def store(self, tasks: Sequence[StudioTask]) -> None:
        """Store one chunk of tasks."""
        images = self._images(tasks)
        columns = {name for task in tasks for said in task.annotations for name in said.choices}
        ids = sorted({image_id for image_id in images.values() if image_id is not None})
        standing: dict[Voice, Texts] = {}
        for task in tasks:
            self.tasks += 1
            self.skipped += task.skipped
            image_id = images[task.number]
            if image_id is None:
                if task.annotations:
                    self.unknown.append(f"task {task.number}: {task.paths[0] if task.paths else 'no image'}")
                continue
            for annotation in task.annotations:
                voice = (self.source, annotation.annotator)
                if voice not in standing:
                    standing[voice] = self.writer.newest_texts(voice, ids, columns)
                self._store(image_id, annotation, voice, standing[voice])

    def _store(self, image_id: int, annotation: StudioAnnotation, voice: Voice, standing: Texts) -> None:
        self.annotations += 1
        self.annotators[annotation.annotator or ""] += 1
        new: Texts = defaultdict(dict)
        for name, choices in annotation.choices.items():
            raw = SEPARATOR.join(choices)
            if name in self.readers:
                self.unread[name].add(self.readers[name].read(raw))
            else:
                self.undeclared[name] += 1
            if standing[name].get(image_id) == raw:
                self.writer.same += 1
            else:
                new[name][image_id] = standing[name][image_id] = raw
        if new:
            self.writer.start_revision(annotation.detail)
            self.writer.append(voice, new)

    def _images(self, tasks: Sequence[StudioTask]) -> dict[int, int | None]:
        """Return the image of each task, by the task's number."""
        paths = {path for task in tasks for path in task.paths}
        query = select(Image.path, Image.id).where(Image.path.in_(paths)).order_by(Image.id)
        there: dict[str, list[int]] = {}
        for path, image_id in self.connection.execute(query):
            there.setdefault(path, []).append(image_id)
        return {task.number: _pick(task, there) for task in tasks}

    def finish(self) -> ReviewSummary:
        """Derive the annotations and return the summary."""
        if self.writer.new:
            self.writer.derive_annotations()
        unread = [value for name, texts in self.unread.items() for value in texts.report(self.readers[name].attribute)]
        return ReviewSummary(
            file=str(self.file),
            source=self.source,
            tasks=self.tasks,
            annotations=self.annotations,
            skipped=self.skipped,
            observations_new=self.writer.new,
            observations_same=self.writer.same,
            annotators=dict(sorted(self.annotators.items())),
            unknown_images=tuple(self.unknown),
            unknown_values=tuple(unread),
            undeclared=dict(self.undeclared),
            revision=revision(self.connection),
        )


def _pick(task: StudioTask, there: Mapping[str, Sequence[int]]) -> int | None:
    """Return the image that a task names; of several with one path, below several roots, the one with its id."""
    for path in task.paths:
        ids = there.get(path, ())
        if len(ids) == 1 or task.image_id in ids:
            return task.image_id if task.image_id in ids else ids[0]
    return None
