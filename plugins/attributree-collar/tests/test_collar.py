"""The collar plugin: what every plugin keeps, and what it declares."""

from attributree import Attribute
from attributree.plugins import LoadedPlugins
from attributree.plugins.hookspecs import attributree_branch_head
from attributree.testing import AttributeContract


class TestCollar(AttributeContract):
    plugin = "attributree_collar"
    attribute = "collar"
    examples = (
        ("Grandad-Collar", "mandarin"),
        ("pussy bow", "bow"),
        ("Cuban collar", "camp"),
        ("no collar", "collarless"),
        ("collar", None),
    )

    def test_it_is_the_only_one_and_brings_no_head(self, loaded: LoadedPlugins, declared: Attribute) -> None:
        assert list(loaded.attributes) == ["collar"]
        assert loaded.first(attributree_branch_head, declared, in_features=8) is None

    def test_most_tops_have_none_and_can_say_so(self, declared: Attribute) -> None:
        assert declared.labels.kind == "single"
        assert declared.labels.keys[0] == "collarless"

    def test_tops_and_dresses_are_asked_and_trousers_are_not(self, declared: Attribute) -> None:
        assert declared.applies("top")
        assert declared.applies("dress")
        assert not declared.applies("jeans")
