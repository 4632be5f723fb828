"""SIGKILL at random moments of a sync: what is live always loads, and nothing is left behind. More in `make soak`."""

import multiprocessing
import random
import shutil
import time
from typing import Any

import pytest

from attributree import Workspace
from attributree.sync.data import TrainingData
from attributree.sync.promote import load_live
from support.databases import end_leases
from support.projects import Project

KILLS = 12
#: Retraining is the work: without it there would be nothing to kill once everything is live.
SYNC = """
from attributree import Workspace
with Workspace.open({config!r}) as workspace:
    workspace.sync(retrain={retrain!r})
"""


def check_live(workspace: Workspace) -> None:
    """Raise AssertionError unless the live tree, if there is one, loads with every branch."""
    live = load_live(TrainingData(workspace.catalog, workspace.settings, workspace.plugins))
    assert live is None or not live.loaded.missing


@pytest.fixture
def context() -> multiprocessing.context.ForkServerContext:
    """Processes that have imported the network already, so that a kill hits the work and not the imports."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["attributree.sync.train", "attributree.sync.finetune"])
    return context


@pytest.mark.both_databases("a kill leaves transactions open")
@pytest.mark.timeout(1800)
def test_kills_of_a_sync_lose_nothing(project: Project, context: Any, soak: int) -> None:
    draw = random.Random(soak)
    project.settings(training={"epochs": 3})
    with project.open() as workspace:
        began = time.monotonic()
        first = context.Process(target=exec, args=(SYNC.format(config=str(project.config), retrain=[]),))
        first.start()
        first.join(120)
        length = time.monotonic() - began
        assert first.exitcode == 0
        shutil.rmtree(project.folder / "cache")  # so that every part of the work can be hit
        kills = 0
        while kills < KILLS * soak:
            code = SYNC.format(config=str(project.config), retrain=[draw.choice(["garment", "sleeves"])])
            process = context.Process(target=exec, args=(code,))
            process.start()
            process.join(draw.uniform(0, min(length, 1.5)))
            if process.exitcode is None:
                process.kill()
                kills += 1
            process.join(60)
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
