"""The neckline plugin: what every plugin keeps, and what its head is for."""

import pytest
import torch
from torch import nn

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestNeckline(AttributeContract):
    plugin = "attributree_neckline"
    examples = (
        ("V-neck", "v_neck"),
        ("Round Neck", "crew"),
        ("bateau", "boat"),
        ("roll-neck", "turtleneck"),
        ("Bardot", "off_shoulder"),
        ("neck", None),
    )

    def test_it_is_asked_of_what_is_worn_above(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert declared.applies("dress")
        assert not declared.applies("jeans")

    def test_bateau_is_a_former_key_of_boat(self, declared: Attribute) -> None:
        boat = declared.labels.find("boat")
        assert boat is not None
        assert boat.formerly == ("bateau",)

    @pytest.fixture
    def head(self, loaded: LoadedPlugins, declared: Attribute) -> nn.Module:
        torch.manual_seed(0)
        answer = loaded.first(attributree_branch_head, declared, in_features=4)
        assert answer is not None
        assert type(answer.value).__name__ == "MultiscaleHead"
        return answer.value

    def test_every_cell_of_the_map_counts(self, head: nn.Module) -> None:
        features = torch.randn(2, 4, 6, 6, requires_grad=True)
        head(features).square().sum().backward()
        assert features.grad is not None
        assert (features.grad.abs().sum(dim=(0, 1)) > 0).all()

    def test_the_head_looks_at_the_whole_and_at_the_upper_and_lower_half(self, head: nn.Module) -> None:
        assert head.grids == ((1, 1), (2, 1))
        features = torch.rand(1, 4, 6, 6)
        features[:, :2, :3] += 1.0
        upside_down, mirrored = features.flip(2), features.flip(3)
        head.eval()
        assert torch.allclose(features.mean(dim=(2, 3)), upside_down.mean(dim=(2, 3)))
        assert (head(features) - head(upside_down)).abs().max() > 0.01
        assert torch.allclose(head(features), head(mirrored), atol=1e-6)  # left and right are one to a neckline
