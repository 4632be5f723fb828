"""Label Studio's exports, inwards: what annotators chose, as observations with their names and Label Studio's ids."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from attributree import Attribute, Workspace
from attributree.errors import IngestError
from attributree.labels.records import NewestObservation, NewObservation, UnknownValue
from attributree.schema import NONE_OF_THEM, NOT_APPLICABLE, SEPARATOR, fold

from .files import StudioAnnotation, StudioTask, read_tasks, said_at
from .tasks import CAUSE, declared_attributes

#: Tasks whose images are looked up together.
_CHUNK = 500
#: Before anything else: the time of an annotation that has none.
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
#: Different unknown texts of an attribute that are told one by one, and characters of each.
_SHOWN_TEXTS, _SHOWN_CHARACTERS = 1000, 200


@dataclass(frozen=True)
class ReviewSummary:
    """What one export of Label Studio brought. `annotators` counts annotations; "" is an annotator without a name.

    `observations_older` were said before what the catalogue has of the same annotator. `without_choice` counts
    annotations by multi-label attribute that were submitted with nothing chosen: none of its values. `unknown_images`
    are tasks with annotations whose image is not in the catalogue; `undeclared` counts answers to questions that no
    attribute asks, `unread` those that are no choices, by control and kind.
    """

    file: str
    source: str
    tasks: int
    annotations: int
    skipped: int
    observations_new: int
    observations_same: int
    observations_older: int
    annotators: dict[str, int]
    unknown_images: tuple[str, ...]
    unknown_values: tuple[UnknownValue, ...]
    undeclared: dict[str, int]
    without_choice: dict[str, int]
    unread: dict[str, int]
    revision: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self)


def import_reviews(
    workspace: Workspace,
    file: Path,
    *,
    source: str = "review",
    attributes: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> ReviewSummary:
    """Store the annotations of an export of Label Studio, JSON or JSON-MIN, all of them or nothing.

    Each annotation is a revision whose detail holds the ids of its task, itself and its regions. Of what an annotator
    says of an attribute on an image the newest counts, in whatever order exports are read. Drafts, predictions
    and skipped annotations say nothing. Tasks of unknown images are left out and named.
    `attributes` are those that the project asks, by default those that the file has any answer to, or all that are
    declared if it has none: an annotation that was submitted with nothing chosen says none of the multi-label ones.
    Raises IngestError, and UnknownNameError for one of `attributes` that is not declared.
    """
    source = source.strip()
    if not source:
        raise IngestError(f"{file}: the source has no name; give one with --source NAME")
    if fold(source) == "text":
        raise IngestError(f"{file}: the source 'text' is what is read off titles; give another --source NAME")
    asked = {attribute.name for attribute in declared_attributes(workspace, attributes)} if attributes else set()
    known = {name: found.today for name, found in workspace.labels.attributes().items() if found.state == "declared"}
    reviews = _Reviews(known)
    tasks = read_tasks(file, set(known))
    while part := list(islice(tasks, _CHUNK)):
        images = workspace.labels.image_ids(path for task in part for path in task.paths)
        for task in part:
            reviews.add(task, _image_of(task, images))
        if progress is not None:
            progress(reviews.tasks)
    reviews.add_none_of_them(asked)
    new, older = _store(workspace, reviews, source)
    return ReviewSummary(
        file=str(file),
        source=source,
        tasks=reviews.tasks,
        annotations=sum(reviews.annotators.values()),
        skipped=reviews.skipped,
        observations_new=new,
        observations_same=len(reviews.said) - new - older,
        observations_older=older,
        annotators=dict(sorted(reviews.annotators.items())),
        unknown_images=tuple(reviews.unknown_images),
        unknown_values=tuple(
            value for name, texts in reviews.unknown.items() for value in _unknown_values(known[name], texts)
        ),
        undeclared=workspace.only_undeclared(reviews.undeclared),
        without_choice=dict(reviews.without_choice),
        unread=dict(reviews.unread),
        revision=workspace.labels.revision(),
    )


def _store(workspace: Workspace, reviews: _Reviews, source: str) -> tuple[int, int]:
    """Store what is not older than what the catalogue has; return how many observations are new, and how many older."""
    said = sorted(reviews.said, key=lambda item: item[0] or _LONG_AGO)
    columns = sorted({item.attribute for _, item in said})
    ids = [item.image_id for _, item in said]
    newest = {
        (found.image_id, found.annotator, found.attribute): (found.raw, _said_at(found))
        for found in workspace.labels.newest_observations(source, (), ids, columns=columns)
    }
    wanted = []
    for at, item in said:
        cell = (item.image_id, item.annotator, reviews.name_of.get(item.attribute, item.attribute))
        raw, before = newest.get(cell, (None, None))
        if at and before and at < before:
            continue
        # What is said again later is stored again: an export from between must not overrule it.
        wanted.append(replace(item, restated=bool(at and before and at > before and raw == item.raw)))
        newest[cell] = (item.raw, at)
    return workspace.labels.observe(wanted, source=source, cause=CAUSE), len(said) - len(wanted)


def _said_at(found: NewestObservation) -> datetime | None:
    told = json.loads(found.detail) if found.cause == CAUSE else {}
    return said_at(told.get("updated_at", "")) or found.created_at


class _Reviews:
    """What the tasks of one export say, with its time; `known` are the declared attributes."""

    def __init__(self, known: Mapping[str, Attribute]) -> None:
        self.known = known
        self.name_of = {column: attribute.name for attribute in known.values() for column in attribute.columns}
        self.said: list[tuple[datetime | None, NewObservation]] = []
        self.annotators: Counter[str] = Counter()
        self.undeclared: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        self.without_choice: Counter[str] = Counter()
        self.unknown: dict[str, Counter[str]] = {name: Counter() for name in known}
        self.unknown_images: list[str] = []
        self.tasks = self.skipped = 0
        self._empty: list[tuple[int, StudioAnnotation]] = []  # by image, submitted with nothing chosen
        self._controls: set[str] = set()

    def add(self, task: StudioTask, image_id: int | None) -> None:
        """Add what a task says of its image, None if the catalogue has no such image."""
        self.tasks += 1
        self.skipped += task.skipped
        self._controls |= task.controls
        if image_id is None:
            if task.annotations:
                self.unknown_images.append(f"task {task.number}: {task.paths[0] if task.paths else 'no image'}")
            return
        for annotation in task.annotations:
            self.annotators[annotation.annotator or ""] += 1
            self.unread.update(f"{name} ({kind})" for name, kind in annotation.unread)
            if annotation.without_choice:
                self._empty.append((image_id, annotation))
            for name, choices in annotation.choices.items():
                self._add(image_id, annotation, name, choices)

    def _add(self, image_id: int, annotation: StudioAnnotation, name: str, choices: Sequence[str]) -> None:
        if tuple(choices) == (NONE_OF_THEM,):
            choices = ()
        if name in self.known:
            if not choices and self.known[name].labels.exclusive:
                return  # one value holds, and it was not chosen
            self.unknown[name].update(_unknown(self.known[name], choices))
        else:
            self.undeclared[name] += 1
        raw = SEPARATOR.join(choices) or NONE_OF_THEM
        observation = NewObservation(image_id, name, raw, annotation.annotator, annotation.detail)
        self.said.append((annotation.said_at, observation))

    def add_none_of_them(self, asked: Collection[str]) -> None:
        """Add, once all tasks are there, what annotations without a choice say of the multi-label ones of `asked`."""
        asked = asked or self._controls & self.known.keys() or self.known.keys()
        for name in sorted(asked):
            if not self.known[name].labels.exclusive:
                for image_id, annotation in self._empty:
                    self.without_choice[name] += 1
                    self._add(image_id, annotation, name, ())


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
