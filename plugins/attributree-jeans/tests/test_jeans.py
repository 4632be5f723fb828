"""The jeans plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestWaistRise(AttributeContract):
    plugin = "attributree_jeans"
    attribute = "waist_rise"
    examples = (("high-waisted", "high"), ("Hip Hugger", "low"), ("waist", None))

    def test_four_attributes_are_declared_of_jeans_alone_and_no_head(self, loaded: LoadedPlugins) -> None:
        assert list(loaded.attributes) == ["distress", "jeans_fit", "waist_rise", "wash"]
        for attribute in loaded.attributes.values():
            assert attribute.applies("jeans")
            assert not attribute.applies("top")
            assert loaded.first(attributree_branch_head, attribute, in_features=8) is None

    def test_the_values_are_steps_upwards(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("low", "mid", "high", "ultra_high")


class TestJeansFit(AttributeContract):
    plugin = "attributree_jeans"
    attribute = "jeans_fit"
    examples = (("Boot Cut", "bootcut"), ("mom jeans", "mom"), ("jeans", None))

    def test_exactly_one_fit_holds(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"


class TestWash(AttributeContract):
    plugin = "attributree_jeans"
    attribute = "wash"
    examples = (("rinse wash", "dark"), ("Stone-Wash", "medium"), ("denim", None))

    def test_the_values_are_steps_from_white_to_black(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("white", "light", "medium", "dark", "black")


class TestDistress(AttributeContract):
    plugin = "attributree_jeans"
    attribute = "distress"
    examples = (("destroyed", "heavy"), ("clean", "none"), ("holes", None))

    def test_the_values_are_steps_from_none_to_heavy(self, declared: Attribute) -> None:
        assert declared.labels.kind == "ordinal"
        assert declared.labels.keys == ("none", "light", "moderate", "heavy")
