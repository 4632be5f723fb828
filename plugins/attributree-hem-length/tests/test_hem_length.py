"""The hem length plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestHemLength(AttributeContract):
    plugin = "attributree_hem_length"
    attribute = "hem_length"
    examples = (("Crop Top", "cropped"), ("longline", "tunic"), ("hip-length", "hip"), ("hem", None))

    def test_it_is_the_only_one_and_brings_no_head(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        assert list(loaded.attributes) == ["hem_length"]
        assert loaded.first(attributree_branch_head, declared, in_features=8) is None

    def test_the_values_are_steps_from_the_midriff_to_the_thigh(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("cropped", "waist", "hip", "tunic")

    def test_dresses_are_not_asked(self, declared: Attribute) -> None:
        assert declared.applies("top")
        assert not declared.applies("dress")
