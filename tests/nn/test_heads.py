"""The standard head, and the dry run of a plugin's. Heads that do not fit are in tests/faults/."""

import torch
from torch import Tensor, nn

from attributree import Attribute, Ordinal, SingleLabel, hookimpl
from attributree.heads import AttentionHead, LinearHead, PyramidHead
from attributree.nn.heads import HeadFactory
from attributree.plugins import LoadedPlugins, load_plugins

NECKLINE = Attribute("neckline", SingleLabel(("crew", "v_neck", "boat")))


class Noted(nn.Module):
    """A head that counts its dry runs and has BatchNorm, whose statistics a dry run must not touch."""

    def __init__(self, in_features: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_features)
        self.linear = nn.Linear(in_features, outputs)
        self.calls = 0

    def forward(self, features: Tensor) -> Tensor:
        self.calls += 1
        return self.linear(self.norm(features).amax(dim=(2, 3)))


class Plugin:
    @hookimpl
    def attributree_branch_head(self, attribute: Attribute, in_features: int) -> nn.Module | None:
        return Noted(in_features, attribute.labels.outputs) if attribute.name == "neckline" else None


def plugins() -> LoadedPlugins:
    return load_plugins(entry_points=[], extra={"shop": Plugin()})


def test_the_standard_head_turns_a_map_of_any_size_into_logits() -> None:
    head = HeadFactory(NECKLINE, 8)()
    assert isinstance(head, LinearHead)
    for size in (1, 2, 7):
        assert head(torch.rand(5, 8, size, size)).shape == (5, 3)


def test_an_ordinal_head_has_one_logit_less_than_values() -> None:
    assert HeadFactory(Attribute("length", Ordinal(("mini", "maxi"))), 8)()(torch.rand(2, 8, 1, 1)).shape == (2, 1)


def test_the_standard_head_drops_features_in_training_only() -> None:
    head, features = LinearHead(64, 3, dropout=0.5), torch.rand(1, 64, 1, 1)
    assert not torch.equal(head(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


def test_a_plugin_brings_the_head_of_its_attribute_and_others_get_the_standard_one() -> None:
    assert isinstance(HeadFactory(NECKLINE, 8, plugins())(), Noted)
    other = Attribute("fit", SingleLabel(("slim", "loose")))
    assert isinstance(HeadFactory(other, 8, plugins())(), LinearHead)


def test_a_factory_knows_whose_head_it_builds_and_what_it_was_made_with() -> None:
    assert HeadFactory(NECKLINE, 8, plugins()).whose() == ("shop", {})
    assert HeadFactory(NECKLINE, 8).whose() == ("linear", {"dropout": 0.2})
    picked = HeadFactory(NECKLINE, 8, plugins(), "attention", {"queries": 3})
    assert picked.whose() == ("attention", {"queries": 3, "dropout": 0.2})
    head = picked()
    assert isinstance(head, AttentionHead)
    assert head.queries.shape == (3, 8)


def test_a_plugin_that_is_called_like_a_head_is_not_taken_for_it() -> None:
    loaded = load_plugins(entry_points=[], extra={"attention": Plugin()})
    assert HeadFactory(NECKLINE, 8, loaded).whose() == ("plugin attention", {})


def test_a_dry_run_leaves_a_head_ready_for_training_and_otherwise_untouched() -> None:
    head = HeadFactory(NECKLINE, 8, plugins())()
    assert isinstance(head, Noted)
    assert head.calls == 1
    assert head.training
    assert head.norm.num_batches_tracked == 0
    assert torch.equal(head.norm.running_mean, torch.zeros(8))
    assert all(p.requires_grad and p.grad is None for p in head.parameters())


def test_the_standard_head_of_an_exit_reads_the_pyramid_and_others_are_used_as_they_are() -> None:
    factory = HeadFactory(NECKLINE, 8, pyramid=40)
    assert factory.whose() == ("pyramid", {"dropout": 0.5})
    head = factory()
    assert isinstance(head, PyramidHead)
    assert head.linear.in_features == 40
    assert HeadFactory(NECKLINE, 8, name="linear", pyramid=40).whose() == ("linear", {"dropout": 0.2})
    assert HeadFactory(NECKLINE, 8, plugins(), pyramid=40).whose() == ("shop", {})
