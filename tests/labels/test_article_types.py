"""Article types that a catalogue follows: a changed table derives anew what it changes, and loses nothing."""

from collections.abc import Callable

import pytest

from attributree import ArticleType, Attribute, SingleLabel
from attributree.article_types import EXACT, ArticleTypes
from attributree.catalog import Catalog
from attributree.labels.export import ExportOptions
from attributree.labels.records import AnnotationRecord
from support.catalogues import Shop

NECKLINE = Attribute("neckline", SingleLabel(("crew", "boat")), applies_to=("top",))
COLOUR = Attribute("colour", SingleLabel(("red", "blue")))
HEADER = "image,article_type,split,neckline,colour"
ROWS = (
    "a.png,Tees,train,crew,red",
    "b.png,Tees,val,,red",
    "c.png,Tees,train,crew|boat,",
    "d.png,Watches,train,boat,blue",
    "e.png,Watches,train,,",
    "f.png,Tees,train,n/a,",
    "g.png,,train,boat,",
)
NO_WORDS = ArticleTypes(plugins={"neckline": (ArticleType("top"),)})
WORDS = ArticleTypes(
    plugins={
        "neckline": (ArticleType("top"),),
        "words": (ArticleType("tshirt", ("tees",), below=("top",)), ArticleType("watch")),
    }
)


@pytest.fixture
def opened(catalog: Catalog, shop: Shop) -> Callable[..., Catalog]:
    """Opens the one catalogue, into which ROWS were ingested before there were article types, with some."""
    catalog.labels.declare(NECKLINE, "p")
    catalog.labels.declare(COLOUR, "p")
    catalog.labels.ingest(shop.labels(HEADER, *ROWS))
    return lambda types: Catalog.open(catalog.url, types=lambda: types)


def states(catalog: Catalog) -> dict[str, str]:
    """Return the state of the neckline of each image; what has none is unknown."""
    images = {image.id: image.path.removesuffix(".png") for image in catalog.labels.images()}
    known = catalog.labels.annotations("neckline", list(images))
    return {path: known[i].state if i in known else "unknown" for i, path in images.items()}


def gaps(catalog: Catalog) -> str:
    paths = {image.id: image.path.removesuffix(".png") for image in catalog.labels.images()}
    return "".join(paths[i] for i in catalog.labels.missing("neckline"))


def counts(catalog: Catalog) -> tuple[int, int, int, int, int]:
    found = catalog.labels.coverage(NECKLINE)
    return found.labelled, found.ambiguous, found.not_applicable, found.unknown, found.unmapped


def test_a_catalogue_that_never_had_a_table_answers_as_before(catalog: Catalog, opened: Callable[..., Catalog]) -> None:
    assert catalog.labels.types() == EXACT
    assert states(catalog) == {**dict.fromkeys("abcdef", "not_applicable"), "g": "labelled"}
    assert gaps(catalog) == ""
    assert counts(catalog) == (1, 0, 6, 0, 0)
    with opened(WORDS) as configured:  # it is only read
        assert states(configured) == states(catalog)
        assert counts(configured) == (2, 1, 3, 1, 0)  # as it will be
        assert catalog.labels.types() == EXACT


def test_of_an_unmapped_type_what_is_stated_counts_and_the_rest_is_unknown_and_no_gap(
    opened: Callable[..., Catalog],
) -> None:
    with opened(NO_WORDS) as configured:
        configured.labels.follow_settings()
        assert states(configured) == {
            "a": "labelled",
            "b": "unknown",
            "c": "ambiguous",
            "d": "labelled",
            "e": "unknown",
            "f": "not_applicable",
            "g": "labelled",
        }
        assert counts(configured) == (3, 1, 1, 2, 2)
        assert gaps(configured) == "c"  # something is stated there, so the question is asked


def test_words_of_a_plugin_derive_anew_what_they_change_and_nothing_else(opened: Callable[..., Catalog]) -> None:
    with opened(NO_WORDS) as before:
        before.labels.follow_settings()
        revision = before.labels.revision()
    with opened(WORDS) as configured:
        assert counts(configured) == (2, 1, 3, 1, 0)
        configured.labels.follow_settings()
        assert configured.labels.revision() == revision + 1
        assert configured.labels.types() == WORDS
        assert states(configured) == {
            "a": "labelled",
            "b": "unknown",
            "c": "ambiguous",
            "d": "not_applicable",
            "e": "not_applicable",
            "f": "not_applicable",
            "g": "labelled",
        }
        assert counts(configured) == (2, 1, 3, 1, 0)
        assert gaps(configured) == "bc"
        # The watch's label went; what is said of tees is what it was, and no news.
        assert configured.labels.new_labels("neckline", revision) == 0
        assert configured.labels.label_set("neckline").image_ids.tolist() == [1, 3, 7]
        configured.labels.follow_settings()
        assert configured.labels.revision() == revision + 1  # once is enough


def test_a_table_that_is_taken_back_brings_everything_back(opened: Callable[..., Catalog]) -> None:
    with opened(NO_WORDS) as first:
        first.labels.follow_settings()
        was = states(first)
    with opened(WORDS) as second:
        second.labels.follow_settings()
    with opened(NO_WORDS) as third:
        revision = third.labels.revision()
        third.labels.follow_settings()
        assert states(third) == was
        assert third.labels.annotations("neckline", [4])[4] == AnnotationRecord("labelled", ("boat",), ("boat",))
        assert third.labels.new_labels("neckline", revision) == 1  # the watch's


def test_an_ingest_follows_the_table_and_reads_new_rows_under_it(opened: Callable[..., Catalog], shop: Shop) -> None:
    shown = ArticleTypes((ArticleType("top", ("Blusen",)),), NO_WORDS.plugins)
    with opened(shown) as configured:
        configured.labels.ingest(shop.labels(HEADER, "h.png,Damen > Blusen,train,crew,", name="more.csv"))
        assert states(configured)["h"] == "labelled"
        assert configured.labels.types() == shown


def test_a_product_that_gets_another_type_is_read_again(opened: Callable[..., Catalog], shop: Shop) -> None:
    with opened(WORDS) as configured:
        configured.labels.ingest(shop.labels("image,article_type", "a.png,Watch", name="more.csv"))
        assert states(configured)["a"] == "not_applicable"


def test_a_catalogue_opened_without_types_keeps_those_it_follows(
    catalog: Catalog, opened: Callable[..., Catalog], shop: Shop
) -> None:
    with opened(WORDS) as configured:
        configured.labels.follow_settings()
    catalog.labels.ingest(shop.labels(HEADER, "h.png,Tees,train,crew,", name="more.csv"))
    assert states(catalog)["h"] == "labelled"
    assert counts(catalog) == (3, 1, 3, 1, 0)


def test_a_stored_prediction_of_an_unmapped_type_goes_to_review(
    opened: Callable[..., Catalog], predict: Callable[..., int]
) -> None:
    said = dict.fromkeys(("b.png", "e.png"), ("crew", "accept"))

    def decisions(catalog: Catalog) -> list[str]:
        return [record.decision for record in catalog.registry.predictions("neckline")]

    with opened(WORDS) as configured:
        configured.labels.follow_settings()
        predict(configured, "neckline", said)
        assert decisions(configured) == ["accept", "not_applicable"]
    with opened(NO_WORDS) as configured:
        configured.labels.follow_settings()
        assert decisions(configured) == ["review", "review"]


def test_an_export_says_unknown_where_the_type_is_unmapped(opened: Callable[..., Catalog], shop: Shop) -> None:

    with opened(NO_WORDS) as configured:
        configured.labels.follow_settings()
        out = shop.folder / "out.csv"
        configured.labels.export(out, "csv", ExportOptions(provenance=True, attributes=("neckline",)))
    told = [line.split(",") for line in out.read_text().splitlines()]
    assert [dict(zip(told[0], line, strict=True))["neckline::state"] for line in told[1:]] == [
        *("labelled", "unknown", "ambiguous", "labelled", "unknown", "not_applicable", "labelled"),
    ]


def test_stated_labels_are_counted_by_type_and_cell_without_what_was_mined(
    opened: Callable[..., Catalog], shop: Shop
) -> None:
    with opened(WORDS) as configured:
        configured.labels.ingest(shop.labels("image,neckline", "a.png,boat", name="again.csv"))
        configured.labels.ingest(shop.labels("image,neckline", "a.png,crew", name="other.csv"), source="supplier")
        configured.labels.ingest(shop.labels("image,neckline", "b.png,crew", name="text.csv"), source="text")
        assert configured.labels.stated_labels() == {"Tees": 5, "Watches": 2, "": 1}
        assert configured.labels.stated_labels(["Watches"]) == {"Watches": 2}
        assert configured.labels.product_counts() == {"Tees": 4, "Watches": 2, "": 1}


def test_what_is_stated_of_products_follows_the_table_and_is_counted_for_each_picture(
    opened: Callable[..., Catalog], shop: Shop
) -> None:
    with opened(WORDS) as configured:
        rows = ("x.png,P1,Kurtis", "y.png,P1,Kurtis")
        configured.labels.ingest(shop.labels("image,sku,article_type", *rows, name="more.csv"))
        configured.labels.ingest(shop.labels("sku,neckline", "P1,crew", name="products.csv", images=False))
        assert configured.labels.stated_labels(["Kurtis"]) == {"Kurtis": 2}
    outside = ArticleTypes((ArticleType("watch", ("Kurtis",)),), WORDS.plugins)
    with opened(outside) as configured:
        configured.labels.follow_settings()
        assert (states(configured)["x"], states(configured)["y"]) == ("not_applicable", "not_applicable")
    inside = ArticleTypes((ArticleType("top", ("Kurtis",)),), WORDS.plugins)
    with opened(inside) as configured:
        configured.labels.follow_settings()
        assert (states(configured)["x"], states(configured)["y"]) == ("labelled", "labelled")
