"""The jeans plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"jeans": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["distress", "jeans_fit", "waist_rise", "wash"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("waist_rise", "high-waisted", "high"),
        ("jeans_fit", "Boot Cut", "bootcut"),
        ("jeans_fit", "mom jeans", "mom"),
        ("wash", "rinse wash", "dark"),
        ("distress", "destroyed", "heavy"),
        ("distress", "clean", "none"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, name: str, text: str, key: str) -> None:
    declared = {attribute.name: attribute for attribute in plugin.attributree_attributes()}
    value = declared[name].labels.find(text)
    assert value is not None
    assert value.key == key


def test_only_its_article_types_are_asked(plugin: ModuleType) -> None:
    for attribute in plugin.attributree_attributes():
        assert attribute.applies("jeans")
        assert not attribute.applies("top")


def test_rise_wash_and_distress_are_steps_and_the_fit_is_not(plugin: ModuleType) -> None:
    kinds = {attribute.name: attribute.labels.kind for attribute in plugin.attributree_attributes()}
    assert kinds == {"waist_rise": "ordinal", "jeans_fit": "single", "wash": "ordinal", "distress": "ordinal"}
    assert plugin.WASH.labels.keys == ("white", "light", "medium", "dark", "black")
    assert plugin.DISTRESS.labels.keys == ("none", "light", "moderate", "heavy")
