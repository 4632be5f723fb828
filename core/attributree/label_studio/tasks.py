"""Label Studio's files, outwards: tasks with predictions and reviews, and the labelling configuration to show them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from sqlalchemy import Connection, select

from ..catalog import Catalog
from ..database.tables import LabelColumn, Observation, Revision, VoiceRow
from ..errors import CatalogError, UnknownNameError
from ..labels.annotations import newest_last
from ..labels.export import pages
from ..labels.queries import annotated
from ..labels.records import PredictionRecord, TaskSummary
from ..labels.schemas import declared
from ..labels.writers import replacing
from ..registry.predictions import load as load_predictions
from ..schema import NOT_APPLICABLE, SEPARATOR, Attribute
from .files import IMAGE

#: The cause of revisions that hold an annotation of Label Studio's; their details are JSON.
CAUSE = "label-studio"
#: Where Label Studio serves files of its own machine, below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
LOCAL_FILES = "/data/local-files/?d="


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Which tasks to write. `prefix` goes before the percent-encoded path of an image.

    `only_review` leaves out images without a prediction that waits for review; `reviews` adds what observations of
    that source say, as annotations.
    """

    attributes: tuple[str, ...] = ()
    only_review: bool = False
    prefix: str = LOCAL_FILES
    reviews: str | None = None


def labelling_config(attributes: Iterable[Attribute]) -> str:
    """Return the labelling configuration in XML: one group of choices for each attribute.

    Titles are shown, keys are stored; "not applicable" is one more choice.
    """
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true")
    ElementTree.SubElement(view, "Text", name="title", value="$title")
    for attribute in attributes:
        choice = "multiple" if attribute.labels.kind == "multi" else "single"
        ElementTree.SubElement(view, "Header", value=attribute.title)
        group = {"name": attribute.name, "toName": IMAGE, "choice": choice, "showInline": "true"}
        choices = ElementTree.SubElement(view, "Choices", group)
        for value in attribute.labels.values:
            ElementTree.SubElement(choices, "Choice", value=value.title, alias=value.key)
        ElementTree.SubElement(choices, "Choice", value="Not applicable", alias=NOT_APPLICABLE)
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def asked(catalog: Catalog, wanted: Sequence[str] = ()) -> list[Attribute]:
    """Return the declared attributes, by name, or those `wanted`. Raises UnknownNameError, or CatalogError for none."""
    return catalog.labels.read(lambda connection: _asked(connection, wanted))


def _asked(connection: Connection, wanted: Sequence[str]) -> list[Attribute]:
    known = {name: attribute for name, (_, attribute) in sorted(declared(connection).items())}
    if not known:
        raise CatalogError("no attribute is declared in the catalogue yet; run sync-catalog first")
    for name in wanted:
        if name not in known:
            raise UnknownNameError(f"attribute {name!r} is not declared in the catalogue (there: {', '.join(known)})")
    return [known[name] for name in dict.fromkeys(wanted)] if wanted else list(known.values())


def export_tasks(
    catalog: Catalog,
    file: Path,
    options: TaskOptions | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> TaskSummary:
    """Write tasks of the images in state ok to `file`, which is there whole or not at all, in bounded memory."""
    return catalog.labels.read(lambda connection: _export(connection, file, options or TaskOptions(), progress))


def _export(
    connection: Connection, file: Path, options: TaskOptions, progress: Callable[[int], None] | None
) -> TaskSummary:
    attributes = _asked(connection, options.attributes)
    tasks = predictions = annotations = 0
    with replacing(file) as partial, partial.open("w", encoding="utf-8", newline="\n") as opened:
        for images in pages(connection, state="ok"):
            for task in _tasks(connection, images, attributes, options):
                opened.write(",\n" if tasks else "[\n")
                opened.write(json.dumps(task, ensure_ascii=False))
                tasks += 1
                predictions += sum(len(prediction["result"]) for prediction in task["predictions"])
                annotations += len(task.get("annotations", ()))
            if progress is not None:
                progress(tasks)
        opened.write("\n]\n" if tasks else "[]\n")
    return TaskSummary(str(file), tuple(attribute.name for attribute in attributes), tasks, predictions, annotations)


def _tasks(
    connection: Connection, images: Sequence[Any], attributes: Sequence[Attribute], options: TaskOptions
) -> Iterator[dict[str, Any]]:
    gaps = _gaps(connection, [image.id for image in images], [attribute.name for attribute in attributes])
    reviews = _reviews(connection, images, attributes, options.reviews) if options.reviews else {}
    for image in images:
        predicted = gaps.get(image.id, [])
        if options.only_review and not any(record.decision == "review" for record in predicted):
            continue
        data = {IMAGE: options.prefix + quote(image.path), "path": image.path, "image_id": image.id, "sku": image.sku}
        data |= {"article_type": image.article_type, "title": image.title}
        task: dict[str, Any] = {"data": data, "predictions": list(_predictions(predicted))}
        if options.reviews is None:
            yield task
            continue
        # An image that several projects asked about was a task in each.
        for number, said in (reviews.get(image.id) or {None: []}).items():
            yield {**task, "annotations": said} | ({} if number is None else {"id": number})


def _gaps(connection: Connection, ids: Sequence[int], names: Sequence[str]) -> dict[int, list[PredictionRecord]]:
    """Return the predictions for what is unknown or ambiguous, by image."""
    gaps: dict[int, list[PredictionRecord]] = {}
    for name in names:
        known = annotated(connection, name, ids)
        for record in load_predictions(connection, name, ids):
            now = known.get(record.image_id)
            if record.values and (now is None or now.state == "ambiguous"):
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
    connection: Connection, images: Sequence[Any], attributes: Sequence[Attribute], source: str
) -> dict[int, dict[Any, list[dict[str, Any]]]]:
    """Return what reviewers say of a page of images, as annotations by image and number of the task."""
    names = {column: attribute.name for attribute in attributes for column in attribute.columns}
    order = {name: position for position, name in enumerate(names.values())}
    query = (
        select(Observation.image_id, LabelColumn.name, Observation.raw, VoiceRow.annotator)
        .add_columns(Revision.cause, Revision.detail)
        .join(LabelColumn, LabelColumn.id == Observation.column_id)
        .join(VoiceRow, VoiceRow.id == Observation.voice_id)
        .join(Revision, Revision.id == Observation.revision)
        .where(Observation.image_id.between(images[0].id, images[-1].id))
        .where(VoiceRow.source == source, LabelColumn.name.in_(names))
        .order_by(*newest_last([attribute.columns for attribute in attributes]))
    )
    standing = {(row.image_id, row.annotator, names[row.name]): row for row in connection.execute(query)}
    made: dict[tuple[int, Any, Any, str | None], dict[str, Any]] = {}
    for (image_id, annotator, name), row in sorted(standing.items(), key=lambda item: order[item[0][2]]):
        told: Mapping[str, Any] = json.loads(row.detail) if row.cause == CAUSE else {}
        key = (image_id, told.get("task"), told.get("annotation"), annotator)
        annotation = made.setdefault(key, _annotation(told, annotator))
        annotation["result"].append(_result(name, row.raw.split(SEPARATOR), told.get("regions", {}).get(row.name)))
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
