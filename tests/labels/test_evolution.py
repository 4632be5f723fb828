"""Schemas evolve: values are split, attributes renamed, article types change; every change is on record."""

from typing import Any

import pytest

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value, __version__
from attributree.catalog import Catalog
from attributree.errors import CatalogError
from attributree.jsonable import jsonable
from attributree.labels import readers
from attributree.labels.records import PredictionRecord
from attributree.registry.predictions import load as load_predictions
from attributree.registry.records import BranchRecord, NewVersion, TrunkRecord, Work
from support.catalogues import Shop

LONG = Value("maxi")
PARTS = Value("short", formerly=("mini",)), Value("micro", formerly=("mini",))


def hem(*values: Value | str, name: str = "hem", **more: Any) -> Attribute:
    return Attribute(name, SingleLabel(tuple(values)), **more)


def neck(name: str, *formerly: str) -> Attribute:
    return Attribute(name, SingleLabel(("crew", "v_neck")), formerly=formerly)


@pytest.fixture
def hems(catalog: Catalog, shop: Shop) -> Catalog:
    """A catalogue with hems as they were declared first."""
    catalog.labels.ingest(shop.labels("image,hem", "a.png,mini", "b.png,maxi", "c.png,mini|maxi", "d.png,Mini"))
    catalog.labels.declare(hem("mini", LONG), "attributree-hem", "1.0", actor="mia")
    return catalog


def values_of(catalog: Catalog, name: str = "hem") -> dict[int, tuple[str, tuple[str, ...]]]:
    found = catalog.labels.annotations(name, range(1, 9))
    return {i: (record.state, record.values) for i, record in found.items()}


def promote(catalog: Catalog, name: str = "hem", values: tuple[str, ...] = ("mini", "maxi")) -> None:
    """Make a tree live that has a branch for the attribute."""
    known = catalog.labels.attributes()[name]
    branch = BranchRecord(
        None, name, ("u", "h"), "t", "head", "linear", None, values, known.kind, known.digest, 2, "f", 5, 1.0, 0.5, True
    )
    catalog.registry.commit_version(NewVersion(TrunkRecord("t", {}), (branch,), None, "grow", "sync"))


def predict(catalog: Catalog, name: str, *values: str, image: int = 1, decision: str = "accept") -> None:
    catalog.registry.save_predictions([PredictionRecord(image, name, values, 0.9, decision, 1, 1)])


# -- split -----------------------------------------------------------------------------------------


def test_what_said_a_value_that_was_split_is_ambiguous_over_its_heirs(hems: Catalog) -> None:
    before = hems.labels.revision()
    hems.labels.declare(hem(*PARTS, LONG), "p")
    assert values_of(hems) == {
        1: ("ambiguous", ("short", "micro")),
        2: ("labelled", ("maxi",)),
        3: ("ambiguous", ("maxi", "short", "micro")),
        4: ("ambiguous", ("short", "micro")),
    }
    assert hems.labels.new_labels("hem", before) == 0  # nobody said anything new
    assert [v.replaced_by for v in hems.labels.attributes()["hem"].values if v.key == "mini"] == [("short", "micro")]
    labels = hems.labels.label_set("hem")
    assert labels.attribute.labels.keys == ("short", "micro", "maxi")
    assert labels.target.tolist() == [[1, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, 0]]


def test_a_label_of_one_heir_settles_it(hems: Catalog, shop: Shop) -> None:
    hems.labels.declare(hem(*PARTS, LONG), "p")
    hems.labels.ingest(shop.labels("image,hem", "a.png,micro", images=False, name="more.csv"))
    assert values_of(hems)[1] == ("labelled", ("micro",))


def test_the_former_value_of_another_source_does_not_contradict_its_heir(hems: Catalog, shop: Shop) -> None:
    hems.labels.declare(hem(*PARTS, LONG), "p")
    hems.labels.ingest(shop.labels("image,hem", "a.png,micro", images=False, name="more.csv"), source="supplier")
    assert values_of(hems)[1] == ("labelled", ("micro",))


def test_a_split_value_of_several_leaves_the_others_certain(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image,trim", "a.png,bow|zip", "b.png,zip", "c.png,bow"))
    catalog.labels.ingest(shop.labels("image,trim", "c.png,big_bow", images=False, name="more.csv"), source="supplier")
    catalog.labels.declare(Attribute("trim", MultiLabel(("bow", "zip"))), "p")
    bows = Value("bow_tie", formerly=("bow",)), Value("big_bow", formerly=("bow",))
    catalog.labels.declare(Attribute("trim", MultiLabel((*bows, Value("zip")))), "p")
    record = catalog.labels.annotations("trim", [1])[1]
    assert (record.state, record.certain) == ("ambiguous", ("zip",))
    target = catalog.labels.label_set("trim").target
    assert str(target.tolist()) == "[[nan, nan, 1.0], [0.0, 0.0, 1.0], [nan, 1.0, 0.0]]"


def test_a_prediction_of_a_value_that_was_split_goes_to_review_with_its_heirs(hems: Catalog) -> None:
    promote(hems)
    predict(hems, "hem", "mini")
    predict(hems, "hem", "maxi", image=2)
    hems.labels.declare(hem(*PARTS, LONG), "p")
    said = {p.image_id: (p.values, p.decision) for p in hems.registry.predictions("hem")}
    assert said == {1: (("short", "micro"), "review"), 2: (("maxi",), "accept")}


def test_renames_merges_and_splits_that_are_taken_back_are_nothing_new_to_learn(hems: Catalog) -> None:
    first, before = values_of(hems), hems.labels.revision()
    for values in (
        (Value("brief", formerly=("mini",)), LONG),
        (*PARTS, LONG),
        (Value("any", formerly=("mini", "maxi")), Value("other")),
    ):
        hems.labels.declare(hem(*values), "p")
        assert values_of(hems) != first
        hems.labels.declare(hem("mini", LONG), "p")
        assert values_of(hems) == first
    assert hems.labels.new_labels("hem", before) == 1  # the cell of two candidates was one value for a while


def test_a_split_can_be_taken_back(hems: Catalog) -> None:
    hems.labels.declare(hem(*PARTS, LONG), "p")
    hems.labels.declare(hem(Value("brief", formerly=("short", "micro")), LONG), "p")
    assert values_of(hems)[1] == ("labelled", ("brief",))  # the chain is followed: mini is listed nowhere
    hems.labels.declare(hem("mini", LONG), "p")
    assert values_of(hems)[1] == ("labelled", ("mini",))


def test_renames_in_a_row_keep_labels_and_predictions(hems: Catalog) -> None:
    promote(hems)
    predict(hems, "hem", "mini")
    hems.labels.declare(hem(Value("brief", formerly=("mini",)), LONG), "p")
    hems.labels.declare(hem(Value("short", formerly=("brief",)), LONG), "p")
    assert values_of(hems)[1] == ("labelled", ("short",))
    assert hems.registry.predictions("hem")[0].values == ("short",)
    assert hems.labels.coverage(hems.labels.attributes()["hem"].schema).per_value == {"short": 2, "maxi": 1}
    assert hems.labels.attributes()["hem"].today.labels.find("mini") is not None


# -- another name ----------------------------------------------------------------------------------


@pytest.fixture
def necks(catalog: Catalog, shop: Shop) -> Catalog:
    """A catalogue with a live attribute `neckline`, a prediction, and cells in its column."""
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew", "b.png,v_neck", "c.png,"))
    catalog.labels.declare(neck("neckline"), "attributree-neckline", "1.0")
    promote(catalog, "neckline", ("crew", "v_neck"))
    predict(catalog, "neckline", "crew", image=3)
    return catalog


def test_a_renamed_attribute_keeps_all_it_has(necks: Catalog) -> None:
    before = necks.labels.revision()
    branch = necks.registry.live().branches["neckline"]  # type: ignore[union-attr]
    necks.labels.declare(neck("neck_shape", "neckline"), "attributree-neckline", "2.0")
    assert list(necks.labels.attributes()) == ["neck_shape"]
    assert necks.labels.attributes()["neck_shape"].former_names == ("neckline",)
    assert values_of(necks, "neck_shape") == {1: ("labelled", ("crew",)), 2: ("labelled", ("v_neck",))}
    assert necks.labels.new_labels("neck_shape", before) == 0
    live = necks.registry.live()
    assert live is not None
    assert live.branches["neck_shape"].id == branch.id
    (prediction,) = necks.registry.predictions("neck_shape")
    assert (prediction.attribute, prediction.values, prediction.branch_id) == ("neck_shape", ("crew",), branch.id)
    assert necks.labels.undeclared() == {}


def test_of_two_unreadable_words_in_columns_of_both_names_at_once_todays_is_counted(necks: Catalog, shop: Shop) -> None:
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    file = shop.labels("image,neckline,neck_shape", "a.png,round,square", "b.png,oval,", images=False, name="both.csv")
    necks.labels.ingest(file)
    (counted,) = necks.labels.attributes().values()
    unreadable = {text.text: text.count for text in necks.labels.coverage(counted.schema).unreadable}
    necks.labels.orphan("neck_shape")  # is read from the observations
    assert unreadable == {text.text: text.count for text in necks.labels.coverage(counted.schema).unreadable}
    assert unreadable == {"square": 1, "oval": 1}


def test_columns_of_both_names_are_read_from_then_on_and_observations_stay_verbatim(necks: Catalog, shop: Shop) -> None:
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    summary = necks.labels.ingest(shop.labels("image,neckline", "c.png,crew", images=False, name="old.csv"))
    assert summary.undeclared == {}
    necks.labels.ingest(shop.labels("image,neck_shape", "a.png,v_neck", images=False, name="new.csv"))
    said = {i: values for i, (_, values) in values_of(necks, "neck_shape").items()}
    assert said == {1: ("v_neck",), 2: ("v_neck",), 3: ("crew",)}
    columns = [(o.attribute, o.raw) for o in necks.labels.history("a.png", load_predictions).images[0].observations]
    assert columns == [("neckline", "crew"), ("neck_shape", "v_neck")]


def test_of_two_columns_in_one_row_todays_name_counts(necks: Catalog, shop: Shop) -> None:
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    necks.labels.ingest(shop.labels("image,neck_shape,neckline", "b.png,crew,v-neck", images=False, name="both.csv"))
    assert values_of(necks, "neck_shape")[2] == ("labelled", ("crew",))


@pytest.mark.parametrize("chunk", [1, 1000])
def test_of_two_former_columns_the_newer_name_counts_in_whatever_row_it_stands(
    necks: Catalog, shop: Shop, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(readers, "CHUNK", chunk)
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    necks.labels.declare(neck("collar", "neck_shape", "neckline"), "p")
    first = shop.labels("image,neck_shape,neckline", "b.png,crew,", "b.png,,v-neck", images=False, name="first.csv")
    second = shop.labels("image,neckline,neck_shape", "c.png,v-neck,", "c.png,,crew", images=False, name="second.csv")
    assert [necks.labels.ingest(file).observations_new for file in (first, second)] == [2, 2]
    assert {image: values_of(necks, "collar")[image] for image in (2, 3)} == dict.fromkeys(
        (2, 3), ("labelled", ("crew",))
    )


def test_names_in_a_row_are_followed_though_the_last_lists_one_link_only(necks: Catalog) -> None:
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    necks.labels.declare(neck("collar", "neck_shape"), "p")
    collar = necks.labels.attributes()["collar"]
    assert collar.former_names == ("neck_shape", "neckline")
    assert collar.today.columns == ("collar", "neck_shape", "neckline")
    assert values_of(necks, "collar")[1] == ("labelled", ("crew",))
    assert necks.labels.coverage(neck("collar", "neck_shape")).labelled == 2


def test_a_name_can_be_given_back(necks: Catalog) -> None:
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    with pytest.raises(CatalogError, match="'neckline' is called 'neck_shape' now"):
        necks.labels.declare(neck("neckline"), "p")
    assert list(necks.labels.attributes()) == ["neck_shape"]
    necks.labels.declare(neck("neckline", "neck_shape"), "p")
    assert necks.labels.attributes()["neckline"].former_names == ("neck_shape",)
    assert values_of(necks, "neckline")[1] == ("labelled", ("crew",))


def test_two_attributes_cannot_become_one(necks: Catalog) -> None:
    necks.labels.declare(neck("collar"), "p")
    with pytest.raises(CatalogError, match="knows 'collar' and 'neckline' as attributes of their own"):
        necks.labels.declare(neck("collar", "neckline"), "p")
    assert sorted(necks.labels.attributes()) == ["collar", "neckline"]


def test_a_plugin_that_brings_a_new_name_finds_columns_of_the_old_one_waiting(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image,neckline", "a.png,crew"))
    assert catalog.labels.coverage(neck("neck_shape", "neckline")).labelled == 1
    catalog.labels.declare(neck("neck_shape", "neckline"), "p")
    assert values_of(catalog, "neck_shape") == {1: ("labelled", ("crew",))}


def test_an_attribute_is_not_renamed_under_the_hands_of_who_trains_it(necks: Catalog) -> None:
    run = necks.registry.claim_run(Work("neckline", "retrain", "f", "s", "c", 1), "far:1:x")
    assert run is not None
    with pytest.raises(CatalogError, match="'neckline' cannot become 'neck_shape' while far:1:x trains it"):
        necks.labels.declare(neck("neck_shape", "neckline"), "p")
    assert list(necks.labels.attributes()) == ["neckline"]
    necks.registry.finish_run(run, "rejected", seconds=1)
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    assert [run.attribute for run in necks.registry.runs()] == ["neck_shape"]


def test_a_worker_that_began_before_the_rename_still_commits_beside_it(necks: Catalog) -> None:
    live = necks.registry.live()
    assert live is not None
    necks.labels.declare(hem("a", "b"), "p")
    necks.labels.declare(neck("neck_shape", "neckline"), "p")
    kept = live.branches["neckline"]  # as the worker knows it
    new = BranchRecord(
        None, "hem", ("u", "g"), "t", "head", "linear", None, ("a", "b"), "single", "s", 2, "f", 5, 1.0, 0.5, True
    )
    version = necks.registry.commit_version(NewVersion(live.trunk, (kept, new), live.id, "grow", "sync"))
    assert sorted(version.branches) == ["hem", "neck_shape"]


# -- where it applies ------------------------------------------------------------------------------


def test_where_an_attribute_applies_no_more_nothing_is_answered_and_it_comes_back(hems: Catalog, shop: Shop) -> None:
    more = shop.labels("image,article_type", "a.png,jeans", "b.png,dress", "e.png,dress", images=True, name="types.csv")
    hems.labels.ingest(more)
    promote(hems)
    for image in (1, 2):
        predict(hems, "hem", "maxi", image=image)
    assert [p.decision for p in hems.registry.predictions("hem")] == ["accept", "accept"]
    hems.labels.declare(hem("mini", LONG, applies_to=("dress",)), "p")
    said = {p.image_id: (p.values, p.decision) for p in hems.registry.predictions("hem")}
    assert said == {1: ((), "not_applicable"), 2: (("maxi",), "accept")}
    assert values_of(hems)[1] == ("not_applicable", ())
    hems.labels.declare(hem("mini", LONG, applies_to=("dress", "jeans")), "p")
    assert [p.values for p in hems.registry.predictions("hem")] == [("maxi",), ("maxi",)]


def test_a_new_article_type_makes_gaps(catalog: Catalog, shop: Shop) -> None:
    catalog.labels.ingest(shop.labels("image,article_type", "a.png,dress", "b.png,skirt", "c.png,jeans"))
    catalog.labels.declare(hem("mini", LONG, applies_to=("dress",)), "p")
    assert catalog.labels.missing("hem") == [1]
    catalog.labels.declare(hem("mini", LONG, applies_to=("dress", "skirt")), "p")
    assert catalog.labels.missing("hem") == [1, 2]


# -- on record -------------------------------------------------------------------------------------


def test_every_change_says_what_when_and_by_which_plugin_and_code(hems: Catalog) -> None:
    hems.labels.declare(hem(*PARTS, LONG), "attributree-hem", "2.0", actor="joe")
    hems.labels.declare(hem(*PARTS, LONG, title="Hem line"), "attributree-hem", "2.1")  # a title is no change
    hems.labels.declare(hem(*PARTS, LONG, "floor", name="length", formerly=("hem",)), "attributree-hem", "3.0")
    hems.labels.orphan("length", actor="joe")
    hems.labels.declare(hem(*PARTS, LONG, "floor", name="length", formerly=("hem",)), "attributree-hem", "3.0")
    assert [(c.change, c.detail, c.plugin_version, c.actor) for c in hems.labels.changes("hem")] == [
        ("register", "declared by attributree-hem", "1.0", "mia"),
        ("evolve", "mini is split into short, micro", "2.0", "joe"),
        ("evolve", "hem is now length; new: floor", "3.0", ""),
        ("orphan", "attributree-hem is gone; branch and predictions are kept", None, "joe"),
        ("register", "attributree-hem is back", "3.0", ""),
    ]
    first, *_, last = hems.labels.changes()
    assert first.schema == hem("mini", LONG)  # what it was then can be read later
    assert last.digest == hems.labels.attributes()["length"].digest
    assert {c.attributree for c in hems.labels.changes("length")} == {__version__}
    assert first.revision < last.revision == hems.labels.revision()
    assert first.created_at <= last.created_at
    assert jsonable(first)["schema"]["name"] == "hem"


def test_a_change_that_is_refused_leaves_no_trace(hems: Catalog) -> None:
    promote(hems)
    before = hems.labels.revision(), len(hems.labels.changes())
    with pytest.raises(CatalogError, match="branches were trained for it as single, it cannot become multi"):
        hems.labels.declare(Attribute("hem", MultiLabel(("mini", "maxi"))), "p")
    assert (hems.labels.revision(), len(hems.labels.changes())) == before


@pytest.mark.parametrize("kind", [MultiLabel, Ordinal, SingleLabel])
def test_without_a_branch_any_kind_becomes_any_other(hems: Catalog, kind: type[SingleLabel]) -> None:
    hems.labels.declare(Attribute("hem", Ordinal(("mini", "maxi"))), "p")
    hems.labels.declare(Attribute("hem", kind(("mini", "maxi"))), "p")
    state = {MultiLabel: "labelled"}.get(kind, "ambiguous")  # type: ignore[call-overload]
    assert values_of(hems)[3][0] == state
