"""The pattern plugin: what it declares."""

from types import ModuleType

import pytest

from attributree.plugins import load_plugins


def test_it_loads_without_complaint_and_brings_no_head(plugin: ModuleType) -> None:
    loaded = load_plugins(entry_points=(), extra={"pattern": plugin})

    loaded.require_healthy()
    assert list(loaded.attributes) == ["pattern"]
    assert loaded.branch_head(plugin.PATTERN, in_features=8) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Plain", "solid"),
        ("polka-dot", "dotted"),
        ("gingham", "checked"),
        ("Leopard Print", "animal"),
        ("tie dye", "tie_dye"),
    ],
)
def test_what_merchandisers_write_is_read(plugin: ModuleType, text: str, key: str) -> None:
    value = plugin.PATTERN.labels.find(text)
    assert value is not None
    assert value.key == key


def test_exactly_one_pattern_holds_and_trousers_are_not_asked(plugin: ModuleType) -> None:
    assert plugin.PATTERN.labels.kind == "single"
    assert plugin.PATTERN.applies("dress")
    assert not plugin.PATTERN.applies("jeans")
