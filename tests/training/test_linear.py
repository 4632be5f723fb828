"""Heads that are linear in what they read are solved: the best layer of the best penalty, whatever the kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from attributree.errors import TrainingError
from attributree.heads import HEADS, LinearHead, LinearReadout, MultiscaleHead, PyramidHead, new_head
from attributree.label_set import turns_of
from attributree.schema import Attribute, Labels, MultiLabel, Ordinal, SingleLabel
from attributree.settings.models import BranchSettings
from attributree.training import linear
from attributree.training.checkpoint import Fit
from attributree.training.data import Samples
from attributree.training.fit import predict_logits
from attributree.training.linear import MOST_LAYERS, PENALTIES, held_out, is_linear, solve

Make = Callable[..., Samples]
KIND = SingleLabel(("crew", "v_neck", "boat"))


def split(samples: Samples) -> tuple[Samples, Samples]:
    return samples.part("train"), samples.part("val", labelled_only=True)


def flat(samples: Samples) -> np.ndarray:
    return np.asarray(samples.inputs[0][samples.rows[:, 0]], dtype=np.float64).mean(axis=(2, 3))


@pytest.mark.parametrize("name", ["linear", "multiscale", "pyramid"])
def test_these_heads_are_linear(name: str) -> None:
    assert is_linear(HEADS[name](4, 3))


@pytest.mark.parametrize("name", ["attention", "multilabel"])
def test_these_are_not(name: str) -> None:
    assert not is_linear(new_head(name, Attribute("neckline", KIND), 4))


def test_neither_is_a_plugin_s_head_that_does_more() -> None:
    class Deeper(LinearHead):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.before = nn.Linear(4, 4)

        def flat(self, features: Tensor) -> Tensor:
            return super().flat(self.before(features))

    class Louder(LinearHead):
        def forward(self, features: Tensor) -> Tensor:
            return super().forward(features).exp()

    assert not is_linear(Deeper())
    assert not is_linear(Louder(4, 3))
    assert not is_linear(nn.Linear(4, 3))


def test_the_layer_is_the_one_that_scikit_learn_finds(
    make_samples: Make, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    penalty = 0.1
    monkeypatch.setattr(linear, "PENALTIES", (penalty,))
    monkeypatch.setattr(linear, "STEPS", 500)
    monkeypatch.setattr(linear, "_GAIN", 1e-12)
    train, val = split(make_samples(n=300))
    head = LinearHead(8, 3)
    fit = solve(head, train, val, recipe.model_copy(update={"class_balance": False}))
    known = flat(train)
    mean, deviation = known.mean(axis=0), known.std(axis=0)
    model = LogisticRegression(C=1 / (penalty * len(train)), tol=1e-9, max_iter=1000)
    model.fit((known - mean) / deviation, train.labels.target.argmax(axis=1))
    expected = model.predict_proba((flat(val) - mean) / deviation)
    logits = head(torch.from_numpy(val.inputs[0][val.rows[:, 0]].astype(np.float32)))
    assert np.allclose(logits.softmax(dim=1).detach().numpy(), expected, atol=2e-3)
    assert (fit.epochs, fit.best) == (1, 1)


@pytest.mark.parametrize("labels", [KIND, Ordinal(("mini", "knee", "maxi")), MultiLabel(("bow", "lace", "zip"))])
def test_the_least_loss_on_validation_decides_for_every_kind(
    labels: Labels, make_samples: Make, recipe: BranchSettings
) -> None:
    train, val = split(make_samples(labels, n=240))
    steps: list[int] = []
    head = LinearHead(8, labels.outputs)
    fit = solve(head, train, val, recipe.model_copy(update={"class_balance": False}), progress=steps.append)
    assert steps == list(range(1, fit.epochs + 1))
    assert fit.epochs - 1 <= fit.best <= fit.epochs <= len(PENALTIES)
    assert fit.score > 0.8


def test_without_chunks_or_with_them_the_layer_is_the_same(
    make_samples: Make, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = split(make_samples(n=240))
    monkeypatch.setattr(linear, "PENALTIES", (0.1,))
    plain = recipe.model_copy(update={"class_balance": False})
    one, other = LinearHead(8, 3), LinearHead(8, 3)
    solve(one, train, val, plain)
    monkeypatch.setattr(linear, "_ROWS", 50)
    monkeypatch.setattr(linear, "IN_MEMORY", 0)
    solve(other, train, val, plain)
    assert torch.allclose(one.linear.weight, other.linear.weight, atol=5e-3)


def test_rare_values_are_weighed_up_only_where_that_pays(
    make_samples: Make, recipe: BranchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, val = split(make_samples(n=240))
    fits = iter([(0.7, 0.3), (0.7, 0.4), (0.705, 0.5), (0.7, 0.3), (0.7, 0.4), (0.695, 0.5)])

    def pretend(*_: object) -> linear._Layer:
        merit, loss = next(fits)
        return linear._Layer(torch.zeros(3, 8), torch.zeros(3), merit, loss)

    monkeypatch.setattr(linear._Problem, "measured", pretend)
    balanced = recipe.model_copy(update={"class_balance": True})
    pays, costs = (solve(LinearHead(8, 3), train, val, balanced) for _ in range(2))
    assert (pays.best, pays.balanced) == (3, True)
    assert (costs.best, costs.balanced, costs.penalty) == (1, False, PENALTIES[0])


@pytest.mark.parametrize("head", [PyramidHead(8, 3), MultiscaleHead(2, 3, grids=(1, 1))], ids=["pyramid", "multiscale"])
def test_what_was_reduced_before_is_read_as_it_is(
    head: LinearReadout, make_samples: Make, recipe: BranchSettings
) -> None:
    maps = make_samples(n=240)
    vectors = Samples((flat(maps).astype(np.float16)[np.argsort(maps.rows[:, 0])],), maps.rows, maps.labels)
    train, val = split(vectors)
    fit = solve(head, train, val, recipe)
    assert fit.score > 0.8
    assert 1 <= fit.best <= fit.epochs <= MOST_LAYERS
    logits = predict_logits(nn.Sequential(_Float(), head), val, torch.device("cpu"))
    assert float((logits.argmax(dim=1) == val.target.argmax(dim=1)).float().mean()) > 0.8


class _Float(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.float()


# -- what calibration sees ---------------------------------------------------------------------------


def test_each_train_image_is_answered_by_a_layer_that_has_not_seen_it(
    make_samples: Make, recipe: BranchSettings
) -> None:
    """Labels that are drawn by lot can be learnt by heart, and not be guessed."""
    samples = make_samples(n=400)
    lot = np.eye(3, dtype=np.float32)[np.random.default_rng(1).integers(3, size=400)]
    wide = np.random.default_rng(2).normal(size=(400, 300)).astype(np.float16)
    samples = Samples((wide,), samples.rows, replace(samples.labels, target=lot))
    train, _ = split(samples)
    head, fit = PyramidHead(300, 3), Fit(1, 1, 0.5, 1.0, penalty=1e-3)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    logits, target = held_out(head, train, fit, recipe)
    by_turn = np.argsort(turns_of(train.labels.products, linear.TURNS, recipe.seed), kind="stable")
    assert torch.equal(target, train.target[by_turn])
    assert float((logits.argmax(dim=1) == target.argmax(dim=1)).float().mean()) < 0.5
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())
    learnt = solve(head, train, train, recipe.model_copy(update={"class_balance": False}))
    assert learnt.score > 0.95


def test_ambiguous_images_teach_and_are_not_held_out(make_samples: Make, recipe: BranchSettings) -> None:
    samples = make_samples(n=200)
    doubtful = np.arange(200) % 7 == 0
    target = samples.labels.target.copy()
    target[doubtful, :2] = 1.0
    train, _ = split(replace(samples, labels=replace(samples.labels, target=target, ambiguous=doubtful)))
    logits, targets = held_out(LinearHead(8, 3), train, Fit(1, 1, 0.5, 1.0, penalty=0.1), recipe)
    assert len(logits) == len(targets) == len(train) - int(train.labels.ambiguous.sum())
    assert bool((targets.sum(dim=1) == 1).all())


def test_the_images_of_a_product_are_held_out_together(make_samples: Make) -> None:
    samples = make_samples(n=120)
    products = np.arange(120) // 4
    turns = turns_of(replace(samples.labels, product_ids=products).products, linear.TURNS, 0)
    assert all(len(set(turns[products == product])) == 1 for product in products)
    assert np.unique(turns, return_counts=True)[1].tolist() == [24] * linear.TURNS


def test_a_single_product_cannot_be_held_out(make_samples: Make, recipe: BranchSettings) -> None:
    train, _ = split(make_samples(n=20))
    alone = replace(train, labels=replace(train.labels, product_ids=np.zeros(len(train), np.int64)))
    logits, targets = held_out(LinearHead(8, 3), alone, Fit(1, 1, 0.5, 1.0, penalty=0.1), recipe)
    assert logits.shape == targets.shape == (0, 3)


# -- edges -------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_ends_it(make_samples: Make, recipe: BranchSettings) -> None:
    train, val = split(make_samples(n=60))

    def loss(logits: Tensor, *_: object, **__: object) -> Tensor:
        return logits.sum() * torch.inf

    with pytest.raises(TrainingError, match="the loss became"):
        solve(LinearHead(8, 3), train, val, recipe, loss)
