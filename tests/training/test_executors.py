"""Where training runs: here, or in several processes that share each batch."""

import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from attributree.errors import TrainingError
from attributree.heads import LinearHead
from attributree.nn.heads import HeadFactory
from attributree.nn.trunk import MAPS, PIXELS, Trunk
from attributree.plugins.discovery import from_folder
from attributree.settings.models import BranchSettings
from attributree.training.data import Samples
from attributree.training.donors import Donor
from attributree.training.executors import Inline, Torchrun, make_executor
from attributree.training.grow import grow
from attributree.training.guard import GuardedLoss, HeadError
from attributree.training.loop import start

Make = Callable[..., Samples]


def fail(how: str) -> str:
    """Return, raise or die, as asked."""
    if how == "head":
        raise HeadError("neckline", "KeyError: 'x'")
    if how == "alone":
        accelerator = start(BranchSettings(device="cpu"))
        if os.environ["RANK"] == "1":
            raise TrainingError("neckline: the loss became nan")
        accelerator.wait_for_everyone()
    if how == "killed" and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{how} by {os.environ['RANK']} of {os.environ['WORLD_SIZE']}"


def half(losses: dict[str, GuardedLoss]) -> float:
    """Return what a loss says of two halves."""
    logits, weight = torch.full((2, 1), 0.5), torch.ones(2)
    return float(losses["neckline"](logits, logits, weight, value_weight=None, smoothing=0.0))


ONE_FILE = """
class Loss:
    def __call__(self, logits, target, weight, **how):
        return (logits * weight[:, None]).sum() / weight.sum()
"""


@pytest.mark.acceptance
def test_the_loss_of_a_one_file_plugin_travels_and_one_that_cannot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(ONE_FILE)
    (plugin,) = from_folder(tmp_path)
    module: Any = plugin.load()
    executor = Torchrun(2)
    assert executor.run(half, {"neckline": GuardedLoss("neckline", module.Loss())}) == 0.5
    with pytest.raises(TrainingError, match=r"neckline: its loss cannot be sent to other processes .*lambda.*inline"):
        executor.run(half, {"neckline": GuardedLoss("neckline", lambda *_, **__: torch.ones(()))})


def test_inline_is_a_call() -> None:
    assert Inline().run(max, 2, 3) == 3
    assert make_executor("inline").name == "inline"
    assert make_executor("torchrun", 3).name == "torchrun of 3"


def test_samples_travel_without_what_is_mapped(make_samples: Make, tmp_path: Path) -> None:
    samples = make_samples(n=200, views=2)
    path = tmp_path / "records.bin"
    samples.inputs[0].tofile(path)
    mapped = np.memmap(path, np.float16, "r", shape=samples.inputs[0].shape)
    sent = pickle.dumps(Samples((mapped, mapped), samples.rows, samples.labels))
    assert len(sent) < samples.inputs[0].nbytes
    back = pickle.loads(sent)
    assert np.array_equal(back.inputs[1], samples.inputs[0])
    assert np.array_equal(back.labels.target, samples.labels.target)


def test_a_head_travels_ready_made_and_the_same_each_time(make_samples: Make) -> None:
    factory = HeadFactory(make_samples().labels.attribute, 8)
    one, other = (pickle.loads(pickle.dumps(factory))() for _ in range(2))
    assert isinstance(one, LinearHead)
    assert torch.equal(one.linear.weight, other.linear.weight)


@pytest.mark.acceptance
def test_two_processes_train_one_branch(
    make_samples: Make, make_units: Callable[..., dict[str, nn.Module]], recipe: BranchSettings
) -> None:
    executor, samples = Torchrun(2), make_samples(n=200)
    head = HeadFactory(samples.labels.attribute, 8)
    donors, deep = [Donor("backbone", make_units())], recipe.model_copy(update={"depth": "stage", "epochs": 6})
    grown = executor.run(grow, {MAPS: samples}, donors, head, deep)
    assert grown.scores["val"].macro_f1 > 0.9


@pytest.mark.acceptance
def test_two_processes_decide_alike_how_deep_they_train(
    make_samples: Make, make_units: Callable[..., dict[str, nn.Module]], recipe: BranchSettings
) -> None:
    samples = make_samples(n=200)
    trunk = Trunk({"stem": nn.Conv2d(3, 8, 3, stride=4, padding=1)}, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), ["stem"])
    pictures = np.random.default_rng(0).integers(0, 256, (200, 16, 16, 3), dtype=np.uint8)
    pixels = Samples((pictures,), np.arange(200)[:, None], samples.labels)
    short = recipe.model_copy(update={"epochs": 4})
    head = HeadFactory(samples.labels.attribute, 8)
    both = {MAPS: Samples((samples.inputs[0] * 0.1,), samples.rows, samples.labels), PIXELS: pixels}
    grown = Torchrun(2).run(grow, both, [Donor("backbone", make_units())], head, short, trunk=trunk.eval())
    assert {*grown.depths, *grown.left_out} >= {"head"}
    assert grown.scores["val"].n


@pytest.mark.acceptance
@pytest.mark.usefixtures("forked_workers")
def test_what_goes_wrong_in_a_training_process_is_told() -> None:
    executor = Torchrun(2)
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(HeadError, match="KeyError"):
        executor.run(fail, "head")
    with pytest.raises(TrainingError, match="the loss became nan"):
        executor.run(fail, "alone")  # the other waits for it and must not wait for ever
    with pytest.raises(TrainingError, match=r"training process 1 of 2 died \(SIGKILL\); nothing was promoted"):
        executor.run(fail, "killed")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
