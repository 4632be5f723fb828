"""The collar plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"collar": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["collar"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("collar", "Grandad-Collar", "mandarin"),
        ("collar", "pussy bow", "bow"),
        ("collar", "Cuban collar", "camp"),
        ("collar", "no collar", "collarless"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, name: str, text: str, key: str) -> None:
    declared = {attribute.name: attribute for attribute in plugin.attributree_attributes()}
    value = declared[name].labels.find(text)
    assert value is not None
    assert value.key == key


def test_only_its_article_types_are_asked(plugin: ModuleType) -> None:
    for attribute in plugin.attributree_attributes():
        assert attribute.applies("top")
        assert attribute.applies("dress")
        assert not attribute.applies("jeans")


def test_most_tops_have_none_and_can_say_so(plugin: ModuleType) -> None:
    assert plugin.COLLAR.labels.kind == "single"
    assert plugin.COLLAR.labels.keys[0] == "collarless"
