"""Whose word counts: a precedence of sources that changed is carried into what annotations say."""

from typing import Any

from attributree import Attribute, SingleLabel
from attributree.catalog import Catalog, Sources

Shop = Any  # the class is in conftest.py, which cannot be imported

NECKLINE = Attribute("neckline", SingleLabel(("crew", "boat")))
SUPPLIER_FIRST = Sources.configured({"supplier": {"rank": 9, "weight": 0.5}})


def say(catalog: Catalog, shop: Shop) -> None:
    """Let two sources disagree on one image."""
    catalog.declare(NECKLINE, "p")
    catalog.ingest(shop.labels("image,neckline", "a.png,crew"))
    catalog.ingest(shop.labels("image,neckline", "a.png,boat"), source="supplier")


def values(catalog: Catalog) -> tuple[str, ...]:
    return catalog.annotations("neckline", [1])[1].values


def test_what_was_said_is_read_again_under_another_precedence(catalog: Catalog, shop: Shop) -> None:
    say(catalog, shop)
    assert values(catalog) == ("crew", "boat")
    before = catalog.revision()
    with Catalog.open(catalog.url, sources=SUPPLIER_FIRST) as configured:
        assert configured.coverage(NECKLINE).labelled == 1  # as it will be
        assert values(configured) == ("crew", "boat")
        configured.follow_sources()
        assert values(configured) == ("boat",)
        assert configured.label_set("neckline").weight.tolist() == [0.5]
        assert configured.new_labels("neckline", before) == 1
        assert configured.sources() == SUPPLIER_FIRST
        revision = configured.revision()
        configured.follow_sources()
        assert configured.revision() == revision
    with Catalog.open(catalog.url, sources=Sources()) as usual:
        usual.follow_sources()
        assert values(usual) == ("crew", "boat")


def test_an_ingest_carries_a_new_precedence_to_every_image(catalog: Catalog, shop: Shop) -> None:
    say(catalog, shop)
    with Catalog.open(catalog.url, sources=SUPPLIER_FIRST) as configured:
        configured.ingest(shop.labels("image,neckline", "b.png,crew"))
        assert values(configured) == ("boat",)


def test_a_catalogue_opened_without_a_precedence_keeps_the_one_it_follows(catalog: Catalog, shop: Shop) -> None:
    with Catalog.open(catalog.url, sources=SUPPLIER_FIRST) as configured:
        say(configured, shop)
    catalog.ingest(shop.labels("image,neckline", "a.png,crew"), source="scan")
    assert values(catalog) == ("boat",)
    assert catalog.coverage(NECKLINE).labelled == 1
