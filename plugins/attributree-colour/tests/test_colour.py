"""The colour plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"colour": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["colour"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("colour", "gray", "grey"),
        ("colour", "Navy Blue", "navy"),
        ("colour", "wine-red", "burgundy"),
        ("colour", "ecru", "beige"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, name: str, text: str, key: str) -> None:
    declared = {attribute.name: attribute for attribute in plugin.attributree_attributes()}
    value = declared[name].labels.find(text)
    assert value is not None
    assert value.key == key


def test_every_article_type_is_asked(plugin: ModuleType) -> None:
    for attribute in plugin.attributree_attributes():
        assert attribute.applies("top")
        assert attribute.applies("dress")
        assert attribute.applies("jeans")
        assert attribute.applies("shoe")


def test_several_colours_hold_and_those_not_listed_are_absent(plugin: ModuleType) -> None:
    assert plugin.COLOUR.labels.kind == "multi"
    assert plugin.COLOUR.labels.closed_world
