"""The silhouette plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"silhouette": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["fit", "silhouette"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("silhouette", "A-line", "a_line"),
        ("silhouette", "hi-lo", "high_low"),
        ("fit", "Loose Fit", "relaxed"),
        ("fit", "second skin", "tight"),
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
        assert not attribute.applies("jeans")


def test_the_fit_is_a_step_and_asked_of_dresses_too(plugin: ModuleType) -> None:
    assert plugin.SILHOUETTE.labels.kind == "single"
    assert plugin.FIT.labels.kind == "ordinal"
    assert plugin.FIT.labels.keys == ("tight", "slim", "regular", "relaxed", "oversized")
    assert plugin.FIT.applies("dress")
    assert not plugin.SILHOUETTE.applies("dress")
