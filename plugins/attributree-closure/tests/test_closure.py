"""The closure plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestClosure(AttributeContract):
    plugin = "attributree_closure"
    attribute = "closure"
    examples = (
        ("zipper", "zip"),
        ("Button-Through", "buttons"),
        ("poppers", "snap"),
        ("pullover", "pull_on"),
        ("fastening", None),
    )

    def test_it_is_the_only_one_and_brings_no_head(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        assert list(loaded.attributes) == ["closure"]
        assert loaded.first(attributree_branch_head, declared, in_features=8) is None

    def test_exactly_one_closure_holds_and_bags_are_not_asked(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert all(declared.applies(article_type) for article_type in ("top", "dress", "jeans"))
        assert not declared.applies("bag")
