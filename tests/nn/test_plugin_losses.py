"""The dry run of a plugin's loss, on all that a target may say."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, hookimpl
from attributree.errors import PluginError
from attributree.nn.losses import build_loss, masked_loss
from attributree.plugins import LoadedPlugins, load_plugins

KINDS = {
    "single": Attribute("neckline", SingleLabel(("crew", "v_neck", "boat"))),
    "multi": Attribute("details", MultiLabel(("zip", "hood"))),
    "one": Attribute("lined", MultiLabel(("lined",))),
    "ordinal": Attribute("length", Ordinal(("mini", "midi", "maxi"))),
}


class Plugin:
    def __init__(self, loss: Any) -> None:
        self.loss = loss

    @hookimpl
    def attributree_loss(self, attribute: Attribute) -> Any:
        return self.loss


def plugins(loss: Any) -> LoadedPlugins:
    return load_plugins(entry_points=(), extra={"shop": Plugin(loss)})


def standard(attribute: Attribute) -> Any:
    """Return the standard loss as a plugin would bring it."""

    def loss(logits: Tensor, target: Tensor, weight: Tensor, **how: Any) -> Tensor:
        return masked_loss(attribute.labels, logits, target, weight, **how)

    return loss


@pytest.mark.parametrize("kind", KINDS)
def test_the_standard_loss_passes_the_dry_run_for_every_kind(kind: str) -> None:
    loss = standard(KINDS[kind])
    assert build_loss(KINDS[kind], plugins(loss)) is loss


def test_without_a_plugin_or_with_one_that_answers_none_there_is_the_standard_loss() -> None:
    assert build_loss(KINDS["single"]) is None
    assert build_loss(KINDS["single"], plugins(None)) is None


def test_a_dry_run_draws_no_random_numbers_of_the_training() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build_loss(KINDS["single"], plugins(standard(KINDS["single"])))
    assert torch.equal(torch.rand(1), expected)


def rowwise(logits: Tensor, target: Tensor, weight: Tensor, **_: Any) -> Tensor:
    return (logits**2).mean(dim=1)


def everybody(logits: Tensor, target: Tensor, weight: Tensor, **_: Any) -> Tensor:
    return (logits**2).mean()


def cut_off(logits: Tensor, target: Tensor, weight: Tensor, **_: Any) -> Tensor:
    return (logits.detach() ** 2).mean()


def flat(logits: Tensor, target: Tensor, weight: Tensor, **_: Any) -> Tensor:
    return logits.sum() * 0.0


def infinite(logits: Tensor, target: Tensor, weight: Tensor, **_: Any) -> Tensor:
    return logits.sum() / 0.0


def only_balanced(logits: Tensor, target: Tensor, weight: Tensor, *, value_weight: Any, smoothing: float) -> Any:
    said = ((logits[weight > 0] ** 2).mean(), weight.sum())
    return said[0] if value_weight is not None else None


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        (rowwise, r"returned \(5,\) torch.float32, expected a scalar float tensor"),
        (lambda logits, target, weight, **_: 1.0, "returned float, expected a scalar tensor"),
        (lambda logits, target, weight, **_: logits.argmax(), r"returned \(\) torch.int64, expected a scalar float"),
        (lambda logits, target, weight: logits.mean(), "failed on a dry batch: TypeError"),
        (lambda *_, **__: 1 / 0, "failed on a dry batch: ZeroDivisionError"),
        (infinite, "is -?inf on a dry batch, expected a finite number"),
        (cut_off, "gives the logits no finite gradient"),
        (flat, "gives the logits no finite gradient"),
        (everybody, "counts an image of weight 0, which says nothing"),
        (only_balanced, "returned NoneType, expected a scalar tensor without value_weight"),
        ("focal", "returned str, not a function or a module that is one"),
        (nn.CrossEntropyLoss, "returned the class CrossEntropyLoss, not a function"),
        (nn.Linear(3, 1), "returned a module with parameters, which are never trained"),
    ],
)
def test_a_loss_that_does_not_fit_is_refused_and_its_plugin_named(loss: Any, reason: str) -> None:
    with pytest.raises(PluginError, match=f"plugin 'shop': .*{reason}"):
        build_loss(KINDS["single"], plugins(loss))
