"""Finding plugins, and which of them may be imported.

They are installed distributions, and files in folders. `[plugins] allow` names distributions by version and RECORD,
files by content. A plugin is code that runs with its user's rights, and nothing could hold it back once it is imported,
so `refusal` is asked before.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from ..jsonable import printable
from .calls import BrokenError, Plugin, PluginInfo
from .hookspecs import PROJECT

#: What the modules of one-file plugins are called before a hash of their path.
_PREFIX: Final = "attributree_plugin_dir_"
#: What stands before a digest in an entry of `allow`.
_DIGEST: Final = " sha256:"


def installed() -> Iterator[Plugin]:
    """Yield the plugins of the installed distributions.

    `importlib.metadata.entry_points()` is not used: one malformed entry_points.txt anywhere makes it raise.
    """
    seen: set[str] = set()
    for distribution in metadata.distributions():
        if f"[{PROJECT}]" not in (distribution.read_text("entry_points.txt") or ""):
            continue
        name, version = _identity(distribution)
        if name is not None and canonicalize_name(name) in seen:  # shadowed by one earlier on sys.path
            continue
        seen.add(canonicalize_name(name or ""))
        try:
            chosen = [point for point in distribution.entry_points if point.group == PROJECT]
        except Exception as error:  # the parser has no error of its own
            reason = f"its entry_points.txt is malformed ({error}); reinstall it"
            yield Plugin(PluginInfo(name or "?", name, version), partial(_cannot_load, reason))
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
        yield Plugin(PluginInfo(folder.name, str(folder)), partial(_cannot_load, reason))
        return
    for path in folder.glob("*.py"):
        if not path.name.startswith("_"):
            yield Plugin(PluginInfo(printable(path.stem), printable(str(path))), partial(_import_file, path), file=path)


def _cannot_load(reason: str) -> object:
    raise BrokenError(reason)


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


# -- what may be imported --------------------------------------------------------------------------


def refusal(plugin: Plugin, allow: Sequence[str]) -> str | None:
    """Return why a plugin may not be imported, with what to type, or None if it may: everything may without `allow`.

    An entry is `NAME==VERSION`, or `NAME==VERSION sha256:DIGEST` of the distribution's RECORD, whose files are then
    compared with it; for a one-file plugin `FILE.py sha256:DIGEST` of the file. An object that a program passes to
    `load_plugins` is imported already, and always allowed.
    """
    if not allow:
        return None
    if plugin.file is not None:
        return _refuse_file(plugin.file, allow)
    if plugin.distribution is not None:
        return _refuse_distribution(plugin, plugin.distribution, allow)
    return None


def _refuse_file(file: Path, allow: Sequence[str]) -> str | None:
    wanted = f"{file.name}{_DIGEST}{hashlib.sha256(file.read_bytes()).hexdigest()}"
    return None if wanted in allow else _not_allowed(wanted, any(e.startswith(f"{file.name}{_DIGEST}") for e in allow))


def _refuse_distribution(plugin: Plugin, distribution: metadata.Distribution, allow: Sequence[str]) -> str | None:
    name, version = plugin.info.distribution or "", plugin.info.version
    bare = f"{name}=={version}"
    record = None if _is_editable(distribution) else _record(distribution)
    digest = hashlib.sha256(record.read_bytes()).hexdigest() if record else None
    known = False
    for entry in allow:
        pin, _, wanted = entry.partition(_DIGEST)
        if canonicalize_name(pin.partition("==")[0]) != canonicalize_name(name):
            continue
        known = True
        if pin.partition("==")[2] != version:
            continue
        if not wanted:
            return None
        if digest is None:
            return (
                f"is allowed by the digest of its RECORD, and has none that covers its code (it is installed in "
                f'editable mode, or not from a wheel); install it from a wheel, or write "{bare}" in allow'
            )
        if wanted == digest:
            return _changed(distribution)
    return _not_allowed(f"{bare}{_DIGEST}{digest}" if digest else bare, known)


def _not_allowed(entry: str, known: bool) -> str:
    why = "is another than allow in the [plugins] section says" if known else "is not in allow in the [plugins] section"
    return f'{why} and was not imported; if you trust it, write there: "{entry}"'


def _is_editable(distribution: metadata.Distribution) -> bool:
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _record(distribution: metadata.Distribution) -> Path | None:
    """Return the RECORD of a distribution, which lists itself; None if it has none."""
    files = distribution.files or []
    return next((Path(str(file.locate())) for file in files if file.name == "RECORD"), None)


def _changed(distribution: metadata.Distribution) -> str | None:
    """Return which file of a distribution is not what its RECORD says, or None."""
    for file in distribution.files or []:
        if file.hash is None:
            continue  # RECORD itself, and compiled files
        path = Path(str(file.locate()))
        found = hashlib.new(file.hash.mode, path.read_bytes()).digest() if path.is_file() else b""
        if base64.urlsafe_b64encode(found).decode().rstrip("=") != file.hash.value:
            return f"has a file that is not what its RECORD says, {path}, and was not imported; reinstall it"
    return None
