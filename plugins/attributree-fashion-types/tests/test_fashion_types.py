"""The words of fashion: one type a word, and the types that attributes apply to are reached."""

from importlib import import_module

import pytest

from attributree import ArticleType
from attributree.article_types import ArticleTypes
from attributree.plugins import LoadedPlugins, load_plugins


@pytest.fixture
def loaded() -> LoadedPlugins:
    return load_plugins(entry_points=(), extra={"fashion_types": import_module("attributree_fashion_types")})


@pytest.fixture
def types(loaded: LoadedPlugins) -> ArticleTypes:
    return ArticleTypes(plugins=loaded.article_types)


def test_the_plugin_works_and_gives_each_word_to_one_type(loaded: LoadedPlugins, types: ArticleTypes) -> None:
    loaded.require_healthy()
    assert loaded.attributes == {}
    assert types.conflicts() == ()


def test_every_type_that_another_stands_below_is_there(types: ArticleTypes) -> None:
    known = types.plugins["fashion_types"]
    names = {one.name for one in known}
    assert {above for one in known for above in one.below} <= names
    assert {"top", "dress", "jeans"} <= names


def test_no_word_needs_to_be_there_twice_and_none_is_lost(types: ArticleTypes) -> None:
    for one in types.plugins["fashion_types"]:
        for word in (one.name, *one.words):
            assert types.resolve(word).canonical == one.name, word


@pytest.mark.parametrize(
    ("words", "below"),
    [
        ("Tshirts, T-Shirt, TEES, Men > Polo Shirts, Shirts, Kurtas, Kurtis, Tunics, Tops, Blouses, Hoodies", "top"),
        ("Sweaters, Jumpers, Cardigans, Sweatshirts, Jackets, Coats, Blazers, Waistcoats, Shrug, Jumpsuits", "top"),
        ("Innerwear Vests, Night suits, Tracksuits, Kurta Sets, Women/Clothing/Tops & Tees", "top"),
        ("Dresses, Maxi Dress, Women > Clothing > Dresses, Gowns, Nightdress", "dress"),
        ("Jeans, Women - Jeans, Denims, Skinny Jeans, Jeggings", "jeans"),
        ("Jeans, Track Pants, Shorts, Skirts, Capris, Leggings, Lounge Pants, Trousers", "bottom"),
        ("Casual Shoes, Flip Flops, Heels, Flats, Sports Sandals, Boots", "footwear"),
        ("Backpacks, Rucksacks, Laptop Bag, Clutches, Waist Pouch, Duffel Bag", "bag"),
        ("Belts, Ties, Cufflinks, Mufflers, Dupatta, Caps, Hat, Gloves, Umbrellas", "accessory"),
    ],
)
def test_words_of_shops_are_what_they_should_be(types: ArticleTypes, words: str, below: str) -> None:
    for word in words.split(", "):
        canonical = types.resolve(word).canonical
        assert canonical is not None, word
        assert below in (canonical, *types.above(canonical)), word


@pytest.mark.parametrize(
    "word", ["Watches", "Wallets", "Handbags", "Sunglasses", "Perfume and Body Mist", "Sarees", "Socks", "Bra", "Trunk"]
)
def test_what_has_no_upper_body_is_known_and_no_top(types: ArticleTypes, word: str) -> None:
    canonical = types.resolve(word).canonical
    assert canonical is not None
    assert not {"top", "dress", "jeans"} & {canonical, *types.above(canonical)}


def test_a_word_of_another_trade_is_unmapped(types: ArticleTypes) -> None:
    assert types.resolve("Floor tiles").canonical is None


def test_a_table_goes_on_in_indented_lines() -> None:
    from attributree_fashion_types import read_table

    table = """
tile: wall tiles; floor
    tiles
mosaic < tile, stone: mosaics
"""
    assert list(read_table(table)) == [
        ArticleType("tile", ("wall tiles", "floor tiles")),
        ArticleType("mosaic", ("mosaics",), ("tile", "stone")),
    ]
