"""The occasion plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestOccasion(AttributeContract):
    plugin = "attributree_occasion"
    attribute = "occasion"
    examples = (
        ("Black Tie", "formal"),
        ("office", "work"),
        ("night-out", "party"),
        ("everyday", "casual"),
        ("occasion", None),
    )

    def test_it_is_the_only_one_and_brings_no_head(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        assert list(loaded.attributes) == ["occasion"]
        assert loaded.first(attributree_branch_head, declared, in_features=8) is None

    def test_an_occasion_that_is_not_listed_is_unknown(self, declared: Attribute) -> None:
        assert declared.labels.kind == "multi"
        assert not declared.labels.closed_world

    def test_bags_are_not_asked(self, declared: Attribute) -> None:
        assert all(declared.applies(article_type) for article_type in ("top", "dress", "jeans"))
        assert not declared.applies("bag")
