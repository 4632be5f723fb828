"""Declarations: what is accepted, what is refused and with which words."""

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attributree.errors import SchemaError
from attributree.schema import (
    KINDS,
    NONE_OF_THEM,
    NOT_APPLICABLE,
    RESERVED_COLUMNS,
    RESERVED_NAMES,
    Attribute,
    Labels,
    MultiLabel,
    Ordinal,
    SingleLabel,
    Value,
    fold,
    key_of,
)

LINED = SingleLabel(("lined", "unlined"))


# --- names -------------------------------------------------------------------------------------------------------


def test_reserved_names_are_those_that_a_module_dict_has_itself() -> None:
    taken = {name for name in dir(torch.nn.ModuleDict()) if not name.startswith("_")}
    assert taken <= RESERVED_NAMES


@pytest.mark.parametrize("name", sorted(set(dir(torch.nn.ModuleDict())) - {"__dict__"}))
def test_whatever_torch_refuses_as_a_module_key_is_refused_here(name: str) -> None:
    try:
        torch.nn.ModuleDict().add_module(name, torch.nn.Identity())
    except KeyError:
        with pytest.raises(SchemaError, match="name"):
            Attribute(name, LINED)


@pytest.mark.parametrize("name", ["neckline", "sleeve_length", "Länge", "a" * 63, "x1"])
def test_identifiers_are_names(name: str) -> None:
    assert Attribute(name, LINED).name == name
    torch.nn.ModuleDict({name: torch.nn.Identity()})


@pytest.mark.parametrize(
    "name", ["", "two words", "1st", "a.b", "a-b", "_private", "a" * 64, None, 3, *sorted(RESERVED_COLUMNS), "forward"]
)
def test_what_cannot_be_a_column_and_a_module_key_is_refused_as_a_name(name: object) -> None:
    with pytest.raises(SchemaError, match=r"attribute .*: name"):
        Attribute(name, LINED)  # type: ignore[arg-type]


def test_a_title_is_made_from_the_name() -> None:
    assert Attribute("sleeve_length", LINED).title == "Sleeve length"
    assert Value("v_neck").title == "V neck"


# --- what is wrong is named --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declare", "words"),
    [
        (lambda: SingleLabel(()), "SingleLabel: values has 0 entries, at least 2"),
        (lambda: SingleLabel(("only",)), "SingleLabel: values has 1 entries, at least 2"),
        (lambda: Ordinal(("only",)), "Ordinal: values has 1 entries, at least 2"),
        (lambda: MultiLabel(()), "MultiLabel: values has 0 entries, at least 1"),
        (lambda: SingleLabel("crew"), "SingleLabel: values must be a tuple"),
        (lambda: SingleLabel(None), "SingleLabel: values must be a tuple"),
        (lambda: SingleLabel((1, 2)), "SingleLabel: values holds 1"),
        (lambda: Labels(("a", "b")), "labels: use SingleLabel, MultiLabel or Ordinal"),
        (lambda: SingleLabel(("crew", "crew")), "'crew' is declared twice"),
        (lambda: SingleLabel((Value("v_neck"), Value("V-Neck"))), "stands for both 'v_neck' and 'V-Neck'"),
        (lambda: SingleLabel((Value("a", synonyms=("x",)), Value("b", synonyms=("X",)))), "both 'a' and 'b'"),
        (lambda: SingleLabel((Value("a", formerly=("b",)), Value("b"))), "'b' stands for both 'a' and 'b'"),
        (lambda: SingleLabel((Value("a", formerly=("b",)), Value("b"))), "give each part a key of its own"),
        (lambda: SingleLabel((Value("a", formerly=("x",)), Value("b", synonyms=("X",)))), "both 'a' and 'b'"),
        (
            lambda: SingleLabel((Value("a", "X", formerly=("x",)), Value("b", formerly=("x",)))),
            "'x' stands for both 'a' and 'b'",
        ),
        (lambda: SingleLabel((Value("a", title="Boat"), Value("boat"))), "both 'a' and 'boat'"),
        (lambda: Value(""), "value '': key"),
        (lambda: Value(" crew"), "value ' crew': key"),
        (lambda: Value("a|b"), "value 'a|b': key"),
        (lambda: Value(None), "value None: key"),  # type: ignore[arg-type]
        (lambda: Value("bare", synonyms=(NONE_OF_THEM,)), "translations must not hold '[]'"),
        (lambda: Value(NOT_APPLICABLE), "key, title, synonyms, formerly and translations must not hold 'n/a'"),
        (lambda: Value("N/A"), "key, title, synonyms, formerly and translations must not hold 'n/a'"),
        (lambda: Value("crew", title="-"), "value 'crew': title"),
        (lambda: Value("crew", title=3), "value 'crew': title"),  # type: ignore[arg-type]
        (lambda: Value("crew", synonyms="round"), "value 'crew': synonyms must be a tuple"),  # type: ignore[arg-type]
        (lambda: Value("crew", synonyms=("",)), "value 'crew': synonyms holds ''"),
        (lambda: Value("crew", synonyms=("a|b",)), "value 'crew': synonyms holds 'a|b'"),
        (lambda: Value("crew", formerly=(3,)), "value 'crew': formerly holds 3"),  # type: ignore[arg-type]
        (lambda: Value("a", translations=("x",)), "value 'a': translations must map language tags to texts"),  # type: ignore[arg-type]
        (lambda: Value("a", translations={"de": "x"}), "value 'a': translations['de'] must be a tuple"),  # type: ignore[dict-item]
        (lambda: Value("a", translations={"German": ("x",)}), "translations holds 'German'; write a language tag"),
        (lambda: Value("a", translations={"de": ("n/a",)}), "must not hold 'n/a'"),
        (
            lambda: SingleLabel((Value("a", translations={"de": ("x",)}), Value("b", synonyms=("X",)))),
            "both 'a' and 'b'",
        ),
        (lambda: Attribute("lining", ("a", "b")), "attribute 'lining': labels must be SingleLabel"),  # type: ignore[arg-type]
        (lambda: Attribute("lining", LINED, title=3), "attribute 'lining': title"),  # type: ignore[arg-type]
        (lambda: Attribute("lining", LINED, applies_to="top"), "attribute 'lining': applies_to must be a tuple"),  # type: ignore[arg-type]
        (lambda: Attribute("lining", LINED, applies_to=(" ",)), "attribute 'lining': applies_to holds ' '"),
        (lambda: Attribute("lining", LINED, formerly="lined"), "attribute 'lining': formerly must be a tuple"),  # type: ignore[arg-type]
        (
            lambda: Attribute("lining", LINED, formerly=("two words",)),
            "formerly holds 'two words', which must be an id",
        ),
        (lambda: Attribute("lining", LINED, formerly=("title",)), "formerly holds 'title', which is a reserved column"),
        (lambda: Attribute("lining", LINED, formerly=("Lining",)), "formerly holds 'Lining', its own name; leave it"),
    ],
)
def test_a_bad_declaration_names_the_field(declare, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SchemaError) as caught:
        declare()
    assert words in str(caught.value)


def test_n_a_is_never_a_synonym_of_a_value() -> None:
    with pytest.raises(SchemaError, match="synonyms"):
        Value("none", synonyms=("n/a",))


# --- reading texts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["v_neck", "V-Neck", " v  neck ", "V NECK", "ｖ_neck", "vee", "v"])
def test_case_width_spaces_and_hyphens_do_not_matter(text: str) -> None:
    labels = SingleLabel((Value("v_neck", synonyms=("vee",), formerly=("v",)), Value("crew")))
    value = labels.find(text)
    assert value is not None
    assert value.key == "v_neck"


STRIPED = Value("striped", translations={"fr": ("rayé",), "de-AT": ("gestreift", "Streifen")})


def test_translations_are_read_like_synonyms_in_every_language() -> None:
    labels = SingleLabel((STRIPED, Value("plain")))
    assert labels.find("RAYÉ") == labels.find("streifen") == labels.find("striped") == STRIPED
    assert STRIPED.spellings == ("striped", "Striped", "gestreift", "Streifen", "rayé")


@pytest.mark.parametrize(
    ("languages", "translated"),
    [
        ((), ["gestreift", "Streifen", "rayé"]),
        (("de",), ["gestreift", "Streifen"]),
        (("de-at",), ["gestreift", "Streifen"]),
        (("de-CH",), []),
        (("d",), []),
        (("FR", "it"), ["rayé"]),
    ],
)
def test_a_language_covers_its_regions(languages: tuple[str, ...], translated: list[str]) -> None:
    assert STRIPED.spellings_in(languages) == ("striped", "Striped", *translated)


def test_an_unknown_text_is_never_guessed_but_the_nearest_value_is_named() -> None:
    labels = SingleLabel((Value("turtleneck", synonyms=("roll neck",)), Value("crew")))
    assert labels.find("turtelneck") is None
    assert labels.nearest("turtelneck") == "turtleneck"
    assert labels.nearest("rol neck") == "turtleneck"
    assert labels.nearest("xyz") is None


def test_a_former_key_that_was_split_means_one_of_its_heirs_and_is_found_as_none() -> None:
    labels = SingleLabel((Value("mini_skirt", formerly=("mini",)), Value("micro", formerly=("Mini", "hot")), "maxi"))
    assert [value.key for value in labels.read("MINI")] == ["mini_skirt", "micro"]
    assert labels.find("mini") is None
    assert [value.key for value in labels.read("hot")] == ["micro"]
    assert labels.read("midi") == ()
    assert labels.nearest("minj") == "mini_skirt"


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("-1", "1"), ("1-", "1"), ("A-", "A"), ("A+", "A"), ("A-", "A+"), ("size -1", "size 1"), ("size_-1", "size_1"),
        ("_1", "1"), ("-1", "+1"), ("(-1)", "(1)"), ("-", "+"),
    ],
)  # fmt: skip
def test_folding_keeps_signs(text: str, other: str) -> None:
    assert fold(text) != fold(other)
    labels = MultiLabel((Value("one", synonyms=(other,)),))
    assert labels.find(text) is None
    assert labels.find(f" {other.upper()} ") is not None


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Half-Round", "half round"), ("half - round", "half round"), ("half_\t round", "half round"),
        ("10-20", "10 20"), ("3-D", "3 d"), ("cafe\u0301-noir", "caf\u00e9 noir"), ("हिन्दी-में", "हिन्दी में"),
        ("A + B", "a + b"), ("\uff21\uff0d\uff22", "a b"), (" - ", ""), ("__", ""),
    ],
)  # fmt: skip
def test_what_stands_between_letters_or_digits_separates_them(text: str, folded: str) -> None:
    assert fold(text) == folded


@pytest.mark.parametrize("text", ["A + B", "-1", "size -1", "10-20", "Two-tone", "C++ - 17", "a_+_b"])
def test_a_key_is_read_as_the_text_that_it_was_made_of(text: str) -> None:
    assert fold(key_of(text)) == fold(text)


@given(st.text())
def test_folding_twice_is_folding_once(text: str) -> None:
    assert fold(fold(text)) == fold(text)


def test_an_attribute_is_asked_of_its_article_types_and_of_unknown_ones() -> None:
    attribute = Attribute("lining", LINED, applies_to=("Dress", "top"))
    assert attribute.applies("dress")
    assert attribute.applies("TOP")
    assert attribute.applies(None)
    assert attribute.applies("")
    assert not attribute.applies("jeans")
    assert Attribute("lining", LINED).applies("jeans")


# --- shapes ------------------------------------------------------------------------------------------------------


def test_a_head_has_one_output_a_value_and_one_fewer_for_steps() -> None:
    assert SingleLabel(("a", "b", "c")).outputs == 3
    assert MultiLabel(("a", "b", "c")).outputs == 3
    assert Ordinal(("a", "b", "c")).outputs == 2
    assert Ordinal(("a", "b", "c")).size == 3


def test_every_kind_has_its_class() -> None:
    assert dict(KINDS) == {"single": SingleLabel, "multi": MultiLabel, "ordinal": Ordinal}


# --- round trip and digest ---------------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="|"), min_size=1, max_size=12)
names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: name not in RESERVED_NAMES | RESERVED_COLUMNS
)


@st.composite
def attributes(draw: st.DrawFn) -> Attribute:
    """Any attribute that may be declared."""

    def usable(text: str) -> bool:
        return fold(text) not in ("", fold(NOT_APPLICABLE), NONE_OF_THEM) and text == text.strip()

    texts = draw(st.lists(words.filter(usable), min_size=2, max_size=8, unique_by=fold))
    values: list[Value] = []
    while texts:
        key, *rest = texts[: draw(st.integers(1, 4))]
        texts = texts[1 + len(rest) :]
        translations = {draw(st.sampled_from(["de", "pt-BR"])): tuple(rest[2:])} if rest[2:] else {}
        values.append(Value(key, key, tuple(rest[:1]), tuple(rest[1:2]), translations))
    kind = draw(st.sampled_from([SingleLabel, MultiLabel, Ordinal] if len(values) > 1 else [MultiLabel]))
    labels = MultiLabel(tuple(values), draw(st.booleans())) if kind is MultiLabel else kind(tuple(values))
    applies_to = tuple(draw(st.lists(words.filter(usable), max_size=2)))
    name, *formerly = draw(st.lists(names, min_size=1, max_size=3, unique_by=fold))
    title, description = draw(st.text(max_size=8)), draw(st.text(max_size=8))
    return Attribute(name, labels, title, applies_to, description, tuple(formerly))


@given(attributes())
def test_what_to_json_writes_from_json_reads_back(attribute: Attribute) -> None:
    again = Attribute.from_json(json.loads(json.dumps(attribute.to_json())))
    assert again == attribute
    assert again.description == attribute.description
    assert again.digest == attribute.digest
    assert type(again.labels) is type(attribute.labels)


def test_an_unknown_kind_is_refused_when_read_back() -> None:
    data = Attribute("lining", LINED).to_json()
    data["labels"]["kind"] = "fuzzy"
    with pytest.raises(SchemaError, match="'lining': kind 'fuzzy' is none of single, multi, ordinal"):
        Attribute.from_json(data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(colour="x"), "attribute 'lining': the stored schema has 'colour', which a newer"),
        (
            lambda data: data["labels"].update(order=1, x=2),
            "labels: the stored schema has 'order', 'x', which",
        ),
        (
            lambda data: data["labels"]["values"][0].update(icon="x"),
            "value 'lined': the stored schema has 'icon'",
        ),
        (
            lambda data: data["labels"]["values"][0].pop("key"),
            "value None: the stored schema lacks 'key'; declare",
        ),
        (lambda data: data.pop("labels"), "the stored schema lacks 'labels'"),
        (lambda data: data["labels"].pop("kind"), "kind None is none of single, multi, ordinal"),
    ],
)
def test_a_stored_schema_of_another_version_is_refused_by_the_key(change: Any, message: str) -> None:
    data = json.loads(json.dumps(Attribute("lining", LINED).to_json()))
    change(data)
    with pytest.raises(SchemaError, match=message):
        Attribute.from_json(data)


def test_the_digest_names_the_meaning_and_not_the_wording() -> None:
    plain = Attribute("lining", LINED)
    assert plain.digest == Attribute("lining", LINED, title="Futter", description="Inside.").digest

    others = [
        Attribute("lined", LINED),
        Attribute("lining", LINED, applies_to=("dress",)),
        Attribute("lining", Ordinal(("lined", "unlined"))),
        Attribute("lining", SingleLabel(("unlined", "lined"))),
        Attribute("lining", SingleLabel(("lined", "unlined", "padded"))),
        Attribute("lining", SingleLabel((Value("lined", synonyms=("with lining",)), "unlined"))),  # type: ignore[arg-type]
        Attribute("lining", SingleLabel((Value("lined", translations={"de": ("gefüttert",)}), "unlined"))),  # type: ignore[arg-type]
        Attribute("lining", MultiLabel(("lined", "unlined"))),
        Attribute("lining", MultiLabel(("lined", "unlined"), closed_world=False)),
    ]
    assert len({plain.digest, *(other.digest for other in others)}) == 1 + len(others)


def test_a_schema_from_before_translations_is_read_and_keeps_its_digest() -> None:
    former = {
        "name": "lining",
        "title": "Lining",
        "applies_to": ["dress"],
        "description": "",
        "labels": {
            "kind": "single",
            "values": [
                {"key": "lined", "title": "Lined", "synonyms": ["with lining"], "formerly": []},
                {"key": "unlined", "title": "Unlined", "synonyms": [], "formerly": ["bare"]},
            ],
        },
    }
    attribute = Attribute.from_json(former)
    assert attribute.to_json() == former
    assert attribute.digest == "6fc0da4e219b014bfac6ff6c2ec81e4ce1c3e9ff2bcce599f0846400b0fb1e3e"
    assert hash(attribute) == hash(Attribute.from_json(former))


def test_a_declaration_without_a_former_name_has_the_digest_that_it_always_had() -> None:
    plain = Attribute("lining", LINED)
    assert plain.digest == "095b483060074dbd5a29ec8d89fd3b2ebdf36b4a89839dc903b3465afb9385d3"
    assert "formerly" not in plain.to_json()
    renamed = Attribute("lining", LINED, formerly=("lined",))
    assert renamed.columns == ("lining", "lined")
    assert renamed.digest != plain.digest
    assert Attribute.from_json(json.loads(json.dumps(renamed.to_json()))) == renamed


def test_declarations_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        LINED.values = ()  # type: ignore[misc]
