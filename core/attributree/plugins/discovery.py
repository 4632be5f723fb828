"""Finding plugins: installed distributions, and one-file plugins in folders."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from . import hookspecs
from .calls import BrokenError, Plugin, PluginInfo

#: What the modules of one-file plugins are called before a hash of their path.
_PREFIX: Final = "attributree_plugin_dir_"


def installed() -> Iterator[Plugin]:
    """Yield the plugins of the installed distributions.

    `importlib.metadata.entry_points()` is not used: one malformed entry_points.txt anywhere makes it raise.
    """
    seen: set[str] = set()
    for distribution in metadata.distributions():
        if f"[{hookspecs.PROJECT}]" not in (distribution.read_text("entry_points.txt") or ""):
            continue
        name, version = _identity(distribution)
        if name is not None and canonicalize_name(name) in seen:  # shadowed by one earlier on sys.path
            continue
        seen.add(canonicalize_name(name or ""))
        try:
            chosen = [point for point in distribution.entry_points if point.group == hookspecs.PROJECT]
        except Exception as error:  # whatever the parser stumbles over
            reason = f"its entry_points.txt is malformed ({error}); reinstall it"
            yield Plugin(PluginInfo(name or "?", name, version), _raiser(reason))
        else:
            yield from map(from_entry_point, chosen)


def _identity(distribution: metadata.Distribution | None) -> tuple[str | None, str | None]:
    """Return name and version of a distribution, None where its metadata lack them."""
    if distribution is None:
        return None, None
    fields = dict(distribution.metadata.items())  # type: ignore[attr-defined]  # an email.message.Message
    return fields.get("Name") or None, fields.get("Version") or None


def from_entry_point(point: metadata.EntryPoint) -> Plugin:
    """Return the plugin that an entry point names, not imported yet."""
    name, version = _identity(point.dist)
    return Plugin(PluginInfo(point.name, name, version), point.load, distribution=point.dist)


def from_folder(folder: Path) -> Iterator[Plugin]:
    """Yield the one-file plugins of `folder`: every *.py that does not begin with an underscore."""
    if not folder.is_dir():
        reason = "no such folder; mend plugin_dirs in the [plugins] section"
        yield Plugin(PluginInfo(folder.name, str(folder)), _raiser(reason))
        return
    for path in folder.glob("*.py"):
        if not path.name.startswith("_"):
            yield Plugin(PluginInfo(path.stem, str(path)), partial(_import_file, path), file=path)


def given(name: str, plugin: object) -> Plugin:
    """Return a plugin that is there already, under the name that it was given."""
    return Plugin(PluginInfo(name), lambda: plugin)


def _raiser(reason: str) -> Callable[[], object]:
    """Return a loader for what cannot be loaded."""

    def load() -> object:
        raise BrokenError(reason)

    return load


def _import_file(path: Path) -> object:
    """Import one file under a private module name, so that it can shadow nothing."""
    name = f"{_PREFIX}{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a *.py path always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def imported_files() -> tuple[Path, ...]:
    """Return the one-file plugins that this process has imported and that are still there."""
    files = (Path(str(module.__file__)) for name, module in sys.modules.items() if name.startswith(_PREFIX))
    return tuple(file for file in files if file.exists())


def import_files(files: tuple[Path, ...]) -> None:
    """Import one-file plugins, so that what another process made of their classes can be read here."""
    for file in files:
        _import_file(file)
