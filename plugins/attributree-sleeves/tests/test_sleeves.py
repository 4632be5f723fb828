"""The sleeves plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestSleeveLength(AttributeContract):
    plugin = "attributree_sleeves"
    attribute = "sleeve_length"
    examples = (
        ("3/4 sleeves", "three_quarter"),
        ("Long-Sleeved", "long"),
        ("capped sleeve", "cap"),
        ("no sleeves", "sleeveless"),
        ("sleeve", None),
    )

    def test_two_attributes_are_declared_and_no_head(self, loaded: LoadedPlugins) -> None:
        assert list(loaded.attributes) == ["sleeve_length", "sleeve_style"]
        for attribute in loaded.attributes.values():
            assert loaded.first(attributree_branch_head, attribute, in_features=8) is None

    def test_the_values_are_steps_from_none_to_the_wrist(self, declared: Attribute) -> None:
        labels = declared.labels
        assert labels.kind == "ordinal"
        assert labels.keys == ("sleeveless", "cap", "short", "elbow", "three_quarter", "long")
        assert labels.outputs == 5

    def test_trousers_are_not_asked(self, declared: Attribute) -> None:
        assert declared.applies("top")
        assert not declared.applies("jeans")


class TestSleeveStyle(AttributeContract):
    plugin = "attributree_sleeves"
    attribute = "sleeve_style"
    examples = (("Puffed Sleeve", "puff"), ("dolman", "batwing"))

    def test_exactly_one_style_holds_and_trousers_are_not_asked(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert declared.applies("dress")
        assert not declared.applies("jeans")
