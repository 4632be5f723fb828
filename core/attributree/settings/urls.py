"""Paths in URLs of SQLite. A folder may be called `a%20b` or `what?`: left as it is, a URL would name another one."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

#: Characters of a path that mean something else in a URL.
_NOT_IN_URL: Final = re.compile("[%?]")


def quote_path(path: str) -> str:
    """Return a path as it stands in a URL of SQLite; it stays readable, and may hold bytes that are no text.

    >>> quote_path("/shops/what?/a%20b/größe #1.db")
    '/shops/what%3F/a%2520b/größe #1.db'
    """
    return _NOT_IN_URL.sub(lambda found: f"%{ord(found[0]):02X}", path)


def unquote_path(path: str) -> str:
    """Return the path that a URL of SQLite names."""
    return unquote(path)
