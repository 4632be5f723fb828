"""Label Studio's exports to tasks, JSON and JSON-MIN, one task at a time. Pure; `reviews` stores them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from attributree.errors import IngestError
from attributree.schema import SEPARATOR, reserved_column, whole

#: Name of the one object tag, and of the data that it shows.
IMAGE = "image"

#: Characters of the file that are read at once, and of a task at most.
_BLOCK, _MAX_TASK = 1 << 20, 4_000_000
_BETWEEN = re.compile(r"[\s,]*")


@dataclass(frozen=True)
class StudioAnnotation:
    """What one annotator chose in one task, by attribute, and the ids of regions that are not named after it.

    No choices for an attribute say none of its values. `unread` are answers that are no choices, as (control, kind).
    """

    task: int | str | None
    id: int | str | None
    annotator: str | None
    updated_at: str
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    regions: dict[str, str] = field(default_factory=dict)
    unread: list[tuple[str, str]] = field(default_factory=list)

    @property
    def without_choice(self) -> bool:
        """Whether it was submitted with nothing chosen, marked or written."""
        return not self.choices and not self.unread

    @property
    def said_at(self) -> datetime | None:
        """When the annotator last changed it, None if the export does not say."""
        return said_at(self.updated_at)

    @property
    def detail(self) -> str:
        """What is kept of it with its observations: the detail of their revision."""
        kept = {"task": self.task, "annotation": self.id, "updated_at": self.updated_at, "regions": self.regions}
        return json.dumps({name: value for name, value in kept.items() if value not in (None, "", {})})


@dataclass(frozen=True)
class StudioTask:
    """One task: by which names its image may be known, and what was said of it.

    `controls` are those that its annotations and predictions name.
    """

    number: int
    paths: tuple[str, ...]
    image_id: int | None
    annotations: tuple[StudioAnnotation, ...]
    skipped: int
    controls: frozenset[str]


def said_at(text: str) -> datetime | None:
    """Return the time that an export writes so, None if it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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
            str(annotation.get("updated_at") or annotation.get("created_at") or ""),
        )
        for item in _list(annotation.get("result", []), "result"):
            result = _dict(item, "result")
            kind = str(result.get("type"))
            if kind not in _READ:
                made.unread.append((str(result.get("from_name") or kind), kind))
                continue
            name = _text(result.get("from_name"), "from_name")
            if reserved_column(name):
                raise _UnfitError(f"from_name {name!r} is a reserved column of label files; rename the control")
            region = _text(result.get("id") or name, "result.id")
            made.choices[name] = _READ[kind](_dict(result.get("value"), "value").get(kind))
            made.regions.update({} if region == name else {name: region})
        said.append(made)
    predicted = [_dict(made, "predictions") for made in _list(task.get("predictions") or [], "predictions")]
    controls = _controls([*given, *predicted])
    return StudioTask(number, _paths(data), _image_id(data), tuple(said), skipped, controls)


def _controls(answers: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return the controls that annotations or predictions have an answer for."""
    results = (item for answer in answers for item in answer.get("result") or ())
    return frozenset(str(item.get("from_name")) for item in results if isinstance(item, dict))


def _minimal(number: int, task: Mapping[str, Any], attributes: set[str]) -> StudioTask:
    """Return a task of JSON-MIN, where choices stand beside the task's data, under the names of attributes."""
    said = StudioAnnotation(
        _id(task.get("id"), "id"),
        _id(task.get("annotation_id"), "annotation_id"),
        _annotator(task.get("annotator")),
        str(task.get("updated_at") or task.get("created_at") or ""),
    )
    controls = frozenset(attributes & task.keys())
    for name in sorted(controls):
        match task[name]:
            case str() as value:
                said.choices[name] = _choices([value])
            case int() | float() as value if not isinstance(value, bool):
                said.choices[name] = _number(value)
            case {"choices": value}:
                said.choices[name] = _choices(value)
            case [list(), *_] as value:
                said.choices[name] = _taxonomy(value)
            case [dict() as region, *_]:
                said.unread.append((name, next((key for key in region if key.endswith("labels")), "regions")))
            case list() | None as value:
                said.choices[name] = _choices(value)
            case value:
                said.unread.append((name, type(value).__name__))
    return StudioTask(number, _paths(task), _image_id(task), (said,), 0, controls)


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


def _taxonomy(value: object) -> tuple[str, ...]:
    """Return the last word of each path that was chosen in a tree."""
    paths = [_list(path, "taxonomy") for path in _list(value or [], "taxonomy")]
    return _choices([path[-1] for path in paths if path])


def _number(value: object) -> tuple[str, ...]:
    """Return a number of stars, or one that was typed, as label files have it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _UnfitError(f"{value!r} is no number")
    return (whole(str(value)),)


#: How an answer of each kind is read; other kinds are named.
_READ: Mapping[str, Callable[[object], tuple[str, ...]]] = {
    "choices": _choices,
    "taxonomy": _taxonomy,
    "rating": _number,
    "number": _number,
}


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
