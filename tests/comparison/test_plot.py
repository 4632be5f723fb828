"""The figure."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from attributree.comparison.plot import COLOURS, plot
from attributree.comparison.report import Comparison
from attributree.errors import ConfigError


def test_the_figure_has_every_arm_in_its_colour(comparison: Comparison, tmp_path: Path) -> None:
    plot(comparison.to_json(), tmp_path / "compare.png")
    with Image.open(tmp_path / "compare.png") as image:
        assert image.width > 1000
        seen = {colour for _, colour in image.convert("RGB").getcolors(image.width * image.height) or []}
    for colour in COLOURS.values():
        assert tuple(bytes.fromhex(colour[1:])) in seen


def test_without_matplotlib_the_way_to_install_it_is_said(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'attributree\[plot\]'"):
        plot(comparison.to_json(), tmp_path / "compare.png")
