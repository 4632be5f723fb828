"""The pattern plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestPattern(AttributeContract):
    plugin = "attributree_pattern"
    examples = (
        ("Plain", "solid"),
        ("polka-dot", "dotted"),
        ("gingham", "checked"),
        ("Leopard Print", "animal"),
        ("tie dye", "tie_dye"),
        ("print", "printed"),
        ("Graphic Print", "graphic"),
    )

    def test_it_brings_no_head(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        assert loaded.first(attributree_branch_head, declared, in_features=8) is None

    def test_exactly_one_pattern_holds_and_trousers_are_not_asked(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert declared.applies("dress")
        assert not declared.applies("jeans")
