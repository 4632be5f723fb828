"""The catalogue that pytest finds wherever the drawn shop is installed."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

from attributree import Attribute, Ordinal, Workspace, hookimpl
from attributree_drawn_shop import GarmentCatalogue, garment_attributes


def plugin_of(attribute: Attribute) -> SimpleNamespace:
    """Return a plugin that declares one attribute."""

    @hookimpl
    def attributree_attributes() -> list[Attribute]:
        return [attribute]

    return SimpleNamespace(attributree_attributes=attributree_attributes)


def test_the_catalogue_can_be_ingested(
    attributree_catalogue: GarmentCatalogue, attributree_workspace: Callable[..., Workspace]
) -> None:
    workspace = attributree_workspace()
    summary = workspace.ingest(attributree_catalogue.products, images=attributree_catalogue.photos)
    assert summary.images_new == attributree_catalogue.counts["photos"] == 120
    assert summary.undeclared.keys() == {attribute.name for attribute in garment_attributes()}


def test_an_author_can_ask_whether_every_cell_is_read(
    attributree_catalogue: GarmentCatalogue, attributree_workspace: Callable[..., Workspace]
) -> None:
    hem = next(attribute for attribute in garment_attributes() if attribute.name == "hem")
    fewer = replace(hem, labels=Ordinal(hem.labels.values[:3]))
    for attribute, unread in ((hem, []), (fewer, ["maxi"])):
        workspace = attributree_workspace({"hem": plugin_of(attribute)})
        workspace.ingest(attributree_catalogue.products, images=attributree_catalogue.photos)
        workspace.sync(train=False)
        found = workspace.status()["attributes"]["hem"]["unreadable"]
        assert [unknown["text"] for unknown in found] == unread
