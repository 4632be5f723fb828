"""What a shop's words are, by which rule, and what is asked of them. Pure: no catalogue, no plugin."""

from dataclasses import replace

import pytest

from attributree import ArticleType, Attribute, SingleLabel
from attributree.article_types import (
    ASKED,
    EXACT,
    OUTSIDE,
    UNMAPPED,
    ArticleTypes,
    TypeRule,
    check_types,
    type_key,
)
from attributree.errors import SchemaError

PLUGIN = (
    ArticleType("top", ("upper wear",)),
    ArticleType("tshirt", ("tees", "graphic tees"), below=("top",)),
    ArticleType("polo", ("polos",), below=("tshirt",)),
    ArticleType("watch"),
    ArticleType("scarf", ("mufflers",)),
)
TYPES = ArticleTypes(plugins={"words": PLUGIN})


def attribute(*applies_to: str, name: str = "neckline") -> Attribute:
    return Attribute(name, SingleLabel(("crew", "boat")), applies_to=applies_to)


# -- the fold --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("T-Shirts", "tshirt"),
        ("  t shirt ", "Tshirts"),
        ("Dresses", "dress"),
        ("WATCHES", "watch"),
        ("Scarves", "scarf"),
        ("knives", "knife"),
        ("gloves", "glove"),
        ("hoodies", "hoodie"),
        ("Shoe Accessories", "shoe accessory"),
        ("Women's Tops", "womens top"),
        ("Tops & Tees", "tops and tee"),
        ("Ｔｏｐｓ", "top"),
    ],
)
def test_case_plural_blanks_and_signs_do_not_matter(one: str, other: str) -> None:
    assert type_key(one) == type_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("dress", "dressing"), ("tie", "tights"), ("A-1", "A1B"), ("top", "tube top")]
)
def test_other_words_stay_other_words(one: str, other: str) -> None:
    assert type_key(one) != type_key(other)


@pytest.mark.parametrize(
    ("word", "canonical", "rule", "reading"),
    [
        ("T-shirt", "tshirt", "fold", "T-shirt"),
        ("Graphic Tee", "tshirt", "plugin", "Graphic Tee"),
        ("Women > Tees", "tshirt", "plugin", "Tees"),
        ("Women/Tops/Polos", "polo", "plugin", "Polos"),
        ("Men » Watches", "watch", "fold", "Watches"),
        ("Women - Tops", "top", "fold", "Tops"),
        ("Clothing > Tops > Asymmetric", "top", "fold", "Tops"),  # the narrowest step that is known
        ("Asymmetric", None, None, None),
        ("", None, None, None),
        (" > ", None, None, None),
    ],
)
def test_a_word_meets_its_type_by_all_of_it_or_by_the_narrowest_known_step(
    word: str, canonical: str | None, rule: str | None, reading: str | None
) -> None:
    found = TYPES.resolve(word)
    assert (found.canonical, found.rule, found.reading) == (canonical, rule, reading)


def test_the_shops_own_table_comes_before_plugins_words_and_those_before_the_fold() -> None:
    shop = ArticleTypes(
        settings=(ArticleType("accessory", ("Tees", "Mufflers")),),
        plugins={"words": PLUGIN, "other": (ArticleType("wrap", ("scarf",)),)},
    )
    assert shop.resolve("Tee") == TypeRule("accessory", "settings", None, "Tee")
    assert shop.resolve("muffler").canonical == "accessory"
    # A plugin's word comes before the type of that name.
    assert shop.resolve("Scarves") == TypeRule("wrap", "plugin", "other", "Scarves")
    assert shop.resolve("Watches") == TypeRule("watch", "fold", None, "Watches")


def test_a_narrow_step_that_a_plugin_knows_comes_before_a_wide_one_of_the_shops_table() -> None:
    shop = ArticleTypes(settings=(ArticleType("watch", ("Women",)),), plugins={"words": PLUGIN})
    assert shop.resolve("Women > Tees").canonical == "tshirt"
    assert shop.resolve("Women > Novelties").canonical == "watch"


def test_a_word_that_two_plugins_give_to_two_types_has_none_until_the_shop_decides() -> None:
    plugins = {"a": (ArticleType("vest", ("slips",)),), "b": (ArticleType("skirt", ("slip",)),)}
    torn = ArticleTypes(plugins=plugins)
    assert torn.resolve("Women > Slips").canonical is None
    (conflict,) = torn.conflicts()
    assert "'slips' is a word of 'vest' (a) and 'skirt' (b)" in conflict
    settled = ArticleTypes((ArticleType("skirt", ("Slips",)),), plugins)
    assert settled.resolve("Slips").canonical == "skirt"
    assert settled.conflicts() == ()


def test_plugins_that_agree_are_both_named() -> None:
    both = ArticleTypes(plugins={"b": PLUGIN, "a": (ArticleType("tshirts", ("tee",)),)})
    assert both.resolve("tees") == TypeRule("tshirt", "plugin", "a, b", "tees")
    assert both.conflicts() == ()


# -- what is asked ---------------------------------------------------------------------------------


def test_an_attribute_of_a_type_is_asked_of_all_that_stands_below_it() -> None:
    neckline = attribute("top")
    asked = {word: TYPES.asks(neckline, word) for word in ("Tops", "Tees", "Men > Polos", "Watch", "Gadgets", "", None)}
    assert asked == {
        "Tops": ASKED,
        "Tees": ASKED,
        "Men > Polos": ASKED,
        "Watch": OUTSIDE,
        "Gadgets": UNMAPPED,
        "": ASKED,  # a product without a type is asked everything
        None: ASKED,
    }
    assert TYPES.asks(attribute("tshirt"), "Tops") == OUTSIDE
    assert TYPES.above("polo") == ("tshirt", "top")
    assert TYPES.asks(attribute(), "Gadgets") == ASKED


def test_a_word_that_an_attribute_names_itself_needs_no_rule() -> None:
    own = attribute("Gadgets", "Sarees")
    assert TYPES.asks(own, "gadgets") == ASKED
    assert TYPES.asks(own, "Gadget") == UNMAPPED
    assert TYPES.asks(own, "Watch") == OUTSIDE
    # A shop's word is no type: what is stated of "Tops" alone is not asked of all that is below the type top.
    assert TYPES.asks(attribute("Tops"), "Tees") == OUTSIDE
    assert TYPES.asks(attribute("Tops"), "Tops") == ASKED


def test_types_that_plugins_spell_differently_are_one() -> None:
    types = ArticleTypes(plugins={"a": (ArticleType("dress", ("frocks",)),), "b": (ArticleType("dresses"),)})
    assert types.resolve("Frock").canonical == "dress"
    assert types.asks(attribute("dresses"), "Frock") == types.asks(attribute("dress"), "Frock") == ASKED


def test_the_shops_table_moves_a_type_elsewhere() -> None:
    moved = ArticleTypes((ArticleType("tshirt", below=("sportswear",)), ArticleType("sportswear")), {"words": PLUGIN})
    assert moved.refused() is None
    assert moved.above("polo") == ("tshirt", "sportswear")
    assert moved.asks(attribute("top"), "Polos") == OUTSIDE


def test_a_type_may_stand_below_several() -> None:
    types = ArticleTypes(plugins={"words": (*PLUGIN, ArticleType("vest", below=("underwear", "top")))})
    assert types.above("vest") == ("underwear", "top")
    assert types.asks(attribute("top"), "Vests") == types.asks(attribute("underwear"), "Vests") == ASKED


def test_without_any_table_an_attribute_applies_to_what_it_names_and_nothing_is_unmapped() -> None:
    assert EXACT.asks(attribute("top"), "Top") == ASKED
    assert EXACT.asks(attribute("top"), "Tops") == OUTSIDE


def test_changes_are_told_by_what_holds_then() -> None:
    changed = EXACT.changes(TYPES, attribute("top"), ["Tees", "Watch", "Gadgets", "top"])
    assert changed == {ASKED: ["Tees"], UNMAPPED: ["Gadgets"]}


# -- what is told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("Women's Graphic Tees", ("tshirt",)),
        ("Tshrits", ("tshirt",)),
        ("Asymmetric wrist watch", ("watch",)),
        ("Xyz", ()),
    ],
)
def test_the_nearest_types_come_by_the_last_words_and_by_the_letters(word: str, nearest: tuple[str, ...]) -> None:
    assert TYPES.nearest(word) == nearest


def test_a_report_says_of_each_word_what_it_is_and_what_is_asked() -> None:
    shop = replace(TYPES, settings=(ArticleType("top", ("Blusen",)),))
    products = {"Tees": 3, "Blusen": 9, "Tshrits": 1}
    colour = attribute(name="colour")
    blusen, tees, slip = shop.reports(products, {"Tees": 4}, [attribute("top"), colour])
    assert (blusen.article_type, blusen.canonical, blusen.rule, blusen.by) == ("Blusen", "top", "settings", None)
    assert (tees.canonical, tees.above, tees.rule, tees.by) == ("tshirt", ("top",), "plugin", "words")
    assert (tees.attributes, tees.stated_labels, tees.nearest, tees.setting) == (("colour", "neckline"), 4, (), None)
    assert (slip.canonical, slip.attributes, slip.setting) == (None, ("colour",), 'tshirt = ["Tshrits"]')
    assert slip.to_json()["nearest"] == ("tshirt",)


# -- what is wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("types", "problem"),
    [
        (
            (ArticleType("top", ("Tees",)), ArticleType("tshirt", ("tee",))),
            "article type 'tshirt': 'tee' is a word of 'top' already; keep it in one of them",
        ),
        (
            (ArticleType("top", ("Dresses",)), ArticleType("dress")),
            "article type 'top': 'Dresses' is the type 'dress' already; keep it in one of them",
        ),
        (
            (ArticleType("dress"), ArticleType("Dresses")),
            "article types 'dress' and 'Dresses' differ in case, plural or blanks only; keep one",
        ),
        ((ArticleType("top", below=("top",)),), "stand below themselves: top below top"),
        (
            (ArticleType("a", below=("b",)), ArticleType("b", below=("c",)), ArticleType("c", below=("a",))),
            "stand below themselves: ",
        ),
    ],
)
def test_one_table_says_one_thing_of_a_word(types: tuple[ArticleType, ...], problem: str) -> None:
    with pytest.raises(SchemaError) as refused:
        check_types(types)
    assert problem in str(refused.value)


def test_a_circle_is_told_from_below_to_above() -> None:
    with pytest.raises(SchemaError, match=r"(a below b below a|b below a below b)"):
        check_types((ArticleType("a", below=("b",)), ArticleType("b", below=("a",))))


def test_a_word_may_be_the_name_of_its_own_type() -> None:
    check_types((ArticleType("top", ("Tops", "top")),))


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (lambda: ArticleType(""), "name holds ''"),
        (lambda: ArticleType("top", "Tops"), "words must be a tuple of strings, not 'Tops'"),  # type: ignore[arg-type]
        (lambda: ArticleType("top", ("",)), "words holds ''"),
        (lambda: ArticleType("top", below="wear"), "below must be a tuple of strings"),  # type: ignore[arg-type]
        (lambda: ArticleType("a|b"), "name holds 'a|b'"),
    ],
)
def test_a_type_is_checked_where_it_is_written(made: object, problem: str) -> None:
    with pytest.raises(SchemaError) as refused:
        made()  # type: ignore[operator]
    assert problem in str(refused.value)


def test_a_path_is_a_word_too() -> None:
    types = ArticleTypes((ArticleType("top", ("Women | New",)),))
    assert types.resolve("women|new").rule == "settings"
    assert types.resolve("Men | New").canonical is None


def test_a_parent_that_nothing_knows_is_refused_with_the_nearest() -> None:
    types = ArticleTypes((ArticleType("blouse", ("Blusen",), below=("topp",)),), {"words": PLUGIN})
    assert types.refused() == "blouse -> below: 'topp' is a type of neither plugins nor settings; write 'top'"
    alone = ArticleTypes((ArticleType("blouse", below=("garment",)),))
    assert str(alone.refused()).endswith('declare it: "garment" = []')


def test_a_circle_through_the_shops_table_and_a_plugin_is_refused() -> None:
    types = ArticleTypes((ArticleType("top", below=("polo",)),), {"words": PLUGIN})
    assert "stand below themselves" in str(types.refused())


def test_a_circle_that_two_plugins_make_is_told_and_harms_nothing() -> None:
    types = ArticleTypes(plugins={"a": (ArticleType("x", below=("y",)),), "b": (ArticleType("y", below=("x",)),)})
    assert types.refused() is None
    assert "they count as one type" in types.conflicts()[0]
    assert types.asks(attribute("x"), "y") == types.asks(attribute("y"), "x") == ASKED


# -- what is stored --------------------------------------------------------------------------------


def test_what_is_stored_is_read_back_the_same() -> None:
    types = ArticleTypes((ArticleType("top", ("Blusen",), ("wear",)),), {"b": PLUGIN, "a": (ArticleType("tile"),)})
    again = ArticleTypes.read(types.text)
    assert again == types
    assert again.text == types.text


def test_words_of_a_plugin_that_is_broken_just_now_stay() -> None:
    now = ArticleTypes(plugins={"jeans": (ArticleType("jeans"),)}, absent=frozenset({"words", "jeans"}))
    kept = now.after(ArticleTypes(plugins={"words": PLUGIN, "gone": (ArticleType("tile"),)}))
    assert kept.plugins.keys() == {"words", "jeans"}
    assert kept.resolve("tees").canonical == "tshirt"
