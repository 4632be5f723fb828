"""How long plugins take to import, each in a process of its own: here they are imported already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from ..plugins import PluginInfo
from ..plugins.hookspecs import PROJECT

#: A plugin that takes longer to import, seconds, delays every command.
SLOW = 0.3
#: Longest wait for one plugin, seconds.
TIMEOUT = 60.0

# Asking for the attributes belongs to the import: every command does both. What the plugin prints goes to stderr.
_PROBE = """\
import contextlib, importlib.metadata, importlib.util, json, os, sys, time
import attributree
name, source = sys.argv[1:]
start = time.perf_counter()
with contextlib.redirect_stdout(sys.stderr):
    if name:
        plugin = importlib.metadata.EntryPoint(name, source, "attributree").load()
    else:
        spec = importlib.util.spec_from_file_location("plugin_of_one_file", source)
        plugin = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = plugin
        spec.loader.exec_module(plugin)
    attributes = getattr(plugin, "attributree_attributes", None)
    if attributes:
        list(attributes())
print(json.dumps([time.perf_counter() - start, "torch" in sys.modules]), flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class ImportTrial:
    """How long a plugin took to import and to say its attributes, seconds, and whether that imported torch."""

    seconds: float
    torch: bool


def time_imports(plugins: Iterable[PluginInfo]) -> dict[str, ImportTrial]:
    """Return a trial by label of each working plugin that is a file or was installed; one that hangs took TIMEOUT.

    A slow one is tried once more, and the better time counts: the machine may have been busy.
    """
    trials = {}
    for info in plugins:
        source = _source(info) if info.status == "ok" else None
        tried = _try(*source) if source else None
        if source and tried and SLOW < tried.seconds < TIMEOUT:
            again = _try(*source)
            tried = min(tried, again, key=lambda trial: trial.seconds) if again else tried
        if tried:
            trials[info.label] = tried
    return trials


def _source(info: PluginInfo) -> tuple[str, str] | None:
    """Return name and target of a plugin's entry point, or nothing and its path; None for an object in memory."""
    if info.distribution is None:
        return None
    if Path(info.distribution).is_file():
        return "", info.distribution
    try:
        points = metadata.distribution(info.distribution).entry_points
    except metadata.PackageNotFoundError:
        return None
    return next(((point.name, point.value) for point in points.select(group=PROJECT, name=info.name)), None)


def _try(name: str, source: str) -> ImportTrial | None:
    """Return the trial of one plugin; None if it works here and not in a process of its own: no fault of the plugin."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, name, source],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONSAFEPATH": "1"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ImportTrial(TIMEOUT, False)
    if done.returncode or not done.stdout.strip():
        return None
    seconds, torch = json.loads(done.stdout.splitlines()[-1])
    return ImportTrial(seconds, torch)
