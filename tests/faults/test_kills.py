"""SIGKILL at random moments of a sync: what is live always loads, and nothing is left behind. More in `make soak`."""

import random
import shutil
import time

import pytest

from attributree import Workspace
from attributree.sync.data import TrainingData
from attributree.sync.promote import load_live
from support.databases import end_leases
from support.projects import Project

#: In each database. What is killed is retraining: once all is live, a plain sync would have nothing to do.
KILLS = 6


def check_live(workspace: Workspace) -> None:
    """Raise AssertionError unless the live tree, if there is one, loads with every branch."""
    live = load_live(TrainingData(workspace.catalog, workspace.settings, workspace.plugins))
    assert live is None or not live.loaded.missing


@pytest.mark.both_databases("a kill leaves transactions open")
@pytest.mark.timeout(1800)
def test_kills_of_a_sync_lose_nothing(project: Project, soak: int) -> None:
    draw = random.Random(soak)
    project.settings(training={"epochs": 3})
    with project.open() as workspace:
        began = time.monotonic()
        assert project.start("sync-catalog").end().code == 0
        length = time.monotonic() - began
        shutil.rmtree(project.folder / "cache")  # so that every part of the work can be hit
        kills = 0
        while kills < KILLS * soak:
            process = project.start("sync-catalog", "--retrain", draw.choice(["garment", "sleeves"]))
            if process.join(draw.uniform(0, min(length, 1.5))) is None:
                process.kill()
                kills += 1
            process.end()
            end_leases(project.url)
            check_live(workspace)
        report = workspace.sync()
        assert {result.status for result in report.results} <= {"promoted"}
        workspace.gc()
        assert workspace.gc(dry_run=True).deleted == 0
        stored = {path.stem for path in (project.folder / "artifacts").glob("*/*.safetensors")}
        assert stored == workspace.registry.named_parts()
        assert not list((project.folder / "artifacts").glob("*/.partial-*"))
        assert workspace.registry.training() == {}
        check_live(workspace)
        assert workspace.plan().actions == ()
        assert len(workspace.predict([image.file for image in workspace.labels.images()[:3]])) >= 3
