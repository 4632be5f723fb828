"""Texts that no value spells are read as a normalizer says, and read again when another one is asked."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from attributree.catalog import Catalog
from attributree.errors import IngestError, PluginError
from attributree.labels.resolve import Reading, read_cell
from attributree.registry.predictions import load as load_predictions
from attributree.schema import Attribute, SingleLabel, Value
from support.catalogues import Shop

PLAIN = Attribute("neckline", SingleLabel((Value("crew"), Value("v_neck"))))
READ = replace(PLAIN, normalized_by="shop 1")


class Normalizer:
    """Reads abbreviations, and remembers what it was asked."""

    def __init__(self, who: str = "shop 1") -> None:
        self._who = who
        self.asked: list[str] = []

    def who(self, attribute: str) -> str:
        return self._who if attribute == "neckline" else ""

    def __call__(self, attribute: Attribute, text: str) -> str | None:
        self.asked.append(text)
        return {"v-nk": "V-Neck", "crw": "crew", "odd": "oddity"}.get(text.casefold())


@contextmanager
def opened(url: str, normalizer: Normalizer | None = None) -> Iterator[Catalog]:
    with Catalog.open(url, normalizer=normalizer) as catalog:
        yield catalog


def labelled(catalog: Catalog) -> dict[str, str]:
    """Return each picture's value."""
    said = catalog.labels.annotations("neckline", [image.id for image in catalog.labels.images()])
    names = {image.id: image.path for image in catalog.labels.images()}
    return {names[i]: "|".join(sorted(record.values)) for i, record in said.items()}


def told(catalog: Catalog, sku: str) -> list[str]:
    """Return what was said of a product, verbatim."""
    return [said.raw for kept in catalog.labels.history(sku, load_predictions).images for said in kept.observations]


def test_only_what_no_value_spells_is_asked_about() -> None:
    normalizer = Normalizer()
    assert read_cell(READ, "crew| V-Nk ", normalizer) == Reading(frozenset({"crew", "v_neck"}))
    assert normalizer.asked == ["V-Nk"]
    assert read_cell(READ, "n/a", normalizer) == Reading(applies=False)
    assert normalizer.asked == ["V-Nk"]


def test_an_answer_that_is_no_value_is_left_aside_and_the_text_reported() -> None:
    assert read_cell(READ, "odd|crew", Normalizer()).unknown == ("odd",)
    assert read_cell(READ, "what", Normalizer()).unknown == ("what",)


def test_an_attribute_that_nobody_normalizes_is_not_asked_about() -> None:
    normalizer = Normalizer()
    assert read_cell(PLAIN, "V-Nk", normalizer).unknown == ("V-Nk",)
    assert normalizer.asked == []


def test_what_is_ingested_is_stored_verbatim_and_read_normalized(url: str, shop: Shop) -> None:
    file = shop.labels("image,neckline", "a.jpg,V-Nk", "b.jpg,crew", "c.jpg,odd")
    normalizer = Normalizer()
    with opened(url, normalizer) as catalog:
        catalog.labels.declare(READ, "shop")
        summary = catalog.labels.ingest(file)
        assert [(unknown.text, unknown.count) for unknown in summary.unknown_values] == [("odd", 1)]
        assert labelled(catalog) == {"a.jpg": "v_neck", "b.jpg": "crew"}
        assert catalog.labels.coverage(READ).labelled == 2
        assert told(catalog, "a.jpg") == ["V-Nk"]
        assert catalog.labels.attributes()["neckline"].digest == READ.digest


def test_another_normalizer_is_another_schema_under_which_everything_is_read_again(url: str, shop: Shop) -> None:
    file = shop.labels("image,neckline", "a.jpg,V-Nk", "b.jpg,crew")
    with opened(url) as catalog:
        catalog.labels.declare(PLAIN, "shop")
        catalog.labels.ingest(file)
        assert labelled(catalog) == {"b.jpg": "crew"}
    with opened(url, Normalizer()) as catalog:
        assert catalog.labels.coverage(READ).labelled == 2  # before it is declared
        catalog.labels.declare(READ, "shop")
        assert labelled(catalog) == {"a.jpg": "v_neck", "b.jpg": "crew"}


@pytest.mark.parametrize("away", [None, Normalizer(""), Normalizer("shop 2")], ids=["none", "broken", "another"])
def test_what_comes_while_its_plugin_is_away_is_read_when_it_is_back(
    url: str, shop: Shop, away: Normalizer | None
) -> None:
    with opened(url, Normalizer()) as catalog:
        catalog.labels.declare(READ, "shop")
    with opened(url, away) as catalog:
        catalog.labels.ingest(shop.labels("image,neckline", "a.jpg,V-Nk"))
        assert catalog.labels.attributes()["neckline"].digest != READ.digest  # so that a sync declares it again
    with opened(url, Normalizer()) as catalog:
        catalog.labels.declare(READ, "shop")
        assert labelled(catalog) == {"a.jpg": "v_neck"}
        assert catalog.labels.attributes()["neckline"].digest == READ.digest


def test_an_error_of_the_normalizer_leaves_no_trace_of_the_file(url: str, shop: Shop) -> None:
    class Strict(Normalizer):
        def __call__(self, attribute: Attribute, text: str) -> str | None:
            raise PluginError("shop 1: raised ValueError")

    with opened(url, Strict()) as catalog:
        catalog.labels.declare(READ, "shop")
        with pytest.raises(PluginError, match="raised ValueError"):
            catalog.labels.ingest(shop.labels("image,neckline", "a.jpg,V-Nk"))
        assert catalog.labels.counts().images == 0


# -- other formats ---------------------------------------------------------------------------------


def test_rows_of_another_format_are_stored_like_any(url: str, shop: Shop) -> None:
    file = shop.image("a.jpg").with_suffix(".feed")
    file.write_text("a feed")
    cells: dict[str, object] = {" image ": "a.jpg", "sku": 1009.0, "neckline": ["crew", "v_neck"], "colour": None}
    asked: list[Any] = []

    def formats(path: Any) -> list[dict[str, object]]:
        asked.append(path)
        return [cells]

    with opened(url) as catalog:
        catalog.labels.declare(PLAIN, "shop")
        summary = catalog.labels.ingest(file, formats=formats)
        assert (summary.rows, summary.observations_new) == (1, 1)
        assert told(catalog, "1009") == ["crew|v_neck"]
        assert labelled(catalog) == {"a.jpg": "crew|v_neck"}
        csv = shop.labels("image,neckline", "a.jpg,crew|v_neck")
        catalog.labels.ingest(csv, formats=formats)
    assert set(asked) == {file}  # never of a format that is known here


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (lambda: None, r"\.feed is not known; .* or what a plugin reads, and none reads this one"),
        (list, "is empty; every row maps columns to cells, image among them"),
        (lambda: [{"image": "a.jpg"}, {"title": "1"}], r"row 2: there is no column 'image' \(found: title\)"),
        (lambda: [{"image": "", "x": "1"}], "row 1, column 'image': the cell is empty"),
        (lambda: [{"image": "a.jpg", "split": "all"}], "row 1, column 'split': 'all' is not a split"),
        (lambda: [{"image": "a.jpg", "neckline": {}}], "row 1, column 'neckline': dict is not a cell|an object is not"),
        (lambda: [{"image": "a.jpg", "x": "\0"}], "row 1, column 'x': holds a NUL character"),
        (lambda: [{"image": "a.jpg", "x": "1", " x": "2"}], "row 1, column 'x': the column is there twice"),
        (lambda: [{"image": "a.jpg", "x": "y" * 2_000_000}], "row 1, column 'x': the field is longer than 1,000,000"),
    ],
)
def test_rows_of_another_format_are_checked_and_nothing_is_stored_of_a_bad_file(
    url: str, shop: Shop, rows: Callable[[], Any], problem: str
) -> None:
    file = shop.image("a.jpg").with_suffix(".feed")
    file.write_text("a feed")
    with opened(url) as catalog:
        with pytest.raises(IngestError, match=f"shop/a.feed.*{problem}"):
            catalog.labels.ingest(file, formats=lambda path: rows())
        assert catalog.labels.counts().images == 0
        with pytest.raises(IngestError, match="there is no such file"):
            catalog.labels.ingest(file.with_name("none.feed"), formats=lambda path: rows())
