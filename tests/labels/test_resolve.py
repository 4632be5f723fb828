"""What cells mean, one by one and together; no database."""

import pytest

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.labels.resolve import Annotation, Reader, Reading, Sources, Trust, UnknownTexts, combine, read_cell

NECKLINE = Attribute("neckline", SingleLabel((Value("crew"), Value("v_neck", synonyms=("vee",)), Value("boat"))))
COLOUR = Attribute("colour", MultiLabel(("red", "green", "blue")))
LENGTH = Attribute("length", Ordinal(("short", "knee", "long")))
TOPS = Attribute("neckline", NECKLINE.labels, applies_to=("top",))


def labelled(*keys: str) -> Annotation:
    return Annotation("labelled", frozenset(keys), frozenset(keys))


def ambiguous(*keys: str, certain: tuple[str, ...] = ()) -> Annotation:
    return Annotation("ambiguous", frozenset(keys), frozenset(certain))


def disputed(certain: tuple[str, ...] = (), **shares: float) -> Annotation:
    return Annotation(
        "ambiguous", frozenset({*shares, *certain}), frozenset(certain), shares=tuple(sorted(shares.items()))
    )


def test_sources_are_compared_as_values_are() -> None:
    sources = Sources.configured({"Big-Supplier": {"rank": 3}, "Review": {"weight": 0.5}})
    assert sources.of("big supplier") == sources.of("BIG_SUPPLIER") == Trust(3, 1.0)
    assert sources.of("review") == sources.of("Review") == Trust(2, 0.5)
    assert sources.of("review-") == sources.of("import") == Trust(1, 1.0)
    assert Sources.configured(sources.to_json()).changes(sources) == []


@pytest.mark.parametrize(
    ("raw", "reading"),
    [
        ("V-Neck", Reading(frozenset({"v_neck"}))),
        ("vee|crew", Reading(frozenset({"v_neck", "crew"}))),
        ("vee | v neck |", Reading(frozenset({"v_neck"}))),
        ("N/A", Reading(applies=False)),
        ("crew|vnek", Reading(frozenset({"crew"}), unknown=("vnek",))),
        ("|", Reading(unknown=("|",))),
        ("n/a|crew", Reading(frozenset({"crew"}), unknown=("n/a",))),
    ],
)
def test_a_cell_is_read_by_the_schema_and_never_guessed(raw: str, reading: Reading) -> None:
    assert read_cell(NECKLINE, raw) == reading
    assert reading.readable == (not reading.unknown)


@pytest.mark.parametrize(
    ("attribute", "cells", "annotation"),
    [
        (NECKLINE, ["crew"], labelled("crew")),
        (NECKLINE, ["crew", "crew"], labelled("crew")),
        (NECKLINE, ["crew|boat"], ambiguous("crew", "boat")),
        (NECKLINE, ["crew|boat", "boat|v_neck"], labelled("boat")),
        (NECKLINE, ["crew", "boat"], disputed(crew=0.5, boat=0.5)),
        (NECKLINE, ["crew", "boat", "crew", "crew"], disputed(crew=0.75, boat=0.25)),
        (NECKLINE, ["crew|boat", "v_neck"], disputed(crew=0.25, boat=0.25, v_neck=0.5)),
        (NECKLINE, ["crew|boat", "boat|crew"], ambiguous("crew", "boat")),
        (LENGTH, ["short", "short|knee"], labelled("short")),
        (NECKLINE, ["crew", "???"], labelled("crew")),
        (NECKLINE, ["???"], None),
        (NECKLINE, [], None),
        (NECKLINE, ["n/a", "N/A"], Annotation("not_applicable")),
        (NECKLINE, ["[]"], None),
        (COLOUR, ["[]"], labelled()),
        (COLOUR, [" [] ", "[]"], labelled()),
        (COLOUR, ["[]", "red"], disputed(red=0.5)),
        (COLOUR, ["[]", "n/a"], ambiguous()),
        (COLOUR, ["[]|red"], None),
        (COLOUR, ["[]", "rde"], labelled()),
        (NECKLINE, ["n/a", "crew"], ambiguous()),
        (COLOUR, ["red|blue"], labelled("red", "blue")),
        (COLOUR, ["red|blue", "blue|red"], labelled("red", "blue")),
        (COLOUR, ["red|blue", "red"], disputed(blue=0.5, certain=("red",))),
        (COLOUR, ["red|blue", "red", "red", "blue|red"], disputed(blue=0.5, certain=("red",))),
        (COLOUR, ["red", "blue"], disputed(red=0.5, blue=0.5)),
    ],
)
def test_sources_are_combined(attribute: Attribute, cells: list[str], annotation: Annotation | None) -> None:
    assert combine(attribute, [read_cell(attribute, cell) for cell in cells]) == annotation


def test_an_attribute_that_does_not_apply_is_not_applicable_whatever_was_said() -> None:
    assert Reader(TOPS).annotate("Jeans", (("import", "crew"),)) == Annotation("not_applicable")
    assert Reader(TOPS).annotate("Top", (("import", "crew"),)) == labelled("crew")
    assert Reader(TOPS).annotate("", (("import", "crew"),)) == labelled("crew")


def test_mined_text_is_heard_only_where_nobody_else_spoke_and_counts_less() -> None:
    reader = Reader(NECKLINE)
    assert reader.annotate("", (("import", "crew"), ("text", "boat"))) == labelled("crew")
    alone = reader.annotate("", (("import", "???"), ("text", "boat")))
    assert alone is not None
    assert alone.values == {"boat"}
    assert alone.weight < 1


def test_a_review_settles_what_other_sources_disagree_on() -> None:
    reader = Reader(NECKLINE)
    disagreeing = (("import", "crew"), ("supplier", "boat"))
    assert reader.annotate("", disagreeing) == disputed(crew=0.5, boat=0.5)
    assert reader.annotate("", (*disagreeing, ("review", "v_neck"))) == labelled("v_neck")
    assert reader.annotate("", (("review", "crew"), ("review", "boat"))) == disputed(crew=0.5, boat=0.5)


def test_a_source_that_is_not_configured_is_believed_as_far_as_the_import() -> None:
    reader = Reader(NECKLINE, Sources.configured({"import": {"weight": 0.5}, "supplier": {"rank": 5}}))
    annotation = reader.annotate("", (("scan", "crew"), ("import", "crew")))
    assert annotation is not None
    assert annotation.weight == 0.5
    outranked = reader.annotate("", (("review", "crew"), ("supplier", "boat")))
    assert outranked is not None
    assert (outranked.values, outranked.weight) == ({"boat"}, 0.5)


def test_a_change_of_precedence_is_told_and_none_is_none() -> None:
    usual = Sources()
    assert usual.changes(Sources.configured({"review": {"rank": 2}, "scan": {"rank": 1}})) == []
    changed = Sources.configured({"text": {"weight": 0.5}, "scan": {"rank": 3}})
    assert usual.changes(changed) == ["scan rank 1 -> 3", "text weight 0.3 -> 0.5"]
    assert Sources.configured(changed.to_json()) == changed


def test_shares_follow_their_values_under_other_keys_and_add_up() -> None:
    heirs = {"crew": ("round",), "boat": ("round",), "v_neck": ("v_neck",)}
    moved = disputed(crew=0.25, boat=0.25, v_neck=0.5).under(heirs)
    assert moved == disputed(round=0.5, v_neck=0.5)


def test_unknown_texts_are_counted_in_bounded_memory() -> None:
    texts = UnknownTexts()
    texts.add(Reading(unknown=("crw",)), 3)
    for number in range(2000):
        texts.add(Reading(unknown=(f"{number}" * 100,)))
    report = texts.report(NECKLINE)
    assert (report[0].text, report[0].count, report[0].nearest) == ("crw", 3, "crew")
    assert len(report) == 1001
    assert report[-1].text == "(other texts)"
    assert sum(value.count for value in report) == 2003
    assert max(len(value.text) for value in report) <= 201
