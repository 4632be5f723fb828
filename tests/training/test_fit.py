"""The training loop of one branch, and the batches that it reads."""

import importlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from attributree.errors import ConfigError, TrainingError
from attributree.plugins.hookspecs import Loss
from attributree.schema import MultiLabel, Ordinal
from attributree.settings.models import BranchSettings
from attributree.training.checkpoint import Fit
from attributree.training.data import Samples, pick_device, scratch
from attributree.training.fit import BranchTask, predict_logits
from attributree.training.loop import rate_share, run_loop

loop_module = importlib.import_module("attributree.training.loop")
CPU = torch.device("cpu")
Make = Callable[..., Samples]


class Net(nn.Module):
    """A head of its own on the toy features, with BatchNorm."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm2d(8)
        self.linear = nn.Linear(8, outputs)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.norm(features.float()).mean(dim=(2, 3)))


def run(
    net: nn.Module, samples: Samples, recipe: BranchSettings, seed: int = 0, loss: Loss | None = None, **options: Any
) -> Fit:
    groups: list[dict[str, object]] = [{"params": list(net.parameters()), "lr": recipe.learning_rate}]
    val, seeded = samples.part("val", labelled_only=True), recipe.model_copy(update={"seed": seed})
    task = BranchTask(net, groups, samples.part("train"), val, seeded, loss)
    return run_loop(task, seeded, phase="whole", **options)


def scripted(monkeypatch: pytest.MonkeyPatch, *scores: tuple[float, float]) -> list[dict[str, Tensor]]:
    """Replace the validation of each epoch by (macro-F1, loss); return the weights that each epoch ended with."""
    seen: list[dict[str, Tensor]] = []

    def validate(task: Any, *_: object) -> tuple[float, float]:
        seen.append({name: tensor.clone() for name, tensor in task.module.state_dict().items()})
        return scores[len(seen) - 1]

    monkeypatch.setattr(loop_module, "_validate", validate)
    return seen


def same(weights: dict[str, Tensor], net: nn.Module) -> bool:
    return all(torch.equal(tensor, weights[name]) for name, tensor in net.state_dict().items())


# -- the loop --------------------------------------------------------------------------------------


def test_a_separable_set_is_learnt(make_samples: Make, recipe: BranchSettings) -> None:
    net, samples = Net(), make_samples()
    fitted = run(net, samples, recipe)
    assert fitted.score > 0.95
    assert math.isfinite(fitted.loss)
    assert not net.training


@pytest.mark.parametrize("batch_size", [2, 7, 59, 1000])
def test_any_batch_size_trains(batch_size: int, make_samples: Make, recipe: BranchSettings) -> None:
    fitted = run(Net(), make_samples(), recipe.model_copy(update={"batch_size": batch_size, "epochs": 2}))
    assert math.isfinite(fitted.loss)


def test_the_same_seed_and_data_give_equal_weights(make_samples: Make, recipe: BranchSettings) -> None:
    first, second, other = Net(), Net(), Net()
    run(first, make_samples(), recipe)
    run(second, make_samples(), recipe)
    run(other, make_samples(), recipe, seed=1)
    assert same(first.state_dict(), second)
    assert not same(first.state_dict(), other)


def test_the_best_epoch_s_weights_are_kept(
    make_samples: Make, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, (0.5, 1.0), (0.9, 1.0), (0.7, 0.1), (0.8, 0.1))
    net = Net()
    fitted = run(net, make_samples(), recipe.model_copy(update={"epochs": 4}))
    assert fitted == Fit(epochs=4, best=2, score=0.9, loss=1.0)
    assert same(seen[1], net)
    assert not same(seen[3], net)


def test_the_lower_loss_breaks_a_tie_of_macro_f1(
    make_samples: Make, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, (0.9, 1.0), (0.9, 0.5), (0.9, 0.7))
    assert run(Net(), make_samples(), recipe.model_copy(update={"epochs": 3})).best == 2


def test_training_ends_after_patience_epochs_without_a_better_one(
    make_samples: Make, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, (0.5, 1.0), (0.9, 1.0), *[(0.8, 1.0)] * 20)
    fitted = run(Net(), make_samples(), recipe.model_copy(update={"epochs": 20, "patience": 3}))
    assert (fitted.epochs, fitted.best, len(seen)) == (5, 2, 5)


def test_weights_that_break_in_an_epoch_s_last_step_fail_the_run(make_samples: Make, recipe: BranchSettings) -> None:
    class Late(Net):
        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features) * (1 if self.training else math.nan)

    with pytest.raises(TrainingError, match="neckline: the validation loss became nan; nothing was promoted"):
        run(Late(), make_samples(), recipe)


def test_the_weights_it_began_with_are_epoch_zero(
    make_samples: Make, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = scripted(monkeypatch, (0.9, 1.0), (0.5, 1.0), (0.6, 1.0), (0.7, 1.0))
    net = Net()
    fitted = run(net, make_samples(), recipe, from_start=True, patience=2)
    assert fitted == Fit(epochs=3, best=0, score=0.9, loss=1.0)  # one epoch of warm-up, and two
    assert same(seen[0], net)


def test_progress_is_told_of_every_epoch(make_samples: Make, recipe: BranchSettings) -> None:
    seen = list[int]()
    run(Net(), make_samples(), recipe.model_copy(update={"epochs": 3}), progress=seen.append)
    assert seen == [0, 1, 2, 3]


def test_a_rare_value_is_learnt_with_class_balance(make_samples: Make, recipe: BranchSettings) -> None:
    samples = make_samples(n=200)
    keep = np.flatnonzero((samples.labels.target[:, 2] == 0) | (np.arange(200) % 4 == 0))
    rare = Samples(samples.inputs, samples.rows[keep], samples.labels.take(keep))
    assert run(Net(), rare, recipe).score > 0.9


@pytest.mark.parametrize("labels", [Ordinal(("short", "long")), MultiLabel(("bow", "lace", "zip"))])
def test_every_kind_is_learnt(labels: Ordinal, make_samples: Make, recipe: BranchSettings) -> None:
    assert run(Net(labels.outputs), make_samples(labels), recipe).score > 0.95


def test_ambiguous_labels_alone_are_learnt_from(make_samples: Make, recipe: BranchSettings) -> None:
    samples = make_samples(n=200)
    labels = samples.labels
    also = (labels.target.argmax(axis=1) + 1 + np.arange(200) % 2) % 3  # a wrong candidate beside the right one
    train = labels.split == 0
    labels.target[train, also[train]] = 1
    samples = replace(samples, labels=replace(labels, ambiguous=train))
    assert run(Net(), samples, recipe).score > 0.9


def test_the_learning_rate_rises_over_the_first_tenth_and_falls_to_a_hundredth() -> None:
    shares = [rate_share(step, 100) for step in range(100)]
    assert shares[0] == pytest.approx(0.1)
    assert max(shares) == shares[9] == 1.0
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] == pytest.approx(0.01, abs=0.01)
    assert rate_share(0, 1) == 1.0
    assert rate_share(500, 100) == pytest.approx(0.01)


# -- batches ---------------------------------------------------------------------------------------


def test_without_shuffling_every_sample_comes_once_in_order(make_samples: Make) -> None:
    samples = make_samples(n=21, views=2)
    batches = list(samples.batches(5))
    assert [len(inputs) for inputs, _, _ in batches] == [5, 5, 5, 5, 1]
    assert np.array_equal(torch.cat([inputs for inputs, _, _ in batches]).numpy(), samples.inputs[0])
    assert np.array_equal(torch.cat([target for _, target, _ in batches]).numpy(), samples.labels.target)


def test_a_last_batch_of_one_is_left_out_of_training_only(make_samples: Make) -> None:
    samples = make_samples(n=21)
    sizes = [len(inputs) for inputs, _, _ in samples.batches(5, np.random.default_rng(0))]
    assert sizes == [5, 5, 5, 5]
    lone = samples.take(np.array([3]))
    assert [len(inputs) for inputs, _, _ in lone.batches(5, np.random.default_rng(0))] == [1]


def test_shuffled_batches_draw_a_view_for_each_sample_and_keep_targets_beside_inputs(make_samples: Make) -> None:
    samples = make_samples(n=40, views=2)
    drawn = {0: 0, 1: 0}
    for inputs, target, _ in samples.batches(8, np.random.default_rng(0)):
        for mine, wanted in zip(inputs.numpy(), target.numpy(), strict=True):
            ((view, row),) = [(v, i) for v in (0, 1) for i in range(40) if np.array_equal(samples.inputs[v][i], mine)]
            assert np.array_equal(samples.labels.target[row], wanted)
            drawn[view] += 1
    assert sum(drawn.values()) == 40
    assert min(drawn.values()) > 5


def test_views_may_lie_in_different_rows_of_their_stores(make_samples: Make) -> None:
    samples = make_samples(n=4, views=2)
    crossed = Samples(samples.inputs, np.array([[3, 0], [2, 1]]), samples.labels.take(np.array([0, 1])))
    assert np.array_equal(
        crossed._gather(np.array([0, 1]), np.array([0, 1])), [samples.inputs[0][3], samples.inputs[1][1]]
    )


def test_few_samples_are_drawn_without_replacement(make_samples: Make) -> None:
    samples = make_samples(n=30)
    few = samples.few(10, np.random.default_rng(0))
    assert len(few) == len(set(few.labels.image_ids.tolist())) == 10
    assert len(samples.few(99, np.random.default_rng(0))) == 30


def test_logits_come_in_the_order_of_the_samples(make_samples: Make) -> None:
    net, samples = Net(), make_samples(n=300)
    logits = predict_logits(net.train(), samples, CPU)
    with torch.no_grad():
        assert torch.allclose(logits, net.eval()(torch.from_numpy(samples.inputs[0])), atol=1e-5)


def test_a_scratch_array_is_writable_and_reads_back(make_samples: Make) -> None:
    array = scratch((5, 2), np.float16)
    array[3] = 7
    assert array.shape == (5, 2)
    assert array[3].tolist() == [7, 7]
    assert not array[4].any()


# -- devices ---------------------------------------------------------------------------------------


def test_auto_is_the_first_gpu_or_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize("name", ["cuda:99", "toaster"])
def test_a_device_that_is_not_there_is_refused_and_never_replaced(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"training -> device: '{name}' cannot be used .*\"auto\" or \"cpu\""):
        pick_device(name)
