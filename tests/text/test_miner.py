"""What a title or a description says: spellings found word by word, and what is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.schema import fold
from attributree.stems import stem
from attributree.text.miner import Miner, Vocabulary, words
from attributree_drawn_shop import garment_attributes

PATTERN = Attribute(
    "pattern",
    SingleLabel(
        (
            Value("plain"),
            Value(
                "striped",
                synonyms=("stripes",),
                translations={"de": ("gestreift", "Streifen"), "fr": ("rayé", "rayures")},
            ),
            Value("checked", synonyms=("checks",), translations={"de": ("kariert",)}),
            Value("dotted", synonyms=("polka dot", "dots")),
            Value("herringbone", synonyms=("fish bone",)),
        )
    ),
)
SLEEVES = Attribute(
    "sleeves",
    Ordinal(
        (
            Value("sleeveless", synonyms=("no sleeves", "without sleeves")),
            Value("short", synonyms=("short sleeve",)),
            Value("three_quarter", synonyms=("three-quarter sleeve", "3/4 sleeve")),
            Value("long", synonyms=("long sleeve", "sleeve")),
        )
    ),
    applies_to=("top", "dress"),
)
COLOUR = Attribute("colour", MultiLabel(("red", "black", "white")))
MINER = Miner((PATTERN, SLEEVES, COLOUR))


def mined(text: str) -> str:
    """Return what a dress's title says, as attribute=keys."""
    return " ".join(f"{name}={'|'.join(keys)}" for name, keys in MINER.mine("dress", text).items())


# -- found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Striped dress", "pattern=striped"),
        ("STRIPED", "pattern=striped"),
        ("a dress with stripes", "pattern=striped"),
        ("a dress with a stripe", "pattern=striped"),
        ("polka-dot, polka_dots and polka  dots", "pattern=dotted"),
        ("Polka&nbsp;dot dress", "pattern=dotted"),
        ("<ul><li>Polka <b>dot</b></li></ul>", "pattern=dotted"),
        ("ｓｔｒｉｐｅｄ", "pattern=striped"),  # full width
        ("3/4 sleeves", "sleeves=three_quarter"),
        ("¾ sleeves", "sleeves=three_quarter"),
        ("three\u2011quarter sleeves", "sleeves=three_quarter"),
        ("Gestreiftes Kleid, gestreift", "pattern=striped"),
        ("Robe raye\u0301e, à rayures", "pattern=striped"),
        ("aux rayures d'été", "pattern=striped"),
        ("l'encolure rayé", "pattern=striped"),
        ("women's striped dress", "pattern=striped"),
        ("a striped long-sleeve dress in black & white", "pattern=striped sleeves=long colour=black|white"),
    ],
)  # fmt: skip
def test_a_value_is_found_by_any_of_its_spellings(text: str, said: str) -> None:
    assert mined(text) == said


def test_of_two_spellings_that_share_a_word_the_longer_one_counts() -> None:
    assert mined("sleeve") == "sleeves=long"
    assert mined("with a three-quarter sleeve") == "sleeves=three_quarter"
    assert mined("short sleeves") == "sleeves=short"


def test_several_values_of_a_single_label_attribute_are_candidates_in_the_schema_s_order() -> None:
    assert mined("checked or striped") == "pattern=striped|checked"


def test_title_and_description_are_taken_together_and_nothing_reaches_across() -> None:
    assert MINER.mine("dress", "Dress, no", "stripes") == {"pattern": ("striped",)}
    assert MINER.mine("dress", "polka", "dot by dot") == {"pattern": ("dotted",)} == MINER.mine("dress", "dots")
    assert MINER.mine("dress", "three-quarter", "sleeve") == {"sleeves": ("long",)}
    assert MINER.mine("dress", "Striped dress", "In red.") == {"pattern": ("striped",), "colour": ("red",)}


def test_where_one_value_holds_the_title_s_word_stands_before_the_description_s() -> None:
    found = MINER.mine("dress", "Striped dress in red", "Sits well beside checks. Black buttons.")
    assert found == {"pattern": ("striped",), "colour": ("red", "black")}


def test_attributes_of_other_article_types_are_not_looked_for() -> None:
    assert MINER.mine("jeans", "no sleeves, striped") == {"pattern": ("striped",)}
    assert MINER.mine("", "no sleeves") == {"sleeves": ("sleeveless",)}


def test_languages_restrict_translations_and_nothing_else() -> None:
    english = Miner((PATTERN,), ("en",))
    assert english.mine("dress", "gestreift, rayé") == {}
    assert english.mine("dress", "striped") == {"pattern": ("striped",)}
    assert Miner((PATTERN,), ("de",)).mine("dress", "gestreift") == {"pattern": ("striped",)}


# -- not found -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "pinstriped",
        "redwood",
        "Dotty explains",
        "bestreift",
        "stripedness",
        "red2",
        "fish. Bone",  # two clauses
        "fish<br>bone",
        "fish\nbone",
        "fish - bone",
    ],
)
def test_no_word_is_found_in_another_and_no_spelling_across_clauses(text: str) -> None:
    assert mined(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "no stripes",
        "not striped",
        "isn't striped",
        "isn\u2019t a striped one",
        "does not have a polka dot",
        "non-striped",
        "un-striped",
        "non striped",
        "without any stripes",
        "no <b>stripes</b>",
        "no\nstripes",
        "never striped",
        "neither striped nor checked",
        "no stripes or checks",
        "no stripes and checks",
        "no stripes, checks or dots",
        "no collar, stripes or dots",
        "stripe-free",
        "far from striped",
        "nothing striped about it",
        "we left out the stripes",
        "dont like stripes",
        "Stripes? Not here.",
        "Looking for stripes? See our shirts.",
        "free of stripes",
        "stripes: no",
        "Stripes? None.",
        "instead of stripes",
        "rather than striped",
        "not sleeveless",
        "not without sleeves",
        "lacks sleeves",
        "ohne Streifen",
        "nicht gestreift",
        "keine Streifen",
        "sans rayures",
        "pas de rayures",
    ],
)
def test_what_is_negated_is_not_said(text: str) -> None:
    assert mined(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Stripes - no", "Stripes – none", "stripes- no", "Stripes = No", "Stripes => no", "Stripes -> no",
        "Stripes → No", "Stripes: false", "Stripes (woven): no", "stripes | no", "| stripes | no |", "Stripes\tNo",
        "Stripes;no", "Stripes\nNo", "Stripes ✗", "✗ Stripes", "Without: stripes", "stripes no", "stripes_no",
        "<td>Stripes</td><td>No</td>", "<tr><th class='x'>Stripes</th>\n<td> No </td></tr>",
        "<dl><dt>Stripes</dt><dd>no</dd></dl>", "<span>Stripes</span> <span>No</span>", "<li>Stripes<li>No</li>",
        "Streifen: nein", "Streifen | keine",
    ],
)  # fmt: skip
def test_what_is_answered_with_no_is_not_said(text: str) -> None:
    assert mined(text) == ""
    assert mined(f"{text}\nred | yes") == "colour=red"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stripes | no\nred | yes", "colour=red"),
        ("stripes | yes\nred | no", "pattern=striped"),
        ("Stripes: no, red: yes", "colour=red"),
        ("Stripes\nNo\nRed\nYes", "colour=red"),
        ("<table><tr><td>Red<td>No<tr><td>Stripes<td>Yes</table>", "pattern=striped"),
        ("red | no | stripes | yes", "pattern=striped"),
        ("no stripes\nred", "colour=red"),
        ("a dress without any\nstripes, red", "colour=red"),
        ("Stripes no. 1 in red", "pattern=striped colour=red"),
        ("Striped - no fuss", "pattern=striped"),
        ("Red = yes", "colour=red"),
    ],
)
def test_lines_and_cells_end_a_statement(text: str, said: str) -> None:
    assert mined(text) == said


@pytest.mark.parametrize(("text", "key"), [("Grade A-, boxed", "minus"), ("grade a", "plain"), ("Grade A+", None)])
def test_a_sign_is_part_of_its_word(text: str, key: str | None) -> None:
    grades = SingleLabel((Value("plain", synonyms=("grade A",)), Value("minus", synonyms=("grade A-",))))
    assert Miner([Attribute("grade", grades)]).mine("", text).get("grade", (None,)) == (key,)


@pytest.mark.parametrize("slip", ["wihout", "withot", "wirhout", "withhout"])
def test_a_slip_in_a_negation_does_not_turn_it_into_its_opposite(slip: str) -> None:
    assert mined(f"{slip} stripes") == ""
    assert mined("avaliable in red") == ""


@pytest.mark.parametrize("word", ["night", "ever", "slacks,", "years"])
def test_words_that_are_nearly_negations_are_none(word: str) -> None:
    assert mined(f"Our best {word} striped dress") == "pattern=striped"


@pytest.mark.parametrize("slip", ["stiped", "stripd", "strpied", "sleve"])
def test_a_slip_in_a_value_is_not_guessed_at(slip: str) -> None:
    assert mined(slip) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no collar, striped", "pattern=striped"),
        ("nothing but stripes", "pattern=striped"),
        ("not striped but checked", "pattern=checked"),
        ("nicht kariert, sondern gestreift", "pattern=striped"),
        ("no sleeves", "sleeves=sleeveless"),
        ("no sleeves, striped", "pattern=striped sleeves=sleeveless"),
        ("no sleeves or stripes", "sleeves=sleeveless"),
        ("without sleeves but with stripes", "pattern=striped sleeves=sleeveless"),
        ("no pockets. Striped", "pattern=striped"),
        ("non-iron striped shirt", "pattern=striped"),
        ("not too heavy for a warm evening outside, striped", "pattern=striped"),
    ],
)
def test_a_negation_ends_with_its_clause(text: str, said: str) -> None:
    assert mined(text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Black dress, also available in red", "colour=black"),
        ("Black. Also comes in red.", "colour=black"),
        ("It also has stripes. It comes in red", "pattern=striped colour=red"),
        ("Available in: red, white", ""),
        ("Pairs well with our striped trousers. Black.", "colour=black"),
        ("Wear it with red heels, or a white jacket", ""),
        ("Auch in Rot erhältlich: red", ""),
    ],
)
def test_what_is_said_of_other_goods_or_other_colours_is_left_out(text: str, said: str) -> None:
    assert mined(text) == said


@pytest.mark.parametrize("text", ["a short jacket", "black shorts", "long", "three-quarter length"])
def test_a_word_that_says_little_by_itself_is_left_out(text: str) -> None:
    assert "sleeves" not in mined(text)


def test_a_spelling_that_two_attributes_share_is_left_out_where_both_apply() -> None:
    wash = Attribute("wash", SingleLabel(("black", "bleached")), applies_to=("jeans",))
    miner = Miner((COLOUR, wash))
    assert miner.mine("jeans", "black jeans") == {}
    assert miner.mine("dress", "black dress") == {"colour": ("black",)}


def test_a_value_spelt_like_the_plural_of_a_general_word_is_found_only_as_it_is_spelt() -> None:
    miner = Miner((Attribute("cut", SingleLabel(("shorts", "skirt"))),))
    assert miner.mine("", "black shorts") == {"cut": ("shorts",)}
    assert miner.mine("", "a short story") == {}


# -- words -----------------------------------------------------------------------------------------


def test_y_and_ie_are_one_so_that_plurals_meet() -> None:
    assert stem("hoodies") == stem("hoodie") == stem("hoody")
    assert stem("berries") == stem("berry")
    assert [stem(word) for word in ("sleeveless", "ties", "canvas", "plus")] == ["sleeveless", "tie", "canva", "plus"]


@pytest.mark.parametrize("attribute", garment_attributes(), ids=lambda attribute: attribute.name)
def test_every_spelling_of_several_words_is_found_as_itself(attribute: Attribute) -> None:
    for value in attribute.labels.values:
        for spelling in value.spellings:
            if len(words(spelling)) > 1 and fold(spelling) != "three quarter":
                assert Miner((attribute,)).mine("", f"With {spelling}!") == {attribute.name: (value.key,)}, spelling


@given(st.text())
def test_any_text_can_be_mined(text: str) -> None:
    found = MINER.mine("dress", text, text)
    assert found == MINER.mine("dress", text)
    assert found.keys() <= {"pattern", "sleeves", "colour"}


def test_a_phrase_belongs_to_the_attribute_whose_spellings_end_alike() -> None:
    vocabulary = Vocabulary((PATTERN, SLEEVES))
    assert vocabulary.attribute_of(("bell", "sleeves")) == "sleeves"
    assert vocabulary.attribute_of(("big", "buttons")) == ""
