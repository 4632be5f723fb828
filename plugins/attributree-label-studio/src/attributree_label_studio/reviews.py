"""Label Studio's exports, inwards: what annotators chose, as observations with their names and Label Studio's ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from attributree import Attribute, Workspace
from attributree.errors import IngestError
from attributree.labels.records import NewObservation, UnknownValue
from attributree.schema import NOT_APPLICABLE, SEPARATOR, fold

from .files import StudioTask, read_tasks
from .tasks import CAUSE

#: Tasks whose images are looked up together.
_CHUNK = 500
#: Different unknown texts of an attribute that are told one by one, and characters of each.
_SHOWN_TEXTS, _SHOWN_CHARACTERS = 1000, 200


@dataclass(frozen=True)
class ReviewSummary:
    """What one export of Label Studio brought. `annotators` counts annotations; "" is an annotator without a name.

    `unknown_images` are tasks with annotations whose image is not in the catalogue; `undeclared` counts answers to
    questions that no attribute asks.
    """

    file: str
    source: str
    tasks: int
    annotations: int
    skipped: int
    observations_new: int
    observations_same: int
    annotators: dict[str, int]
    unknown_images: tuple[str, ...]
    unknown_values: tuple[UnknownValue, ...]
    undeclared: dict[str, int]
    revision: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self)


def import_reviews(
    workspace: Workspace, file: Path, *, source: str = "review", progress: Callable[[int], None] | None = None
) -> ReviewSummary:
    """Store the annotations of an export of Label Studio, JSON or JSON-MIN, all of them or nothing.

    Each annotation is a revision whose detail holds the ids of its task, itself and its regions. Drafts, predictions
    and skipped annotations say nothing. Tasks of unknown images are left out and named. Raises IngestError.
    """
    source = source.strip()
    if not source:
        raise IngestError(f"{file}: the source has no name; give one with --source NAME")
    known = {name: found.today for name, found in workspace.labels.attributes().items() if found.state == "declared"}
    reviews = _Reviews(known)
    tasks = read_tasks(file, set(known))
    while part := list(islice(tasks, _CHUNK)):
        images = workspace.labels.image_ids(path for task in part for path in task.paths)
        for task in part:
            reviews.add(task, _image_of(task, images))
        if progress is not None:
            progress(reviews.tasks)
    new = workspace.labels.observe(reviews.said, source=source, cause=CAUSE)
    return ReviewSummary(
        file=str(file),
        source=source,
        tasks=reviews.tasks,
        annotations=sum(reviews.annotators.values()),
        skipped=reviews.skipped,
        observations_new=new,
        observations_same=len(reviews.said) - new,
        annotators=dict(sorted(reviews.annotators.items())),
        unknown_images=tuple(reviews.unknown_images),
        unknown_values=tuple(
            value for name, texts in reviews.unknown.items() for value in _unknown_values(known[name], texts)
        ),
        undeclared=workspace.only_undeclared(reviews.undeclared),
        revision=workspace.labels.revision(),
    )


class _Reviews:
    """What the tasks of one export say; `known` are the declared attributes."""

    def __init__(self, known: Mapping[str, Attribute]) -> None:
        self.known = known
        self.said: list[NewObservation] = []
        self.annotators: Counter[str] = Counter()
        self.undeclared: Counter[str] = Counter()
        self.unknown: dict[str, Counter[str]] = {name: Counter() for name in known}
        self.unknown_images: list[str] = []
        self.tasks = self.skipped = 0

    def add(self, task: StudioTask, image_id: int | None) -> None:
        """Add what a task says of its image, None if the catalogue has no such image."""
        self.tasks += 1
        self.skipped += task.skipped
        if image_id is None:
            if task.annotations:
                self.unknown_images.append(f"task {task.number}: {task.paths[0] if task.paths else 'no image'}")
            return
        for annotation in task.annotations:
            self.annotators[annotation.annotator or ""] += 1
            for name, choices in annotation.choices.items():
                if name in self.known:
                    self.unknown[name].update(_unknown(self.known[name], choices))
                else:
                    self.undeclared[name] += 1
                raw = SEPARATOR.join(choices)
                self.said.append(NewObservation(image_id, name, raw, annotation.annotator, annotation.detail))


def _image_of(task: StudioTask, images: Mapping[str, Sequence[int]]) -> int | None:
    """Return the image that a task names; of several with one path, below several roots, the one with its id."""
    for path in task.paths:
        ids = images.get(path, ())
        if len(ids) == 1 or task.image_id in ids:
            return task.image_id if task.image_id in ids else ids[0]
    return None


def _unknown(attribute: Attribute, choices: Sequence[str]) -> list[str]:
    """Return the choices that no value of the attribute spells."""
    if len(choices) == 1 and fold(choices[0]) == fold(NOT_APPLICABLE):
        return []
    return [choice for choice in choices if not attribute.labels.read(choice)]


def _unknown_values(attribute: Attribute, texts: Counter[str]) -> list[UnknownValue]:
    """Return the unknown texts, the commonest first, each with the nearest value."""
    ranked = sorted(texts.items(), key=lambda item: (-item[1], item[0]))
    found = []
    for text, count in ranked[:_SHOWN_TEXTS]:
        shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
        found.append(UnknownValue(attribute.name, shown, count, attribute.labels.nearest(shown)))
    if others := sum(count for _, count in ranked[_SHOWN_TEXTS:]):
        found.append(UnknownValue(attribute.name, "(other texts)", others, None))
    return found
