"""The neckline plugin: what it declares, and the head that it brings."""

import subprocess
import sys
from types import ModuleType

import pytest
import torch

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_declares_the_neckline(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"neckline": plugin})

    loaded.require_healthy()
    neckline = loaded.attributes["neckline"]
    assert neckline.labels.kind == "single"
    assert neckline.applies("dress")
    assert not neckline.applies("jeans")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("V-neck", "v_neck"),
        ("Round Neck", "crew"),
        ("bateau", "boat"),
        ("roll-neck", "turtleneck"),
        ("Bardot", "off_shoulder"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, text: str, key: str) -> None:
    value = plugin.NECKLINE.labels.find(text)
    assert value is not None
    assert value.key == key


def test_bateau_is_a_former_key_of_boat(plugin: ModuleType) -> None:
    boat = plugin.NECKLINE.labels.find("boat")
    assert boat.formerly == ("bateau",)


@pytest.mark.parametrize(("height", "width"), [(7, 7), (1, 1), (2, 3), (5, 4)])
def test_the_head_returns_one_logit_a_value_for_every_size_of_map(plugin: ModuleType, height: int, width: int) -> None:
    loaded = load_plugins(entry_points=(), extra={"neckline": plugin})
    head = loaded.branch_head(plugin.NECKLINE, in_features=8)
    assert head is not None

    logits = head(torch.randn(2, 8, height, width))

    assert logits.shape == (2, plugin.NECKLINE.labels.outputs)
    assert logits.dtype == torch.float32


def test_the_head_looks_at_the_whole_and_at_the_upper_and_lower_half(plugin: ModuleType) -> None:
    head = plugin.attributree_branch_head(plugin.NECKLINE, in_features=4)
    assert head.grids == ((1, 1), (2, 1))

    features = torch.rand(1, 4, 6, 6)
    features[:, :2, :3] += 1.0
    upside_down, mirrored = features.flip(2), features.flip(3)

    head.eval()
    assert torch.allclose(features.mean(dim=(2, 3)), upside_down.mean(dim=(2, 3)))
    assert (head(features) - head(upside_down)).abs().max() > 0.01
    assert torch.allclose(head(features), head(mirrored), atol=1e-6)  # left and right are one to a neckline


def test_declaring_imports_no_torch(plugin: ModuleType) -> None:
    code = "import sys, attributree_neckline as p; p.attributree_attributes(); sys.exit('torch' in sys.modules)"
    source = str(next(iter(plugin.__path__))).rsplit("/", 1)[0]
    run = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, check=False)
    assert run.returncode == 0
