"""The hem length plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"hem_length": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["hem_length"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("hem_length", "Crop Top", "cropped"),
        ("hem_length", "longline", "tunic"),
        ("hem_length", "hip-length", "hip"),
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
        assert not attribute.applies("dress")


def test_the_values_are_steps_from_the_midriff_to_the_thigh(plugin: ModuleType) -> None:
    assert plugin.HEM_LENGTH.labels.kind == "ordinal"
    assert plugin.HEM_LENGTH.labels.keys == ("cropped", "waist", "hip", "tunic")
