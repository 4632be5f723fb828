"""Which plugins may be imported, if `[plugins] allow` says so: distributions by version and RECORD, files by content.

A plugin is code that runs with its user's rights; nothing after its import could hold it back, so this comes before.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from .calls import Plugin

_MARK = " sha256:"


def refusal(plugin: Plugin, allow: Sequence[str]) -> str | None:
    """Return why a plugin may not be imported, with what to type, or None if it may: everything may without `allow`.

    An entry is `NAME==VERSION`, or `NAME==VERSION sha256:DIGEST` of the distribution's RECORD, whose files are then
    compared with it; for a one-file plugin `FILE.py sha256:DIGEST` of the file. An object that a program hands over
    is that program's business.
    """
    if not allow:
        return None
    if plugin.file is not None:
        return _refuse_file(plugin.file, allow)
    if plugin.distribution is not None:
        return _refuse_distribution(plugin, plugin.distribution, allow)
    return None


def _refuse_file(file: Path, allow: Sequence[str]) -> str | None:
    wanted = f"{file.name}{_MARK}{hashlib.sha256(file.read_bytes()).hexdigest()}"
    return None if wanted in allow else _not_allowed(wanted, any(e.startswith(f"{file.name}{_MARK}") for e in allow))


def _refuse_distribution(plugin: Plugin, distribution: metadata.Distribution, allow: Sequence[str]) -> str | None:
    name, version = plugin.info.distribution or "", plugin.info.version
    bare = f"{name}=={version}"
    record = None if _is_editable(distribution) else _record(distribution)
    digest = hashlib.sha256(record.read_bytes()).hexdigest() if record else None
    known = False
    for entry in allow:
        pin, _, wanted = entry.partition(_MARK)
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
    return _not_allowed(f"{bare}{_MARK}{digest}" if digest else bare, known)


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
