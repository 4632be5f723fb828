"""watch: sync whenever the catalogue has something new."""

from __future__ import annotations

import signal
import threading
import time

import click

from ..errors import AttributreeError
from ..reports import BLOCKED
from .group import Options, cli, pass_options
from .output import Reporter, say
from .sync import Told, executor_options

#: How long one wait for the database may take before it is asked whether to stop.
_WAIT_SECONDS = 1.0


@cli.command()
@click.option(
    "--interval",
    default=300.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Seconds between two syncs while nothing new is said.",
)
@executor_options
@pass_options
def watch(options: Options, interval: float, executor: str, processes: int) -> None:
    """Sync whenever the database says so: at once after new labels, and every INTERVAL seconds anyway.

    Plugins are looked for anew each time, so that one installed meanwhile is found; a newer version of one that is
    already imported needs a restart. What fails is said and tried again. Ends on SIGINT or SIGTERM, after the sync
    that is under way.
    """
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    say(f"watching; a sync every {interval:g} s, and after new labels. Ctrl-C ends it")
    while not stop.is_set():
        revision = _sync(options, executor, processes)
        due = time.monotonic() + interval
        while not stop.is_set() and time.monotonic() < due:
            if revision is None:  # the catalogue could not be read: there is nothing to wait for but time
                stop.wait(_WAIT_SECONDS)
            elif _news(options, revision, min(_WAIT_SECONDS, due - time.monotonic())):
                break


def _sync(options: Options, executor: str, processes: int) -> int | None:
    """Sync once and tell what came of it; return the revision that was looked at, None if it failed."""
    try:
        told = Told()
        with options.workspace() as workspace, Reporter() as reporter:
            revision = workspace.labels.revision()
            report = workspace.sync(
                executor=executor,
                processes=processes,
                progress=reporter,
                done=lambda result: None if result.status == BLOCKED else say(told.line(result)),
            )
            if report.results and report.version:
                say(f"tree version {report.version} is live")
            return revision
    except AttributreeError as error:
        say(f"error: {error}", always=True)
        return None


def _news(options: Options, revision: int, seconds: float) -> bool:
    """Wait until there is a newer revision than `revision`; return whether there is."""
    try:
        with options.workspace() as workspace:
            return workspace.labels.wait_for_news(revision, seconds)
    except AttributreeError as error:
        say(f"error: {error}", always=True)
        time.sleep(seconds)
        return False
