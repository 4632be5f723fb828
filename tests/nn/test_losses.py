"""The masked losses and the probabilities of the three kinds of label."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attributree.errors import TrainingError
from attributree.nn.losses import MAX_BALANCE, balance, log_probabilities, masked_loss, probabilities
from attributree.schema import Labels, MultiLabel, Ordinal, SingleLabel

NECKLINE = SingleLabel(("crew", "v_neck", "boat", "halter"))
LENGTH = Ordinal(("mini", "knee", "midi", "maxi"))
DETAILS = MultiLabel(("bow", "lace", "zip"))
TAGS = MultiLabel(("bow", "lace", "zip"), closed_world=False)
NAN = math.nan


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def one_hot(classes: list[int], size: int) -> Tensor:
    return torch.eye(size)[classes]


def gradient(labels: Labels, logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    logits = logits.clone().requires_grad_()
    masked_loss(labels, logits, target, weight).backward()
    assert logits.grad is not None
    return logits.grad


# -- single-label ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("smoothing", "weighted"), [(0.0, False), (0.1, False), (0.0, True)])
def test_the_loss_of_single_labels_is_the_cross_entropy(smoothing: float, weighted: bool) -> None:
    logits, classes = noise(6, 4), [0, 1, 2, 3, 1, 1]
    value_weight = torch.tensor([1.0, 0.5, 2.0, 3.0]) if weighted else None
    ours = masked_loss(
        NECKLINE, logits, one_hot(classes, 4), torch.ones(6), value_weight=value_weight, smoothing=smoothing
    )
    theirs = F.cross_entropy(logits, torch.tensor(classes), weight=value_weight, label_smoothing=smoothing)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_the_loss_of_candidates_is_minus_the_log_of_their_summed_probability() -> None:
    logits = noise(1, 4)
    loss = masked_loss(NECKLINE, logits, torch.tensor([[1.0, 0, 1.0, 0]]), torch.ones(1))
    p = logits.softmax(dim=1)[0]
    assert loss.item() == pytest.approx(-math.log(p[0] + p[2]), rel=1e-5)


def test_candidates_that_are_very_unlikely_still_give_a_finite_loss_and_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0, -200.0, 0.0]])
    target = torch.tensor([[0.0, 1.0, 1.0, 0.0]])
    assert torch.isfinite(masked_loss(NECKLINE, logits, target, torch.ones(1)))
    assert torch.isfinite(gradient(NECKLINE, logits, target, torch.ones(1))).all()


def test_an_image_of_weight_zero_gets_no_gradient() -> None:
    target = one_hot([0, 1, 2], 4)
    grad = gradient(NECKLINE, noise(3, 4), target, torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(grad[1], torch.zeros(4))
    assert (grad[0] != 0).all()


def test_an_image_without_candidates_changes_nothing() -> None:
    logits, target = noise(3, 4), one_hot([0, 1, 2], 4)
    silent = torch.cat([target, torch.zeros(1, 4)])
    with_silent = masked_loss(NECKLINE, torch.cat([logits, noise(1, 4, seed=9)]), silent, torch.ones(4))
    assert torch.equal(with_silent, masked_loss(NECKLINE, logits, target, torch.ones(3)))


def test_a_label_of_weight_two_counts_like_two_labels() -> None:
    logits = noise(2, 4)
    twice = masked_loss(NECKLINE, logits[[0, 1, 1]], one_hot([0, 3, 3], 4), torch.ones(3))
    assert torch.allclose(masked_loss(NECKLINE, logits, one_hot([0, 3], 4), torch.tensor([1.0, 2.0])), twice)


@pytest.mark.parametrize("labels", [NECKLINE, LENGTH, DETAILS, TAGS], ids=lambda labels: type(labels).__name__)
def test_a_batch_in_which_nothing_was_observed_is_an_error_and_not_a_zero_loss(labels: Labels) -> None:
    silent = torch.full((2, labels.size), NAN if labels.kind == "multi" else 0.0)
    with pytest.raises(TrainingError, match="without a single observed label"):
        masked_loss(labels, noise(2, labels.outputs), silent, torch.ones(2))
    with pytest.raises(TrainingError, match="without a single observed label"):
        masked_loss(labels, noise(2, labels.outputs), torch.ones(2, labels.size), torch.zeros(2))


# -- ordinal ---------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=7))
def test_ordinal_probabilities_sum_to_one_and_going_beyond_never_gets_likelier(logits: list[float]) -> None:
    p = probabilities("ordinal", torch.tensor([logits]))
    assert p.shape == (1, len(logits) + 1)
    assert p.sum().item() == pytest.approx(1.0, abs=1e-5)
    beyond = p.flip(1).cumsum(1).flip(1)  # (1, C): P(y >= k)
    assert (beyond.diff(dim=1) <= 1e-6).all()


def test_an_ordinal_attribute_of_two_values_is_a_logistic_regression() -> None:
    logits = noise(5, 1)
    p = probabilities("ordinal", logits)
    assert torch.allclose(p, torch.cat([1 - logits.sigmoid(), logits.sigmoid()], dim=1))
    loss = masked_loss(Ordinal(("short", "long")), logits, one_hot([0, 1, 1, 0, 1], 2), torch.ones(5))
    wanted = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])[:, None]
    assert torch.allclose(loss, F.binary_cross_entropy_with_logits(logits, wanted))


def test_the_ordinal_loss_of_neighbouring_candidates_sums_their_probabilities() -> None:
    logits = noise(1, 3)
    loss = masked_loss(LENGTH, logits, torch.tensor([[0.0, 1.0, 1.0, 0.0]]), torch.ones(1))
    p = probabilities("ordinal", logits)[0]
    assert loss.item() == pytest.approx(-math.log(p[1] + p[2]), rel=1e-5)


@pytest.mark.parametrize("kind", ["single", "ordinal"])
def test_extreme_logits_give_finite_log_probabilities(kind: str) -> None:
    assert torch.isfinite(log_probabilities(kind, torch.tensor([[1e4, -1e4, 1e4]]))).all()


# -- multi-label -----------------------------------------------------------------------------------


def test_the_loss_of_known_values_is_the_binary_cross_entropy() -> None:
    logits, target = noise(4, 3), (noise(4, 3, seed=1) > 0).float()
    loss = masked_loss(DETAILS, logits, target, torch.ones(4))
    assert torch.allclose(loss, F.binary_cross_entropy_with_logits(logits, target))


def test_unknown_values_get_no_gradient() -> None:
    target = torch.tensor([[1.0, NAN, 0.0], [NAN, NAN, 1.0]])
    grad = gradient(DETAILS, noise(2, 3), target, torch.ones(2))
    assert torch.equal(grad == 0, target.isnan())


def test_what_is_not_listed_in_an_open_world_is_weakly_taken_for_absent() -> None:
    target = torch.tensor([[1.0, NAN, NAN]])
    grad = gradient(TAGS, torch.zeros(1, 3), target, torch.ones(1))[0]
    assert grad[0] < 0 < grad[1]  # up with what was listed, down with what was not
    assert grad[1].item() == pytest.approx(-grad[0].item() / 2)  # both others together count like one
    assert torch.equal(grad[1], grad[2])


def test_an_image_that_says_nothing_stays_silent_in_an_open_world_too() -> None:
    target = torch.tensor([[1.0, NAN, NAN], [NAN, NAN, NAN]])
    assert torch.equal(gradient(TAGS, noise(2, 3), target, torch.ones(2))[1], torch.zeros(3))


def test_smoothing_pulls_multi_label_targets_towards_one_half() -> None:
    logits, target = noise(2, 3), torch.tensor([[1.0, 0, 1.0], [0, 0, 1.0]])
    loss = masked_loss(DETAILS, logits, target, torch.ones(2), smoothing=0.2)
    assert torch.allclose(loss, F.binary_cross_entropy_with_logits(logits, target * 0.8 + 0.1))


# -- probabilities and balance ---------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "outputs"), [("single", 4), ("ordinal", 3), ("multi", 4)])
def test_a_temperature_above_one_makes_answers_less_sure(kind: str, outputs: int) -> None:
    logits = noise(8, outputs) * 4
    sure, unsure = probabilities(kind, logits), probabilities(kind, logits, 3.0)
    assert ((unsure - 0.5).abs().max() if kind == "multi" else unsure.max()) < (
        (sure - 0.5).abs().max() if kind == "multi" else sure.max()
    )
    assert torch.allclose(unsure, probabilities(kind, logits / 3.0))


@pytest.mark.parametrize(("kind", "outputs"), [("single", 4), ("ordinal", 3), ("multi", 4)])
def test_probabilities_of_half_precision_logits_are_float32(kind: str, outputs: int) -> None:
    assert probabilities(kind, noise(2, outputs).half()).dtype == torch.float32


def test_balance_gives_the_square_root_of_rarity_and_one_on_average() -> None:
    target = one_hot([0] * 16 + [1] * 4 + [2], 4)
    weights = balance(NECKLINE, target)
    assert (weights[1] / weights[0]).item() == pytest.approx(2.0)
    assert (weights[2] / weights[0]).item() == pytest.approx(4.0)
    assert ((weights * target.sum(dim=0)).sum() / 21).item() == pytest.approx(1.0)


def test_balance_never_exceeds_its_bound() -> None:
    weights = balance(SingleLabel(("a", "b")), one_hot([0] * 5000 + [1], 2))
    assert (weights[1] / weights[0]).item() == pytest.approx(MAX_BALANCE)


def test_balance_stands_a_value_without_labels_and_ignores_what_is_unknown() -> None:
    assert torch.isfinite(balance(NECKLINE, one_hot([0, 0, 1], 4))).all()
    known = torch.tensor([[1.0, 0, 1.0], [1.0, 1.0, 0.0]])
    assert torch.equal(balance(DETAILS, torch.cat([known, torch.full((1, 3), NAN)])), balance(DETAILS, known))


def test_balance_of_values_that_are_never_there_is_one() -> None:
    assert torch.equal(balance(DETAILS, torch.zeros(5, 3)), torch.ones(3))


def test_where_sources_disagree_each_value_counts_by_its_share() -> None:
    labels = SingleLabel(("crew", "v_neck", "boat"))
    logits = torch.tensor([[2.0, 0.5, -1.0], [0.0, 1.0, 0.0]])
    target = torch.tensor([[0.75, 0.25, 0.0], [1.0, 1.0, 0.0]])
    log_p = logits.log_softmax(dim=1)
    soft = -(0.75 * log_p[0, 0] + 0.25 * log_p[0, 1])
    either = -(log_p[1, 0].exp() + log_p[1, 1].exp()).log()
    loss = masked_loss(labels, logits, target, torch.tensor([1.0, 3.0]))
    assert loss.item() == pytest.approx(((soft + 3 * either) / 4).item())


def test_a_disputed_value_of_several_is_a_soft_target() -> None:
    labels = MultiLabel(("bow", "lace"))
    logits, target = torch.tensor([[0.3, -0.2]]), torch.tensor([[1.0, 0.5]])
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    assert masked_loss(labels, logits, target, torch.ones(1)).item() == pytest.approx(wanted.item())


def test_an_image_counts_once_in_the_balance_however_many_candidates_it_has() -> None:
    labels = SingleLabel(("crew", "v_neck", "boat"))
    certain = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 1.0]])
    candidates = torch.tensor([[1.0, 1.0, 0], [1.0, 1.0, 0], [0, 0, 1.0], [0, 0, 1.0]])
    assert torch.allclose(balance(labels, certain), balance(labels, candidates))
