"""Who is doing this, and with what code, for the record."""

from __future__ import annotations

import getpass
from importlib.metadata import version
from typing import Any

from ..plugins import LoadedPlugins


def actor() -> str:
    """Return the name of the user, as far as the system tells."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def versions(plugins: LoadedPlugins) -> dict[str, str]:
    """Return the versions of the plugins at work, by distribution; one-file plugins have none."""
    working = [info for info in plugins.plugins if info.status == "ok"]
    return {info.distribution: info.version for info in working if info.distribution and info.version}


def made_with(plugins: LoadedPlugins) -> dict[str, Any]:
    """Return the code that trees are made with: of attributree, of what it computes with, and of the plugins."""
    code = {name: version(name) for name in ("attributree", "torch", "timm")}
    return {**code, "plugins": versions(plugins)}
