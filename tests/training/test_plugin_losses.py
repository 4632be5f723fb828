"""A plugin's loss trains its branch alone, joint training too, and is named when it fails."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attributree.nn.losses import masked_loss
from attributree.nn.trunk import MAPS
from attributree.schema import Labels, SingleLabel
from attributree.settings.models import BranchSettings
from attributree.training.data import Samples
from attributree.training.donors import Donor
from attributree.training.grow import grow
from attributree.training.guard import GuardedLoss, HeadError

LABELS = SingleLabel(("crew", "v_neck", "boat"))


class Loss:
    """The standard loss of `labels`, or minus it; notes how it was called."""

    def __init__(self, labels: Labels = LABELS, sign: float = 1.0) -> None:
        self.labels = labels
        self.sign = sign
        self.calls: list[tuple[bool, float]] = []

    def __call__(self, logits: Tensor, target: Tensor, weight: Tensor, **how: Any) -> Tensor:
        self.calls.append((how["value_weight"] is not None, how["smoothing"]))
        return self.sign * masked_loss(self.labels, logits, target, weight, **how)


def test_a_loss_trains_every_depth_and_breaks_ties_in_validation(
    make_samples: Callable[..., Samples],
    make_donor: Callable[..., Donor],
    new_head: Callable[..., nn.Module],
    recipe: BranchSettings,
) -> None:
    recipe = recipe.model_copy(update={"label_smoothing": 0.1, "depth": "block", "epochs": 2})
    loss, samples = Loss(), make_samples()
    plain = grow({MAPS: samples}, [make_donor()], new_head, recipe)
    same = grow({MAPS: samples}, [make_donor()], new_head, recipe, loss=loss)
    assert set(loss.calls) == {(False, 0.1), (True, 0.1), (False, 0.0)}  # a head is solved without weights too
    weights = plain.branch.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in same.branch.state_dict().items())
    worse = grow({MAPS: samples}, [make_donor()], new_head, recipe, loss=Loss(sign=-1.0))
    assert worse.scores["val"].macro_f1 < plain.scores["val"].macro_f1


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (lambda logits, *_, **__: logits.sum() / 0.0, "its loss is something that is not a number"),
        (lambda *_, **__: [][0], "its loss raised IndexError"),
    ],
)
def test_a_loss_that_fails_in_training_is_named(loss: Any, reason: str) -> None:
    logits = torch.ones(2, 3)
    with pytest.raises(HeadError, match=reason) as caught:
        GuardedLoss("neckline", loss)(logits, logits, torch.ones(2), value_weight=None, smoothing=0.0)
    assert caught.value.attribute == "neckline"


def test_what_a_loss_makes_of_logits_that_are_no_numbers_is_not_its_fault() -> None:
    logits = torch.full((2, 3), torch.nan)
    loss = GuardedLoss("neckline", lambda logits, *_, **__: logits.sum())
    assert bool(torch.isnan(loss(logits, logits, torch.ones(2), value_weight=None, smoothing=0.0)))


def test_the_buffers_of_a_loss_go_where_the_logits_are() -> None:
    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("scale", torch.ones(3))

        def forward(self, logits: Tensor, target: Tensor, weight: Tensor, **how: Any) -> Tensor:
            return (logits * self.scale).sum()

    logits = torch.ones(2, 3, device="meta")
    module = Weighted()
    with pytest.raises(RuntimeError, match="meta"):  # nothing can be asked of tensors without content
        GuardedLoss("neckline", module)(logits, logits, logits, value_weight=None, smoothing=0.0)
    assert module.scale.device.type == "meta"
