"""The dresses plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestDressLength(AttributeContract):
    plugin = "attributree_dresses"
    attribute = "dress_length"
    examples = (("calf-length", "midi"), ("Tea Length", "midi"), ("long", None))

    def test_two_attributes_are_declared_of_dresses_alone_and_no_head(self, loaded: LoadedPlugins) -> None:
        assert list(loaded.attributes) == ["dress_length", "dress_shape"]
        for attribute in loaded.attributes.values():
            assert attribute.applies("dress")
            assert not attribute.applies("top")
            assert loaded.first(attributree_branch_head, attribute, in_features=8) is None

    def test_the_values_are_steps_from_the_thigh_to_the_floor(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("mini", "knee", "midi", "maxi", "floor")


class TestDressShape(AttributeContract):
    plugin = "attributree_dresses"
    attribute = "dress_shape"
    examples = (("skater dress", "fit_and_flare"), ("A line", "a_line"), ("dress", None))

    def test_exactly_one_shape_holds(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
