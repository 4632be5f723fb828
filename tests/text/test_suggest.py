"""What could be declared is suggested from columns, phrases and unreadable cells, and nothing is changed."""

from typing import Any

import pytest
from sqlalchemy import event

from attributree import Attribute, SingleLabel, Value
from attributree.catalog import Catalog
from attributree.jsonable import jsonable
from attributree.labels import auto
from attributree.labels.records import UnknownValue
from attributree.text.mine import mine
from attributree.text.miner import Vocabulary
from attributree.text.suggest import SuggestedValue, cluster, phrases, suggest
from support.catalogues import Shop

NECKLINE = Attribute(
    "neckline", SingleLabel((Value("crew", synonyms=("crew neck",)), Value("v_neck"))), applies_to=("top",)
)


def texts(*pairs: tuple[str, str], times: int = 3) -> list[tuple[str, tuple[str, ...]]]:
    """Return products, each `times` times, from (article type, title) pairs."""
    return [(article_type, (title,)) for article_type, title in pairs for _ in range(times)]


def found(*pairs: tuple[str, str], times: int = 3) -> dict[str, str]:
    """Return the attribute of each phrase that is suggested, empty for none."""
    return {p.text: p.attribute for p in phrases(texts(*pairs, times=times), Vocabulary([NECKLINE]))}


# -- phrases ---------------------------------------------------------------------------------------


def test_a_frequent_phrase_that_no_schema_knows_is_suggested_for_the_attribute_that_ends_alike() -> None:
    suggested = found(("top", "halter neck top"), ("top", "crew neck top"), ("jeans", "ripped jeans"))
    assert suggested == {"halter neck": "neckline", "ripped": ""}


def test_a_phrase_of_few_products_or_of_all_of_them_is_not_suggested() -> None:
    assert found(("top", "halter neck top"), ("", "crew"), times=2) == {}
    assert found(("top", "lovely crew neck"), ("dress", "lovely crew neck")) == {}


def test_a_product_counts_once_however_often_it_says_so() -> None:
    (phrase,) = phrases([("top", ("ripped, ripped", "ripped"))] * 3 + texts(("jeans", "")), Vocabulary([NECKLINE]))
    assert (phrase.text, phrase.products, phrase.article_types) == ("ripped", 3, ("top",))


def test_plurals_are_one_phrase_and_the_article_type_s_own_word_is_none() -> None:
    products = texts(("top", "puff sleeves"), ("top", "puff sleeve top"), ("dress", "plain dresses"), times=2)
    assert {(p.text, p.products) for p in phrases(products, Vocabulary([]))} == {("puff sleeves", 4)}


def test_no_phrase_reaches_across_a_clause_or_a_known_spelling_or_ends_in_a_small_word() -> None:
    suggested = found(("top", "soft, warm crew neck of wool for you"), ("jeans", "jeans"))
    assert suggested.keys() == {"soft", "warm", "wool"}


def test_what_falls_on_one_article_type_comes_before_what_falls_on_all() -> None:
    products = texts(("top", "gauzy"), ("dress", "dress"), times=4) + texts(("top", "boxy"), ("dress", "boxy"), times=2)
    ranked = phrases(products, Vocabulary([]))
    assert [(p.text, p.products, p.unevenness) for p in ranked] == [("gauzy", 4, 0.5), ("boxy", 4, 0.0)]


def test_rare_phrases_are_dropped_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attributree.text.suggest._MOST_PHRASES", 5)
    once = [("top", (f"word{i}",)) for i in range(30)]
    products = [part for pair in zip(once, [("top", ("gauzy",))] * 30, strict=True) for part in pair]
    assert [p.text for p in phrases(products, Vocabulary([]))] == ["gauzy"]


# -- columns ---------------------------------------------------------------------------------------


def test_cells_that_differ_in_writing_or_by_a_slip_are_one_value() -> None:
    cells = {"Zip": 30, "zips": 4, "ZIP ": 5, "zipp": 1, "button": 20, "buton": 2, "zip|button": 3, "n/a": 9, "": 2}
    assert cluster(cells) == [
        SuggestedValue("zip", "Zip", 43, ("zips", "zipp")),
        SuggestedValue("button", "button", 25, ("buton",)),
    ]


@pytest.mark.parametrize("pair", [("light", "tight"), ("wool", "cotton")])
def test_common_spellings_and_other_words_are_values_of_their_own(pair: tuple[str, str]) -> None:
    assert [value.title for value in cluster({pair[0]: 21, pair[1]: 20})] == list(pair)


def test_texts_with_other_numbers_are_never_slips_of_each_other() -> None:
    assert [value.title for value in cluster({"3 buttons": 100, "4 buttons": 1})] == ["3 buttons", "4 buttons"]


@pytest.mark.parametrize(
    ("text", "other"), [("10", "-10"), ("grade A", "grade A-"), ("grade A", "grade B"), ("size L", "size XL")]
)
def test_texts_with_other_signs_or_short_words_are_never_slips_of_each_other(text: str, other: str) -> None:
    assert [value.title for value in cluster({text: 100, other: 1})] == [text, other]


# -- the catalogue ---------------------------------------------------------------------------------


def test_columns_phrases_and_unreadable_cells_are_suggested_and_nothing_changes(catalog: Catalog, shop: Shop) -> None:
    rows = [f"{i}.png,top,halter neck top,,{'zip' if i % 2 else 'button'},vnek" for i in range(4)]
    rows += [f"{i}.png,jeans,jeans,,zip|button," for i in range(4, 8)]
    catalog.labels.ingest(shop.labels("image,article_type,title,description,closure,neckline", *rows))
    mine(catalog.labels, {"neckline": NECKLINE})
    revision = catalog.labels.counts().revision
    suggestions = suggest(catalog.labels, {"neckline": NECKLINE})
    (column,) = suggestions.columns
    assert (column.column, column.images, column.multi, column.article_types) == ("closure", 8, True, ())
    assert [(v.key, v.count) for v in column.values] == [("button", 6), ("zip", 6)]
    assert [(p.text, p.attribute, p.products) for p in suggestions.phrases] == [("halter neck", "neckline", 4)]
    assert suggestions.unreadable == (UnknownValue("neckline", "vnek", 4, "v_neck"),)
    assert catalog.labels.counts().revision == revision
    assert jsonable(suggestions)["columns"][0]["values"][0] == {
        "key": "button", "title": "button", "count": 6, "synonyms": [],
    }  # fmt: skip


@pytest.mark.parametrize("together", [500_000, 25, 1])
def test_columns_are_read_together_up_to_a_number_of_observations(
    catalog: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    names = [f"column_{i}" for i in range(6)]
    rows = [f"{i}.png,{('top', 'dress')[i % 2]}," + ",".join("ab"[i // 5] for _ in names) for i in range(10)]
    catalog.labels.ingest(shop.labels(",".join(["image", "article_type", *names]), *rows))
    monkeypatch.setattr(auto, "LEAST_IMAGES", 5)
    monkeypatch.setattr(auto, "_TOGETHER", together)
    asked: list[str] = []

    def count(*arguments: Any) -> None:
        asked.append(arguments[2])

    engine = catalog._database._engine
    event.listen(engine, "before_cursor_execute", count)
    found = catalog.labels.auto_attributes([names[0]])
    event.remove(engine, "before_cursor_execute", count)
    assert {name: attribute.labels.keys for name, attribute in found.items()} == dict.fromkeys(names[1:], ("a", "b"))
    parts = {500_000: 1, 25: 3, 1: 5}[together]
    assert sum("FROM observation" in statement for statement in asked) == 2 * parts  # their texts and article types
    suggested = {column.column: column for column in suggest(catalog.labels, {}).columns}
    assert suggested.keys() == set(names)
    assert {tuple((value.key, value.count) for value in column.values) for column in suggested.values()} == {
        (("a", 5), ("b", 5))
    }


def test_a_limit_keeps_the_first_of_each_kind(catalog: Catalog, shop: Shop) -> None:
    rows = [f"{i}.png,gauzy boxy,{i % 3},{'x' if i else ''}" for i in range(6)] + ["y.png,other,,"]
    catalog.labels.ingest(shop.labels("image,title,size,mark", *rows))
    suggestions = suggest(catalog.labels, {}, limit=1)
    assert [c.column for c in suggestions.columns] == ["size"]
    assert len(suggestions.columns[0].values) == len(suggestions.phrases) == 1


def test_a_column_that_only_texts_filled_is_not_suggested(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image,title", "a.png,crew neck"))
    assert mine(catalog.labels, {"neckline": NECKLINE}).observations_new == 1
    assert suggest(catalog.labels, {}).columns == ()
