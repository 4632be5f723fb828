"""The sleeves plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"sleeves": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["sleeve_length"]
    assert loaded.branch_head(plugin.SLEEVE_LENGTH, in_features=8) is None


def test_the_values_are_steps_from_none_to_the_wrist(plugin: ModuleType) -> None:
    labels = plugin.SLEEVE_LENGTH.labels
    assert labels.kind == "ordinal"
    assert labels.keys == ("sleeveless", "cap", "short", "elbow", "three_quarter", "long")
    assert labels.outputs == 5


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("3/4 sleeves", "three_quarter"),
        ("Long-Sleeved", "long"),
        ("capped sleeve", "cap"),
        ("no sleeves", "sleeveless"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, text: str, key: str) -> None:
    value = plugin.SLEEVE_LENGTH.labels.find(text)
    assert value is not None
    assert value.key == key


def test_trousers_are_not_asked(plugin: ModuleType) -> None:
    assert plugin.SLEEVE_LENGTH.applies("top")
    assert not plugin.SLEEVE_LENGTH.applies("jeans")
