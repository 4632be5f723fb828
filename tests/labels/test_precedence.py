"""Whose word counts: a precedence of sources that changed is carried into what annotations say."""

from attributree import Attribute, SingleLabel
from attributree.catalog import Catalog
from attributree.labels.resolve import Sources
from support.catalogues import Shop

NECKLINE = Attribute("neckline", SingleLabel(("crew", "boat")))
SUPPLIER_FIRST = Sources.configured({"supplier": {"rank": 9, "weight": 0.5}})


def say(catalog: Catalog, shop: Shop) -> None:
    """Let two sources disagree on one image."""
    catalog.labels.declare(NECKLINE, "p")
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew"))
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,boat"), source="supplier")


def values(catalog: Catalog) -> tuple[str, ...]:
    return catalog.labels.annotations("neckline", [1])[1].values


def test_what_was_said_is_read_again_under_another_precedence(catalog: Catalog, shop: Shop) -> None:
    say(catalog, shop)
    assert values(catalog) == ("crew", "boat")
    before = catalog.labels.revision()
    with Catalog.open(catalog.url, sources=SUPPLIER_FIRST) as configured:
        assert configured.labels.coverage(NECKLINE).labelled == 1  # as it will be
        assert values(configured) == ("crew", "boat")
        configured.labels.follow_settings()
        assert values(configured) == ("boat",)
        assert configured.labels.label_set("neckline").weight.tolist() == [0.5]
        assert configured.labels.new_labels("neckline", before) == 1
        assert configured.labels.sources() == SUPPLIER_FIRST
        revision = configured.labels.revision()
        configured.labels.follow_settings()
        assert configured.labels.revision() == revision
    with Catalog.open(catalog.url, sources=Sources()) as usual:
        usual.labels.follow_settings()
        assert values(usual) == ("crew", "boat")


def test_an_ingest_carries_a_new_precedence_to_every_image(catalog: Catalog, shop: Shop) -> None:
    say(catalog, shop)
    with Catalog.open(catalog.url, sources=SUPPLIER_FIRST) as configured:
        configured.labels.ingest(shop.labels("image,neckline", "b.png,crew"))
        assert values(configured) == ("boat",)


def test_a_catalogue_opened_without_a_precedence_keeps_the_one_it_follows(catalog: Catalog, shop: Shop) -> None:
    with Catalog.open(catalog.url, sources=SUPPLIER_FIRST) as configured:
        say(configured, shop)
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew"), source="scan")
    assert values(catalog) == ("boat",)
    assert catalog.labels.coverage(NECKLINE).labelled == 1
