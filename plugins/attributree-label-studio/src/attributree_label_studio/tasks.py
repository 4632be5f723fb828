"""Label Studio's files, outwards: tasks with predictions and reviews, and the labelling configuration to show them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from attributree import Attribute, Workspace
from attributree.errors import CatalogError, UnknownNameError
from attributree.labels.records import ImageRecord, PredictionRecord
from attributree.labels.writers import replacing
from attributree.schema import NONE_OF_THEM, NOT_APPLICABLE, SEPARATOR

from .files import IMAGE

#: The cause of revisions that hold an annotation of Label Studio's; their details are JSON.
CAUSE = "label-studio"
#: Where Label Studio serves files of its own machine, below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
LOCAL_FILES = "/data/local-files/?d="


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which tasks to write. `prefix` goes before the percent-encoded path of an image; a URL stays as it is.

    `only_review` leaves out images without a prediction that waits for review; `reviews` adds what observations of
    that source say, as annotations.
    """

    attributes: tuple[str, ...] = ()
    only_review: bool = False
    prefix: str = LOCAL_FILES
    reviews: str | None = None


@dataclass(frozen=True)
class TaskSummary:
    """What was written: tasks, and in them predicted and reviewed answers."""

    file: str
    attributes: tuple[str, ...]
    tasks: int
    predictions: int
    annotations: int

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-ready data."""
        return asdict(self)


def labelling_config(attributes: Iterable[Attribute]) -> str:
    """Return the labelling configuration in XML: one group of choices for each attribute.

    Titles are shown, keys are stored; "not applicable" is one more choice, and of a multi-label attribute none of them.
    """
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true")
    ElementTree.SubElement(view, "Text", name="title", value="$title")
    for attribute in attributes:
        choice = "single" if attribute.labels.exclusive else "multiple"
        ElementTree.SubElement(view, "Header", value=attribute.title)
        group = {"name": attribute.name, "toName": IMAGE, "choice": choice, "showInline": "true"}
        choices = ElementTree.SubElement(view, "Choices", group)
        for value in attribute.labels.values:
            ElementTree.SubElement(choices, "Choice", value=value.title, alias=value.key)
        if not attribute.labels.exclusive:
            ElementTree.SubElement(choices, "Choice", value="None of them", alias=NONE_OF_THEM)
        ElementTree.SubElement(choices, "Choice", value="Not applicable", alias=NOT_APPLICABLE)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def declared_attributes(workspace: Workspace, names: Sequence[str] = ()) -> list[Attribute]:
    """Return the declared attributes, by name, or those of `names`.

    Raises UnknownNameError, or CatalogError if none is declared.
    """
    found = workspace.labels.attributes()
    known = {name: attribute.today for name, attribute in found.items() if attribute.state == "declared"}
    if not known:
        raise CatalogError("no attribute is declared in the catalogue yet; run sync-catalog first")
    for name in names:
        if name not in known:
            raise UnknownNameError(f"attribute {name!r} is not declared in the catalogue (there: {', '.join(known)})")
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())


def export_tasks(
    workspace: Workspace,
    file: Path,
    options: TaskOptions | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> TaskSummary:
    """Write tasks of the images in state ok to `file`, which is there whole or not at all, in bounded memory.

    Raises CatalogError and UnknownNameError.
    """
    options = options or TaskOptions()
    names = tuple(attribute.name for attribute in declared_attributes(workspace, options.attributes))
    tasks = predictions = annotations = 0
    with replacing(file) as partial, partial.open("w", encoding="utf-8", newline="\n") as opened:
        for images in workspace.labels.pages(state="ok"):
            for task in _tasks(workspace, images, names, options):
                opened.write(",\n" if tasks else "[\n")
                opened.write(json.dumps(task, ensure_ascii=False))
                tasks += 1
                predictions += sum(len(prediction["result"]) for prediction in task["predictions"])
                annotations += len(task.get("annotations", ()))
            if progress is not None:
                progress(tasks)
        opened.write("\n]\n" if tasks else "[]\n")
    return TaskSummary(str(file), names, tasks, predictions, annotations)


def _tasks(
    workspace: Workspace, images: Sequence[ImageRecord], names: Sequence[str], options: TaskOptions
) -> Iterator[dict[str, Any]]:
    ids = [image.id for image in images]
    gaps = _gaps(workspace, ids, names)
    reviews = _reviews(workspace, ids, names, options.reviews) if options.reviews else {}
    for image in images:
        predicted = gaps.get(image.id, [])
        if options.only_review and not any(record.decision == "review" for record in predicted):
            continue
        shown = image.path if isinstance(image.file, str) else options.prefix + quote(image.path)
        data = {IMAGE: shown, "path": image.path, "image_id": image.id, "sku": image.sku}
        data |= {"article_type": image.article_type, "title": image.title}
        task: dict[str, Any] = {"data": data, "predictions": list(_predictions(predicted))}
        if options.reviews is None:
            yield task
            continue
        # An image that several projects asked about was a task in each.
        for number, said in (reviews.get(image.id) or {None: []}).items():
            yield {**task, "annotations": said} | ({} if number is None else {"id": number})


def _gaps(workspace: Workspace, ids: Sequence[int], names: Sequence[str]) -> dict[int, list[PredictionRecord]]:
    """Return the predictions for what is unknown or ambiguous, by image; not those of values that were retired."""
    today = {name: set(known.schema.labels.keys) for name, known in workspace.labels.attributes().items()}
    gaps: dict[int, list[PredictionRecord]] = {}
    for name in names:
        known = workspace.labels.annotations(name, ids)
        for record in workspace.registry.predictions(name, ids):
            now = known.get(record.image_id)
            still_said = today[name].issuperset(record.values) and record.decision != "not_applicable"
            if still_said and (now is None or now.state == "ambiguous"):
                gaps.setdefault(record.image_id, []).append(record)
    return gaps


def _predictions(records: Sequence[PredictionRecord]) -> Iterator[dict[str, Any]]:
    """Yield one prediction for each tree version; its score, by which tasks can be ordered, is the least sure one's."""
    by_version: dict[int, list[PredictionRecord]] = {}
    for record in records:
        by_version.setdefault(record.version, []).append(record)
    for version, theirs in by_version.items():
        yield {
            "model_version": f"attributree-{version}",
            "score": round(min(record.confidence for record in theirs), 4),
            "result": [
                {**_result(record.attribute, record.values), "score": round(record.confidence, 4)} for record in theirs
            ],
        }


def _result(name: str, choices: Sequence[str], region: str | None = None) -> dict[str, Any]:
    return {
        "id": region or name,
        "from_name": name,
        "to_name": IMAGE,
        "type": "choices",
        "value": {"choices": list(choices)},
    }


def _reviews(
    workspace: Workspace, ids: Sequence[int], names: Sequence[str], source: str
) -> dict[int, dict[Any, list[dict[str, Any]]]]:
    """Return what reviewers say of a page of images, as annotations by image and number of the task."""
    made: dict[tuple[int, Any, Any, str | None], dict[str, Any]] = {}
    for said in workspace.labels.newest_observations(source, names, ids):
        told: Mapping[str, Any] = json.loads(said.detail) if said.cause == CAUSE else {}
        key = (said.image_id, told.get("task"), told.get("annotation"), said.annotator)
        annotation = made.setdefault(key, _annotation(told, said.annotator))
        region = told.get("regions", {}).get(said.column)
        choices = [] if said.raw == NONE_OF_THEM else said.raw.split(SEPARATOR)
        annotation["result"].append(_result(said.attribute, choices, region))
    found: dict[int, dict[Any, list[dict[str, Any]]]] = {}
    for (image_id, task, _, _), annotation in made.items():
        found.setdefault(image_id, {}).setdefault(task, []).append(annotation)
    return found


def _annotation(told: Mapping[str, Any], annotator: str | None) -> dict[str, Any]:
    annotation: dict[str, Any] = {"result": [], "was_cancelled": False}
    if told.get("annotation") is not None:
        annotation["id"] = told["annotation"]
    if told.get("updated_at"):
        annotation["updated_at"] = told["updated_at"]
    if annotator is not None:
        annotation["completed_by"] = int(annotator) if annotator.removeprefix("-").isdecimal() else {"email": annotator}
    return annotation
