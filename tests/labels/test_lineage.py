"""Former keys and names are followed to what stands for them today; no database."""

import pytest

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.errors import CatalogError
from attributree.labels.lineage import describe_change, follow, predecessor

NECK = SingleLabel(("crew", "v_neck"))


def hem(*values: Value | str, **more: object) -> Attribute:
    return Attribute("hem", Ordinal(tuple(values)), **more)  # type: ignore[arg-type]


def read(attribute: Attribute, text: str) -> list[str]:
    return [value.key for value in attribute.labels.read(text)]


def test_a_chain_of_renames_is_followed_though_the_last_lists_one_link_only() -> None:
    today = follow(hem(Value("c", formerly=("b",)), "long"), {"a": ("b",)})
    assert read(today, "a") == read(today, "b") == ["c"]


def test_a_chain_is_followed_though_the_schema_lists_no_link_any_more() -> None:
    assert read(follow(hem("c", "long"), {"a": ("b",), "b": ("c",)}), "A") == ["c"]


def test_a_split_is_followed_through_the_renames_of_its_parts() -> None:
    today = follow(hem("mini", Value("nano", formerly=("micro",)), "long"), {"short": ("mini", "micro")})
    assert read(today, "short") == ["mini", "nano"]


def test_parts_that_were_merged_again_are_one_value() -> None:
    today = follow(hem(Value("short", formerly=("mini", "micro")), "long"), {"brief": ("mini", "micro")})
    assert read(today, "brief") == ["short"]


def test_a_key_of_which_one_part_is_gone_stands_for_nothing() -> None:
    assert read(follow(hem("mini", "long"), {"short": ("mini", "micro")}), "short") == []


def test_what_the_schema_says_of_a_key_goes_before_what_the_catalogue_remembers() -> None:
    assert read(follow(hem("c", Value("long", synonyms=("a",))), {"a": ("c",)}), "a") == ["long"]


def test_keys_that_replaced_each_other_end() -> None:
    assert read(follow(hem("x", "y"), {"a": ("b",), "b": ("a",)}), "a") == []


def test_an_attribute_without_a_past_is_itself() -> None:
    assert follow(hem("a", "b"), {"z": ("y",)}, ("hem",)) is not None
    plain = hem("a", "b")
    assert follow(plain, {}, ("hem",)) is plain


def test_former_names_are_columns() -> None:
    assert follow(Attribute("c", NECK, formerly=("b",)), {}, ("a", "b")).columns == ("c", "b", "a")


@pytest.mark.parametrize(
    ("name", "formerly", "known", "found"),
    [
        ("neck", (), {}, None),
        ("neck", (), {"neck": (), "hem": ()}, "neck"),
        ("neck", ("neckline",), {"neckline": ()}, "neckline"),
        ("neck", ("neckline",), {"neck": ("neckline",)}, "neck"),
        ("c", ("a",), {"b": ("a",)}, "b"),  # a link was skipped
        ("c", ("b",), {"b": ("a",)}, "b"),  # a link was dropped
        ("a", ("b",), {"b": ("a",)}, "b"),  # back to the first name
    ],
)
def test_an_attribute_is_known_by_any_name_it_had(
    name: str, formerly: tuple[str, ...], known: dict[str, tuple[str, ...]], found: str | None
) -> None:
    assert predecessor(Attribute(name, NECK, formerly=formerly), known) == found


@pytest.mark.parametrize(
    ("name", "formerly", "known", "words"),
    [
        ("neck", ("neckline",), {"neck": (), "neckline": ()}, "knows 'neck' and 'neckline' as attributes of their own"),
        ("neck", ("x", "y"), {"x": (), "y": ()}, "knows 'x' and 'y' as attributes of their own"),
        ("neckline", (), {"neck": ("neckline",)}, r"is called 'neck' now; .* with formerly=\('neck',\)"),
    ],
)
def test_names_that_clash_are_refused_with_the_way_out(
    name: str, formerly: tuple[str, ...], known: dict[str, tuple[str, ...]], words: str
) -> None:
    with pytest.raises(CatalogError, match=words):
        predecessor(Attribute(name, NECK, formerly=formerly), known)


def test_every_change_has_its_words() -> None:
    old = hem("mini", "knee", "midi", "maxi", "train")
    parts = Value("short", formerly=("mini",)), Value("micro", formerly=("mini",))
    new = Attribute(
        "length", MultiLabel((*parts, Value("long", formerly=("midi", "maxi")), "knee", "floor")), formerly=("hem",)
    )
    assert describe_change(old, new) == (
        "hem is now length; mini is split into short, micro; midi is now long; maxi is now long; "
        "new: floor; retired: train; kind ordinal -> multi"
    )
    assert describe_change(hem("a", "b"), hem("a", "b", formerly=("h",))) == "reads h too"
    dropped = describe_change(hem("a", "b", formerly=("h",)), hem("a", "b"))
    assert dropped == "lists h no more, which is still read"
