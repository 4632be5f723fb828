"""The sleeves plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"sleeves": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["sleeve_length", "sleeve_style"]
    for attribute in loaded.attributes.values():
        assert loaded.branch_head(attribute, in_features=8) is None


def test_the_lengths_are_steps_from_none_to_the_wrist(plugin: ModuleType) -> None:
    labels = plugin.SLEEVE_LENGTH.labels
    assert labels.kind == "ordinal"
    assert labels.keys == ("sleeveless", "cap", "short", "elbow", "three_quarter", "long")
    assert labels.outputs == 5


def test_exactly_one_style_holds(plugin: ModuleType) -> None:
    assert plugin.SLEEVE_STYLE.labels.kind == "single"


@pytest.mark.parametrize(
    ("name", "text", "key"),
    [
        ("sleeve_length", "3/4 sleeves", "three_quarter"),
        ("sleeve_length", "Long-Sleeved", "long"),
        ("sleeve_length", "capped sleeve", "cap"),
        ("sleeve_length", "no sleeves", "sleeveless"),
        ("sleeve_style", "Puffed Sleeve", "puff"),
        ("sleeve_style", "dolman", "batwing"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, name: str, text: str, key: str) -> None:
    declared = {attribute.name: attribute for attribute in plugin.attributree_attributes()}
    value = declared[name].labels.find(text)
    assert value is not None
    assert value.key == key


def test_trousers_are_not_asked(plugin: ModuleType) -> None:
    for attribute in plugin.attributree_attributes():
        assert attribute.applies("top")
        assert not attribute.applies("jeans")
