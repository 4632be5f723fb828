"""Who is doing this, and with what code, for the record."""

from __future__ import annotations

import getpass
import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..plugins import LoadedPlugins


def actor() -> str:
    """Return the name of the user, as far as the system tells."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def versions(plugins: LoadedPlugins) -> dict[str, str]:
    """Return the versions of the plugins at work, by distribution; of a one-file plugin the SHA-256 of its file."""
    found = {}
    for info in plugins.plugins:
        if info.status == "ok" and info.distribution:
            if info.version:
                found[info.distribution] = info.version
            elif (path := Path(info.distribution)).is_file():
                found[info.distribution] = f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    return found


def made_with(plugins: LoadedPlugins) -> dict[str, Any]:
    """Return the code that trees are made with: of attributree, of what it computes with, and of the plugins."""
    code = {name: version(name) for name in ("attributree", "torch", "timm")}
    return {**code, "plugins": versions(plugins)}
