"""The silhouette plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestSilhouette(AttributeContract):
    plugin = "attributree_silhouette"
    attribute = "silhouette"
    examples = (("A-line", "a_line"), ("hi-lo", "high_low"), ("shape", None))

    def test_two_attributes_are_declared_and_no_head(self, loaded: LoadedPlugins) -> None:
        assert list(loaded.attributes) == ["fit", "silhouette"]
        for attribute in loaded.attributes.values():
            assert loaded.first(attributree_branch_head, attribute, in_features=8) is None

    def test_exactly_one_silhouette_holds_and_only_tops_are_asked(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert declared.applies("top")
        assert not declared.applies("dress")
        assert not declared.applies("jeans")


class TestFit(AttributeContract):
    plugin = "attributree_silhouette"
    attribute = "fit"
    examples = (("Loose Fit", "relaxed"), ("second skin", "tight"), ("wide", None))

    def test_the_values_are_steps_away_from_the_body(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("tight", "slim", "regular", "relaxed", "oversized")

    def test_dresses_are_asked_and_trousers_are_not(self, declared: Attribute) -> None:
        assert declared.applies("top")
        assert declared.applies("dress")
        assert not declared.applies("jeans")
