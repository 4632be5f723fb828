"""The dresses plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"dresses": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["dress_length", "dress_shape"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("dress_length", "calf-length", "midi"),
        ("dress_length", "Tea Length", "midi"),
        ("dress_shape", "skater dress", "fit_and_flare"),
        ("dress_shape", "A line", "a_line"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, name: str, text: str, key: str) -> None:
    declared = {attribute.name: attribute for attribute in plugin.attributree_attributes()}
    value = declared[name].labels.find(text)
    assert value is not None
    assert value.key == key


def test_only_its_article_types_are_asked(plugin: ModuleType) -> None:
    for attribute in plugin.attributree_attributes():
        assert attribute.applies("dress")
        assert not attribute.applies("top")


def test_the_lengths_are_steps_and_the_shapes_are_not(plugin: ModuleType) -> None:
    assert plugin.DRESS_LENGTH.labels.kind == "ordinal"
    assert plugin.DRESS_LENGTH.labels.keys == ("mini", "knee", "midi", "maxi", "floor")
    assert plugin.DRESS_SHAPE.labels.kind == "single"
