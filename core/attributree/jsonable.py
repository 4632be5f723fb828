"""One way from frozen values to JSON-ready data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any


def jsonable(value: Any) -> Any:
    """Return `value` as dicts, lists, texts, numbers, booleans and None.

    Dataclasses become dicts of their fields, tuples lists, sets sorted lists, times ISO 8601 and paths texts. An object
    with a `to_json()` is asked for it. Bytes of a file's name that are no text become `\\xNN`. Raises TypeError for
    anything else.
    """
    if isinstance(value, str):
        return printable(value)
    if value is None or isinstance(value, int | float):
        return value
    if hasattr(value, "to_json"):
        return jsonable(value.to_json())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: jsonable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(jsonable, value))
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return printable(str(value))
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def printable(text: str) -> str:
    """Return `text` as UTF-8 can hold it: bytes of a file's name that are no text, which Python escapes, as `\\xNN`.

    >>> printable("caf\\udce9.png")
    'caf\\\\xe9.png'
    """
    for errors in ("strict", "surrogateescape"):
        with suppress(UnicodeEncodeError):
            return text.encode(errors=errors).decode(errors="backslashreplace")
    return text.encode(errors="backslashreplace").decode()
