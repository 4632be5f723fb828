"""The tiles plugin: attributes, article types and pictures that have nothing to do with clothes."""

import json
from collections import Counter
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from attributree import Workspace
from attributree.plugins import load_plugins
from attributree.schema import NOT_APPLICABLE

CONFIG = """
[trunk]
backbone = "test_resnet"
weights = "random"
image_size = 32

[training]
epochs = 20
learning_rate = 0.01
min_labels = 20
min_calibration_labels = 20
workers = 1
device = "cpu"

[plugins]
disabled = {disabled}
"""
DEPTH = '\n[attributes.{name}]\ndepth = "head"\n'


@pytest.fixture
def catalogue(plugin: ModuleType) -> ModuleType:
    return import_module(f"{plugin.__name__}.catalogue")


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"tiles": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["tile_edge", "tile_motif", "tile_shape", "tile_surface", "tile_warmth"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("tile_shape", "Subway", "rectangle"),
        ("tile_surface", "semi-gloss", "satin"),
        ("tile_motif", "Terrazzo", "speckled"),
        ("tile_edge", "pillowed", "cushioned"),
        ("tile_warmth", "cold", "cool"),
    ],
)
def test_what_tile_makers_write_is_read(plugin: ModuleType, name: str, text: str, key: str) -> None:
    declared = {attribute.name: attribute for attribute in plugin.attributree_attributes()}
    value = declared[name].labels.find(text)
    assert value is not None
    assert value.key == key


def test_only_tiles_are_asked_and_a_mosaic_is_not_asked_for_its_edge(plugin: ModuleType) -> None:
    for attribute in plugin.attributree_attributes():
        assert attribute.applies("tile")
        assert not attribute.applies("dress")
    assert plugin.TILE_SHAPE.applies("mosaic")
    assert not plugin.TILE_EDGE.applies("mosaic")


def test_the_catalogue_draws_every_declared_value_and_the_same_tiles_again(
    plugin: ModuleType, catalogue: ModuleType
) -> None:
    tiles = list(catalogue.draw_tiles(60, size=32))
    for attribute in plugin.attributree_attributes():
        drawn = {tile.labels[attribute.name] for tile in tiles}
        assert drawn - {NOT_APPLICABLE} == set(attribute.labels.keys)
        for tile in tiles:
            assert (tile.labels[attribute.name] != NOT_APPLICABLE) == attribute.applies(tile.article_type)
    for tile, same in zip(catalogue.draw_tiles(5, size=32), tiles[:5], strict=True):
        assert np.array_equal(tile.image, same.image)
        assert tile.labels == same.labels
    other = next(catalogue.draw_tiles(1, seed=1, size=32))
    assert not np.array_equal(other.image, tiles[0].image)


def test_a_sync_grows_every_branch_on_a_tiny_trunk_and_the_tree_predicts(
    plugin: ModuleType, catalogue: ModuleType, tmp_path: Path
) -> None:
    tiles = catalogue.write_tiles(tmp_path, 260, size=32, hidden=0.25)
    truth = {f"{tile.sku}.png": tile.labels for tile in tiles}
    names = sorted(catalogue.VALUES)
    others = sorted({point.dist.name for point in metadata.entry_points(group="attributree") if point.dist})
    settings = CONFIG.format(disabled=json.dumps(others)) + "".join(DEPTH.format(name=name) for name in names)
    (tmp_path / "plugins.toml").write_text(settings, encoding="utf-8")
    Workspace.create(tmp_path).close()

    with Workspace.open(tmp_path / "plugins.toml", extra_plugins={"tiles": plugin}) as workspace:
        workspace.ingest(tmp_path / "labels.csv", images=tmp_path / "photos")
        report = workspace.sync()
        predictions = list(workspace.predict_missing())

    assert {result.attribute: result.status for result in report.results} == dict.fromkeys(names, "promoted")
    asked = Counter(prediction.attribute for prediction in predictions)
    assert sorted(asked) == names
    right = Counter(p.attribute for p in predictions if p.values == (truth[p.image][p.attribute],))
    for name in ("tile_edge", "tile_warmth"):
        assert right[name] / asked[name] > 0.6, (name, right[name], asked[name])
