"""Who is doing this, for the record."""

from __future__ import annotations

import getpass


def actor() -> str:
    """Return the name of the user, as far as the system tells."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
