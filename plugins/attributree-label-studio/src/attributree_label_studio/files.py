"""Label Studio's exports to tasks, JSON and JSON-MIN, one task at a time. Pure; `reviews` stores them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attributree.errors import IngestError
from attributree.schema import RESERVED_COLUMNS, SEPARATOR

#: Name of the one object tag, and of the data that it shows.
IMAGE = "image"

#: Characters of the file that are read at once, and of a task at most.
_BLOCK, _MAX_TASK = 1 << 20, 4_000_000
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class StudioAnnotation:
    """What one annotator chose in one task, by attribute, and the ids of regions that are not named after it."""

    task: int | str | None
    id: int | str | None
    annotator: str | None
    updated_at: str
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)

    @property
    def detail(self) -> str:
        """What is kept of it with its observations: the detail of their revision."""
        kept = {"task": self.task, "annotation": self.id, "updated_at": self.updated_at, "regions": self.regions}
        return json.dumps({name: value for name, value in kept.items() if value not in (None, "", {})})


@dataclass(frozen=True)
class StudioTask:
    """One task: by which names its image may be known, and what was said of it."""

    number: int
    paths: tuple[str, ...]
    image_id: int | None
    annotations: tuple[StudioAnnotation, ...]
    skipped: int


class _UnfitError(Exception):
    """A task has what no export of Label Studio has."""


def read_tasks(file: Path, attributes: set[str]) -> Iterator[StudioTask]:
    """Yield the tasks of an export in JSON or JSON-MIN, of which the latter needs to know the names of `attributes`.

    Raises IngestError naming file and task.
    """
    for number, task in enumerate(_read_array(file), 1):
        if not isinstance(task, dict):
            raise _refused(file, "is not an object with data and annotations", row=number)
        try:
            yield _minimal(number, task, attributes) if "annotation_id" in task else _full(number, task)
        except _UnfitError as problem:
            raise _refused(file, str(problem), row=number) from None


def _refused(file: Path, problem: str, *, row: int | None = None) -> IngestError:
    """Return the error for a file that is refused whole; a task is called a row, as in other files."""
    return IngestError(f"{file}: {problem}" if row is None else f"{file}, row {row}: {problem}")


def _read_array(file: Path) -> Iterator[Any]:
    """Yield the elements of a JSON array one by one: an export may be larger than the memory."""
    decoder = json.JSONDecoder()
    number = 0
    try:
        with file.open(encoding="utf-8-sig") as opened:
            text = opened.read(_BLOCK).lstrip()
            if not text.startswith("["):
                raise _refused(file, "is no array of tasks; export them from Label Studio as JSON or JSON-MIN")
            at = 1
            while True:
                found = _BETWEEN.match(text, at)
                at = found.end() if found else at
                if text.startswith("]", at):
                    return
                try:
                    task, at = decoder.raw_decode(text, at)
                except (ValueError, RecursionError) as error:
                    more = opened.read(_BLOCK) if len(text) - at <= _MAX_TASK else ""
                    if not more:
                        raise _refused(file, f"not JSON, cut short or too long ({error})", row=number + 1) from None
                    text, at = text[at:] + more, 0
                    continue
                number += 1
                yield task
    except UnicodeDecodeError as error:
        raise _refused(file, f"not UTF-8 ({error.reason})", row=number + 1) from None
    except OSError as error:
        raise _refused(file, f"cannot be read: {error.strerror or error}") from None


def _full(number: int, task: Mapping[str, Any]) -> StudioTask:
    data = _dict(task.get("data"), "data")
    said = []
    skipped = 0
    given = [_dict(annotation, "annotations") for annotation in _list(task.get("annotations", []), "annotations")]
    # The last word of an annotator counts, and files are not in order of time.
    for annotation in sorted(given, key=lambda annotation: str(annotation.get("updated_at") or "")):
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            skipped += 1
            continue
        made = StudioAnnotation(
            _id(task.get("id"), "id"),
            _id(annotation.get("id"), "annotations.id"),
            _annotator(annotation.get("completed_by")),
            str(annotation.get("updated_at") or ""),
        )
        for item in _list(annotation.get("result", []), "result"):
            result = _dict(item, "result")
            if result.get("type") == "choices":
                name = _text(result.get("from_name"), "from_name")
                if name in RESERVED_COLUMNS:
                    raise _UnfitError(f"from_name {name!r} is a reserved column of label files; rename the control")
                choices = _choices(_dict(result.get("value"), "value").get("choices"))
                region = _text(result.get("id") or name, "result.id")
                if choices:
                    made.choices[name] = choices
                    made.regions.update({} if region == name else {name: region})
        said.append(made)
    return StudioTask(number, _paths(data), _image_id(data), tuple(said), skipped)


def _minimal(number: int, task: Mapping[str, Any], attributes: set[str]) -> StudioTask:
    """Return a task of JSON-MIN, where choices stand beside the task's data, under the names of attributes."""
    said = StudioAnnotation(
        _id(task.get("id"), "id"),
        _id(task.get("annotation_id"), "annotation_id"),
        _annotator(task.get("annotator")),
        str(task.get("updated_at") or ""),
    )
    for name in sorted(attributes & task.keys()):
        value = task[name]
        chosen = value.get("choices") if isinstance(value, dict) else [value] if isinstance(value, str) else value
        if choices := _choices(chosen):
            said.choices[name] = choices
    return StudioTask(number, _paths(task), _image_id(task), (said,), 0)


def _paths(data: Mapping[str, Any]) -> tuple[str, ...]:
    """Return how the catalogue may know the image: by the path that we wrote, or by what Label Studio shows."""
    shown = data.get(IMAGE)
    local = unquote(shown.partition("?d=")[2]) if isinstance(shown, str) else None
    found = [text for text in (data.get("path"), shown, local) if isinstance(text, str) and text and _storable(text)]
    return tuple(dict.fromkeys(found))


def _image_id(data: Mapping[str, Any]) -> int | None:
    found = data.get("image_id")
    return found if isinstance(found, int) else None


def _annotator(value: object) -> str | None:
    """Return who annotated: an e-mail address where the export has one, else Label Studio's number."""
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    if value is None or value == "":
        return None
    return str(value) if isinstance(value, int) else _text(value, "completed_by")


def _choices(value: object) -> tuple[str, ...]:
    texts = tuple(_text(choice, "choices") for choice in _list(value or [], "choices"))
    for text in texts:
        if SEPARATOR in text:
            raise _UnfitError(f"choice {text!r} holds {SEPARATOR!r}, which separates values; rename it")
    return texts


def _id(value: object, where: str) -> int | str | None:
    if value is None or isinstance(value, int):
        return value
    return _text(value, where)


def _storable(text: str) -> bool:
    """Return whether a database takes `text`: it has no NUL and no half surrogate pair."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or not _storable(value):
        raise _UnfitError(f"{where} is {value!r}, which is no text")
    return value.strip()


def _dict(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _UnfitError(f"{where} is not an object; export the tasks from Label Studio as JSON or JSON-MIN")
    return value


def _list(value: object, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _UnfitError(f"{where} is not a list; export the tasks from Label Studio as JSON or JSON-MIN")
    return value
