"""Faults 1, 2 and 8: a training that is killed is taken up where it was, and ends as if nothing had happened."""

import copy
import importlib
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from attributree.errors import TrainingError
from attributree.label_set import LabelSet
from attributree.nn.trunk import MAPS
from attributree.schema import Attribute, SingleLabel
from attributree.settings.models import BranchSettings
from attributree.training.checkpoint import Checkpoints
from attributree.training.data import Samples
from attributree.training.donors import Donor
from attributree.training.executors import Torchrun
from attributree.training.grow import Grown, grow
from support.databases import end_leases
from support.projects import Project


def parts(project: Project) -> dict[str, Sequence[str]]:
    """Return the digests of every live branch's parts."""
    with project.open() as workspace:
        live = workspace.registry.live()
        assert live is not None
        return {name: branch.parts for name, branch in live.branches.items()} | {"trunk": (live.trunk.digest,)}


def kill_at(project: Project, pattern: str, *options: str) -> None:
    """Start a sync and SIGKILL it when it writes its next checkpoint after one that matches `pattern` is there."""
    runs = project.folder / "cache" / "runs"
    sync = project.start("sync-catalog", *options)
    deadline = time.monotonic() + 120
    first: float | None = None
    while time.monotonic() < deadline and sync.poll() is None:
        written = max((path.stat().st_mtime for path in _checkpoints(runs, pattern)), default=None)
        if first is None:
            first = written
        elif written is not None and written > first:
            break
        time.sleep(0.002)
    sync.send_signal(signal.SIGKILL)
    assert sync.end().code == -signal.SIGKILL, "it ended before it was killed"
    end_leases(project.url)
    assert _checkpoints(runs, pattern), "no checkpoint was left"


def _checkpoints(runs: Path, pattern: str) -> list[Path]:
    return [path for path in runs.glob(pattern) if path.exists()]


def test_fault_1_a_sync_killed_while_its_trunk_is_trained_ends_with_the_same_weights(
    project: Project, grown_once: Project
) -> None:
    project.settings(training={"checkpoint_seconds": 0})
    kill_at(project, "trunk-*/*.safetensors")
    with project.open() as workspace:
        assert workspace.registry.live() is None
        statuses = {result.attribute: result.status for result in workspace.sync().results}
    assert statuses == {"garment": "promoted", "sleeves": "promoted"}
    assert parts(project) == parts(grown_once)
    assert list((project.folder / "cache" / "runs").iterdir()) == []


def test_fault_8_settings_that_changed_after_the_kill_make_a_new_run(
    project: Project, new_project: Callable[..., Project]
) -> None:
    project.settings(training={"checkpoint_seconds": 0})
    kill_at(project, "trunk-*/*.safetensors")
    project.settings(training={"seed": 5, "epochs": 3})
    fresh = new_project("garment", "sleeves")
    fresh.settings(training={"seed": 5, "epochs": 3})
    with fresh.open() as workspace:
        assert workspace.create(fresh.folder)
        workspace.ingest(fresh.labels(), images=fresh.photos)
    for each in (project, fresh):
        with each.open() as workspace:
            workspace.sync()
    assert parts(project) == parts(fresh)


HEAD = """
import os, signal
import torch

class Head(torch.nn.Module):
    calls = 0

    def __init__(self, mark):
        super().__init__()
        self.linear = torch.nn.Linear(8, 3)
        self.mark = mark

    def forward(self, features):
        Head.calls += self.training
        if Head.calls == 14 and os.environ.get("RANK") == "1" and not os.path.exists(self.mark):
            open(self.mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.linear(features.mean(dim=(2, 3)))
"""


@pytest.mark.acceptance
@pytest.mark.usefixtures("forked_workers")
def test_fault_2_one_of_two_training_processes_killed_fails_the_run_and_the_rerun_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a_plugins_head.py").write_text(HEAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    head = importlib.import_module("a_plugins_head").Head
    rng, labels = np.random.default_rng(0), SingleLabel(("crew", "v_neck", "boat"))
    target = np.eye(3, dtype=np.float32)[rng.integers(3, size=120)]
    features = rng.normal(0, 0.3, (120, 8, 2, 2))
    features[:, :3] += 2 * target[:, :, None, None]
    split = np.choose(np.arange(120) % 5, [0, 0, 0, 1, 2]).astype(np.int8)
    said = LabelSet(
        Attribute("neckline", labels),
        1,
        np.arange(120),
        split,
        target,
        np.zeros(120, np.bool_),
        np.ones(120, np.float32),
    )
    samples = Samples((features.astype(np.float16),), np.arange(120)[:, None], said)
    torch.manual_seed(0)
    donors = [Donor("backbone", {"top": nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU())})]
    recipe = BranchSettings(epochs=4, batch_size=16, depth="head", device="cpu", checkpoint_seconds=0)

    def run(folder: str, mark: str) -> Grown:
        torch.manual_seed(1)
        new_head = partial(copy.deepcopy, head(str(tmp_path / mark)))
        checkpoints = Checkpoints(tmp_path, folder, {})
        return Torchrun(2).run(grow, {MAPS: samples}, donors, new_head, recipe, checkpoints=checkpoints)

    (tmp_path / "there").touch()
    unbroken = run("unbroken", "there")
    with pytest.raises(TrainingError, match=r"training process 1 of 2 died \(SIGKILL\); nothing was promoted"):
        run("broken", "killed")
    assert list(tmp_path.glob("broken-*/head.safetensors"))
    resumed = run("broken", "killed")
    weights = unbroken.branch.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in resumed.branch.state_dict().items())
