"""The tiles plugin: attributes, article types and pictures that have nothing to do with clothes."""

import json
from collections import Counter
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from attributree import Attribute, Workspace
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.schema import NOT_APPLICABLE
from attributree.testing import AttributeContract

CONFIG = """
[trunk]
backbone = "test_resnet"
weights = "random"
image_size = 32

[training]
epochs = 8
learning_rate = 0.01
min_labels = 20
min_calibration_labels = 20
workers = 1
device = "cpu"

[plugins]
disabled = {disabled}
"""
DEPTH = '\n[attributes.{name}]\ndepth = "head"\n'


class TestTileShape(AttributeContract):
    plugin = "attributree_tiles"
    attribute = "tile_shape"
    examples = (("Subway", "rectangle"), ("Penny-Round", "round"), ("tile", None))

    def test_five_attributes_are_declared_of_tiles_alone_and_no_head(self, loaded: LoadedPlugins) -> None:
        assert list(loaded.attributes) == ["tile_edge", "tile_motif", "tile_shape", "tile_surface", "tile_warmth"]
        for attribute in loaded.attributes.values():
            assert attribute.applies("tile")
            assert not attribute.applies("dress")
            assert loaded.first(attributree_branch_head, attribute, in_features=8) is None

    def test_exactly_one_shape_holds_and_mosaics_are_asked(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert declared.applies("mosaic")


class TestTileSurface(AttributeContract):
    plugin = "attributree_tiles"
    attribute = "tile_surface"
    examples = (("semi-gloss", "satin"), ("Unglazed", "matt"), ("glaze", None))

    def test_the_values_are_steps_from_matt_to_glossy(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("matt", "satin", "glossy")


class TestTileMotif(AttributeContract):
    plugin = "attributree_tiles"
    attribute = "tile_motif"
    examples = (("Terrazzo", "speckled"), ("marble", "veined"), ("motif", None))

    def test_exactly_one_motif_holds(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"


class TestTileEdge(AttributeContract):
    plugin = "attributree_tiles"
    attribute = "tile_edge"
    examples = (("pillowed", "cushioned"), ("Chamfered", "bevelled"), ("edge", None))

    def test_exactly_one_edge_holds_and_mosaics_are_not_asked(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert not declared.applies("mosaic")


class TestTileWarmth(AttributeContract):
    plugin = "attributree_tiles"
    attribute = "tile_warmth"
    examples = (("cold", "cool"), ("Earth-Tones", "warm"), ("colour", None))

    def test_the_values_are_steps_from_cool_to_warm(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("cool", "neutral", "warm")


@pytest.fixture
def plugin() -> ModuleType:
    return import_module("attributree_tiles")


@pytest.fixture
def catalogue() -> ModuleType:
    return import_module("attributree_tiles.catalogue")


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
        predictions = list(workspace.live().predict_missing())

    assert {result.attribute: result.status for result in report.results} == dict.fromkeys(names, "promoted")
    asked = Counter(prediction.attribute for prediction in predictions)
    assert sorted(asked) == names
    right = Counter(p.attribute for p in predictions if p.values == (truth[p.image][p.attribute],))
    for name in ("tile_edge", "tile_warmth"):
        assert right[name] / asked[name] > 0.6, (name, right[name], asked[name])
