"""The loop: seeded by epoch, resumed where it was, on one process or several."""

import json
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attributree.errors import ConfigError, TrainingError
from attributree.settings.models import BranchSettings
from attributree.training.checkpoint import Checkpoints, Fit
from attributree.training.data import Share
from attributree.training.loop import run_loop, seed_everything, start
from support.processes import Started


class Toy:
    """A regression with BatchNorm and dropout; `seen` counts the epochs whose batches were asked for."""

    name = "toy"
    steps = 5
    partial = False

    def __init__(self, stop_in: int | None = None) -> None:
        torch.manual_seed(0)
        self.module: nn.Module = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))
        self.groups: Sequence[Mapping[str, Any]] = [{"params": list(self.module.parameters()), "lr": 0.05}]
        self.inputs = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32))
        self.seen = 0
        self.stop_in = stop_in

    def batches(self, rng: np.random.Generator, share: Share) -> Iterator[tuple[Tensor, ...]]:
        self.seen += 1
        for i, first in enumerate(range(0, 40, 8)):
            if self.stop_in == self.seen and i == 2:
                raise KeyboardInterrupt
            yield (self.inputs[share.take(rng.permutation(40)[first : first + 8])],)

    def loss(self, module: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        out: Tensor = module(batch[0])
        return ((out[:, 0] - batch[0].sum(dim=1)) ** 2).mean()

    def validate(self) -> tuple[float, float]:
        with torch.no_grad():
            loss = float(self.loss(self.module, (self.inputs,)))
        return -loss, loss


@pytest.fixture
def toy_recipe() -> BranchSettings:
    return BranchSettings(epochs=6, batch_size=8, device="cpu", checkpoint_seconds=0)


def weights(task: Toy) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in task.module.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def trained(recipe: BranchSettings, **options: Any) -> tuple[Toy, Fit]:
    task = Toy()
    return task, run_loop(task, recipe, phase="whole", **options)


def test_what_was_drawn_before_makes_no_difference(toy_recipe: BranchSettings) -> None:
    first, _ = trained(toy_recipe)
    torch.randn(5)
    second, _ = trained(toy_recipe)
    other, _ = trained(toy_recipe.model_copy(update={"seed": 1}))
    assert equal(weights(first), weights(second))
    assert not equal(weights(first), weights(other))


@pytest.mark.parametrize("epoch", [1, 3, 6])
def test_a_loop_that_was_broken_off_ends_with_the_weights_of_an_unbroken_one(
    epoch: int, toy_recipe: BranchSettings, tmp_path: Path
) -> None:
    unbroken, fit = trained(toy_recipe)
    broken = Toy(stop_in=epoch)
    with pytest.raises(KeyboardInterrupt):
        run_loop(broken, toy_recipe, phase="whole", checkpoints=Checkpoints(tmp_path, "toy", {}))
    resumed = Toy()
    assert run_loop(resumed, toy_recipe, phase="whole", checkpoints=Checkpoints(tmp_path, "toy", {})) == fit
    assert resumed.seen == 7 - epoch
    assert equal(weights(resumed), weights(unbroken))


def test_a_phase_that_has_ended_is_not_trained_again(toy_recipe: BranchSettings, tmp_path: Path) -> None:
    first, fit = trained(toy_recipe, checkpoints=Checkpoints(tmp_path, "toy", {}))
    second, again = trained(toy_recipe, checkpoints=Checkpoints(tmp_path, "toy", {}))
    assert (again, second.seen) == (fit, 0)
    assert equal(weights(first), weights(second))


def test_checkpoints_are_no_oftener_than_asked(toy_recipe: BranchSettings, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "toy", {})
    seldom = toy_recipe.model_copy(update={"checkpoint_seconds": 3600})
    with pytest.raises(KeyboardInterrupt):
        run_loop(Toy(stop_in=4), seldom, phase="whole", checkpoints=checkpoints)
    assert not checkpoints.folder.exists()


def test_bfloat16_trains_and_leaves_float32_weights_and_an_unchanged_forward(toy_recipe: BranchSettings) -> None:
    task, fit = trained(toy_recipe.model_copy(update={"precision": "bfloat16"}))
    exact, _ = trained(toy_recipe)
    assert all(tensor.dtype in (torch.float32, torch.int64) for tensor in task.module.state_dict().values())
    assert not equal(weights(task), weights(exact))
    assert "forward" not in vars(task.module)
    assert fit.loss < 10


def test_precision_can_change_from_one_loop_to_the_next(toy_recipe: BranchSettings) -> None:
    assert start(toy_recipe.model_copy(update={"precision": "bfloat16"})).mixed_precision == "bf16"
    assert start(toy_recipe).mixed_precision == "no"


def test_each_process_takes_its_part_of_a_batch_or_all_of_a_small_one() -> None:
    batch = np.arange(7)
    parts = [Share(rank, 2).take(batch).tolist() for rank in (0, 1)]
    assert parts == [[0, 2, 4, 6], [1, 3, 5]]
    assert Share(1, 2).take(batch[:3]).tolist() == [0, 1, 2]


def test_a_loss_that_is_no_number_ends_the_loop(toy_recipe: BranchSettings) -> None:
    task = Toy()
    task.inputs[3] = torch.nan
    with pytest.raises(TrainingError, match="toy: the loss became nan in epoch 1; nothing was promoted"):
        run_loop(task, toy_recipe, phase="whole")


def test_each_purpose_draws_by_itself() -> None:
    one, other = seed_everything(0, "a").random(), seed_everything(0, "b").random()
    assert one != other
    assert seed_everything(0, "a").random() == one


# -- TensorBoard -----------------------------------------------------------------------------------


def test_tensorboard_gets_every_epoch(toy_recipe: BranchSettings, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(toy_recipe.model_copy(update={"tensorboard": str(tmp_path)}))
    events = EventAccumulator(str(tmp_path / "toy" / "whole")).Reload()
    assert [event.step for event in events.Scalars("train_loss")] == [1, 2, 3, 4, 5, 6]
    assert set(events.Tags()["scalars"]) == {"train_loss", "val_loss", "val_score", "rate"}


def test_without_its_package_tensorboard_is_one_line(
    toy_recipe: BranchSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'attributree\[tensorboard\]'"):
        trained(toy_recipe.model_copy(update={"tensorboard": str(tmp_path)}))


# -- a process that is killed ----------------------------------------------------------------------

CHILD = textwrap.dedent(
    """
    import importlib.util, os, signal, sys
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("toys", sys.argv[1])
    toys = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toys)

    class Killed(toys.Toy):
        def batches(self, rng, share):
            for i, batch in enumerate(super().batches(rng, share)):
                if self.seen == 4 and i == 3:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield batch

    recipe = toys.BranchSettings(epochs=6, batch_size=8, device="cpu", checkpoint_seconds=0)
    toys.run_loop(Killed(), recipe, phase="whole", checkpoints=toys.Checkpoints(Path(sys.argv[2]), "toy", {}))
    """
)


def test_fault_1_killed_in_an_epoch_the_rerun_ends_with_equal_weights(
    toy_recipe: BranchSettings, tmp_path: Path
) -> None:
    assert Started(CHILD, [__file__, tmp_path]).end().code == -signal.SIGKILL
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    unbroken, fit = trained(toy_recipe)
    resumed, again = trained(toy_recipe, checkpoints=Checkpoints(tmp_path, "toy", {}))
    torch.set_num_threads(before)
    assert (resumed.seen, again) == (3, fit)
    assert equal(weights(resumed), weights(unbroken))


def test_fault_8_another_identity_is_another_run_and_sweeps_the_former(
    toy_recipe: BranchSettings, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_loop(Toy(stop_in=4), toy_recipe, phase="whole", checkpoints=Checkpoints(tmp_path, "toy", {"schema": "a"}))
    assert len(list(tmp_path.iterdir())) == 1
    changed, _ = trained(toy_recipe, checkpoints=Checkpoints(tmp_path, "toy", {"schema": "b"}))
    fresh, _ = trained(toy_recipe)
    assert changed.seen == 6
    assert equal(weights(changed), weights(fresh))
    assert len(list(tmp_path.iterdir())) == 1


def test_runs_of_other_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "branch-sleeve-0123456789abcdef").mkdir()
    Checkpoints(tmp_path, "branch-sleeve_length", {})
    Checkpoints(tmp_path, "branch", {})
    assert (tmp_path / "branch-sleeve-0123456789abcdef").is_dir()


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"{}" * 99])
def test_a_torn_checkpoint_begins_the_phase_again(
    damage: Callable[[bytes], bytes], toy_recipe: BranchSettings, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path, "toy", {})
    first, _ = trained(toy_recipe, checkpoints=checkpoints)
    (file,) = checkpoints.folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    again, _ = trained(toy_recipe, checkpoints=checkpoints)
    assert again.seen == 6
    assert equal(weights(first), weights(again))


def test_a_checkpoint_of_another_module_begins_the_phase_again(toy_recipe: BranchSettings, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "toy", {})
    with pytest.raises(KeyboardInterrupt):
        run_loop(Toy(stop_in=3), toy_recipe, phase="whole", checkpoints=checkpoints)
    wider = Toy()
    wider.module = nn.Sequential(nn.Linear(4, 9), nn.BatchNorm1d(9), nn.Linear(9, 1))
    run_loop(wider, toy_recipe, phase="whole", checkpoints=checkpoints)
    assert wider.seen == 6


def test_a_full_disk_is_one_line(toy_recipe: BranchSettings, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    with pytest.raises(TrainingError, match="cannot be written"):
        trained(toy_recipe, checkpoints=Checkpoints(tmp_path / "runs", "toy", {}))


def test_a_run_that_is_forgotten_leaves_nothing(toy_recipe: BranchSettings, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, "toy", json.loads('{"labels": 3}'))
    trained(toy_recipe, checkpoints=checkpoints)
    assert checkpoints.folder.is_dir()
    checkpoints.forget()
    assert list(tmp_path.iterdir()) == []
