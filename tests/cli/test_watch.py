"""watch, as it is started by an init system: it follows the catalogue and ends when it is told to."""

import signal
import time
from collections.abc import Callable

from attributree import Workspace
from support.projects import Project


def until(condition: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for `condition`. Raises AssertionError if it does not come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def test_watch_syncs_after_an_ingest_and_ends_on_sigterm(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    with Workspace.create(project.folder) as workspace:
        watcher = project.start("watch", "--interval", "3600")
        try:
            until(lambda: "garment" in workspace.labels.attributes())  # the first sync finds no labels
            workspace.ingest(project.labels(), images=project.photos)
            until(lambda: workspace.registry.live() is not None)
        finally:
            watcher.send_signal(signal.SIGTERM)
            ended = watcher.end()
        assert (ended.code, ended.out) == (0, "")
        assert "garment: promoted as branch 1" in ended.err
        assert "Traceback" not in ended.err


def test_watch_goes_on_after_an_error(new_project: Callable[..., Project]) -> None:
    project = new_project("garment", catalogue=False)
    watcher = project.start("watch", "--interval", "0.2")  # there is no catalogue yet
    said = [watcher.stderr.readline() for _ in range(3)]
    assert "watching" in said[0]
    assert all("no catalogue there yet" in line for line in said[1:])
    watcher.send_signal(signal.SIGINT)
    assert watcher.end().code == 0
