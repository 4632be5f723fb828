"""The colour plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestColour(AttributeContract):
    plugin = "attributree_colour"
    attribute = "colour"
    examples = (
        ("gray", "grey"),
        ("Navy Blue", "navy"),
        ("wine-red", "burgundy"),
        ("ecru", "beige"),
        ("colourful", None),
    )

    def test_it_is_the_only_one_and_brings_no_head(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        assert list(loaded.attributes) == ["colour"]
        assert loaded.first(attributree_branch_head, declared, in_features=8) is None

    def test_several_colours_hold_and_those_not_listed_are_absent(self, declared: Attribute) -> None:
        assert declared.labels.kind == "multi"
        assert declared.labels.closed_world

    def test_every_article_type_is_asked(self, declared: Attribute) -> None:
        assert all(declared.applies(article_type) for article_type in ("top", "dress", "jeans", "shoe"))
