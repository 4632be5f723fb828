"""The plan is pure: a world goes in, actions with their reasons come out."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from attributree import ArticleType, Attribute, MultiLabel, Ordinal, SingleLabel, Value
from attributree.article_types import ArticleTypes
from attributree.errors import UnknownNameError
from attributree.labels.lineage import describe_change
from attributree.labels.records import CatalogAttribute, CatalogValue, Coverage, SharedPicture
from attributree.plugins import PluginInfo
from attributree.registry.records import BranchRecord, TrainingRun, TreeVersion, TrunkRecord
from attributree.reports import FAILED, REJECTED, Action, Plan
from attributree.schema import Labels
from attributree.settings.models import Settings
from attributree.settings.recipes import Recipes
from attributree.sync.plan import missing, plan_sync, retrain_due, trunk_change
from attributree.sync.state import CatalogState

THEN = datetime(2026, 1, 1, tzinfo=UTC)
RECIPES = Recipes(Settings())
NECKLINE = Attribute("neckline", SingleLabel(("crew", "v_neck", "boat")))
HEM = Attribute("hem", Ordinal(("mini", "midi", "maxi")))


def settings(**sections: Mapping[str, Any]) -> Recipes:
    return Recipes(Settings.model_validate(sections))


def labelled(attribute: Attribute = NECKLINE, each: int = 30, **changes: Any) -> Coverage:
    """Return the coverage of a well-labelled attribute: `each` images a value, a third of them in each split."""
    per_value = dict.fromkeys(attribute.labels.keys, each)
    total = each * attribute.labels.size
    made = Coverage(
        labelled=total,
        ambiguous=4,
        not_applicable=2,
        unknown=10,
        per_value=per_value,
        per_split=dict.fromkeys(("train", "val", "test"), total // 3),
        train_values=dict.fromkeys(per_value, each // 3),
        unreadable=(),
    )
    return replace(made, **changes)


def registered(attribute: Attribute = NECKLINE, **changes: Any) -> CatalogAttribute:
    made = CatalogAttribute(
        name=attribute.name,
        title=attribute.title,
        kind=attribute.labels.kind,
        declared_by=f"attributree-{attribute.name}",
        schema=attribute,
        digest=attribute.digest,
        state="declared",
        revision=1,
        values=(),
    )
    return replace(made, **changes)


def branch(attribute: Attribute = NECKLINE, **changes: Any) -> BranchRecord:
    made = BranchRecord(
        id=1,
        attribute=attribute.name,
        parts=("a", "b"),
        trunk="t",
        depth="head",
        head="linear",
        donor="backbone",
        values=attribute.labels.keys,
        kind=attribute.labels.kind,
        schema_digest=attribute.digest,
        revision=7,
        fingerprint="f",
        labels=90,
        temperature=1.0,
        cut=0.5,
        calibrated=True,
    )
    return replace(made, **changes)


def version(*branches: BranchRecord, trunk: Mapping[str, Any] | None = None) -> TreeVersion:
    spec = {**RECIPES.settings.trunk.model_dump(), **(trunk or {})}
    return TreeVersion(
        id=1,
        trunk=TrunkRecord("t", spec),
        branches={record.attribute: record for record in branches},
        parent=None,
        reason="",
        actor="",
        proof={},
        created_at=THEN,
        live=True,
    )


def run(attribute: Attribute = NECKLINE, status: str = REJECTED, **changes: Any) -> TrainingRun:
    made = TrainingRun(
        id=1,
        attribute=attribute.name,
        action="grow",
        fingerprint="f",
        schema_digest=attribute.digest,
        config_digest=RECIPES.digest(attribute.name),
        revision=7,
        status=status,
        started_at=THEN,
        finished_at=THEN,
        seconds=60.0,
        metrics={"verdict": "it was no good", "labels": 90, "megabytes": 8.0},
        error=None,
        branch_id=None,
    )
    return replace(made, **changes)


def catalogue(*attributes: Attribute, live: TreeVersion | None = None, **changes: Any) -> CatalogState:
    """Return what is known where `attributes` are declared, registered and well labelled."""
    made = CatalogState(
        declared={attribute.name: attribute for attribute in attributes},
        declared_by={attribute.name: f"attributree-{attribute.name}" for attribute in attributes},
        problems=(),
        catalogued={attribute.name: registered(attribute) for attribute in attributes},
        coverage={attribute.name: labelled(attribute) for attribute in attributes},
        live=live,
    )
    return replace(made, **changes)


def one(plan: Plan) -> Action:
    (action,) = plan.actions
    return action


def steps(plan: Plan) -> list[tuple[str, str | None]]:
    return [(action.action, action.attribute) for action in plan.actions]


# -- schemas ---------------------------------------------------------------------------------------


def test_nothing_declared_is_nothing_to_do() -> None:
    assert plan_sync(catalogue(), RECIPES) == Plan()


def test_a_new_attribute_is_registered_with_its_declarer_and_its_labels_then_grown() -> None:
    plan = plan_sync(catalogue(NECKLINE, catalogued={}), RECIPES)
    assert steps(plan) == [("register", "neckline"), ("grow", "neckline")]
    assert plan.actions[0].reason == "declared by attributree-neckline; 90 images in the catalogue already say it"
    assert plan.actions[0].labelled == 90
    assert plan.actions[1].reason == "no branch yet; 90 images labelled, 4 ambiguous"


def test_one_label_is_one_image() -> None:
    few = labelled(labelled=1)
    plan = plan_sync(catalogue(NECKLINE, catalogued={}, coverage={"neckline": few}), RECIPES)
    assert plan.of("register")[0].reason.endswith("; 1 image in the catalogue already says it")


def test_an_attribute_that_is_live_and_up_to_date_needs_nothing() -> None:
    assert plan_sync(catalogue(NECKLINE, live=version(branch())), RECIPES) == Plan()


def test_a_changed_schema_evolves() -> None:
    old = Attribute("neckline", SingleLabel(("crew", "vee", "boat")))
    new = Attribute("neckline", SingleLabel(("crew", Value("v_neck", formerly=("vee",)), "boat")))
    plan = plan_sync(
        catalogue(new, catalogued={"neckline": registered(old)}, live=version(branch(old))),
        RECIPES,
    )
    assert steps(plan) == [("evolve", "neckline")]  # a rename needs no training
    assert plan.actions[0].reason == "vee is now v_neck"


def test_another_precedence_of_sources_evolves_every_attribute_even_those_not_asked_for() -> None:
    here = catalogue(NECKLINE, HEM, live=version(branch(), branch(HEM)))
    plan = plan_sync(here, settings(sources={"scan": {"rank": 3}}), only=["hem"])
    assert steps(plan) == [("evolve", "hem"), ("evolve", "neckline")]
    assert plan.actions[0].reason == (
        "the precedence of sources changed (scan rank 1 -> 3): what was said is read again"
    )
    assert plan_sync(here, settings(sources={"scan": {"rank": 1}})) == Plan()


def test_other_article_types_evolve_the_attributes_that_they_matter_to_and_say_why() -> None:
    neckline = replace(NECKLINE, applies_to=("top",))
    types = ArticleTypes(plugins={"words": (ArticleType("top", ("tees",)), ArticleType("watch"))})
    products = {"Tees": 7, "Watches": 2, "Gadgets": 1, "top": 9, "": 3}
    here = catalogue(neckline, HEM, live=version(branch(neckline), branch(HEM)), next_types=types, products=products)
    plan = plan_sync(here, RECIPES)
    assert steps(plan) == [("evolve", "neckline")]  # hems are asked of everything
    assert plan.actions[0].reason == (
        "the article types changed (asked of Tees, 7 products; not known whether asked of Gadgets, 1 product): "
        "what was said is read again"
    )
    assert plan.notes == (
        "1 article type is unmapped (Gadgets, 1 product), so it is not known what to ask there; "
        "see `attributree types`",
    )
    followed = plan_sync(replace(here, types=types), RECIPES)
    assert steps(followed) == []
    assert followed.notes == plan.notes


def test_other_article_types_evolve_an_attribute_that_cannot_be_trained_too() -> None:
    neckline = replace(NECKLINE, applies_to=("top",))
    types = ArticleTypes(plugins={"words": (ArticleType("top", ("tees",)),)})
    few = {"neckline": labelled(labelled=1)}
    here = catalogue(neckline, coverage=few, next_types=types, products={f"{i} > Tees": 1 for i in range(7)})
    plan = plan_sync(here, RECIPES)
    assert steps(plan) == [("evolve", "neckline"), ("blocked", "neckline")]
    assert "0 > Tees, 1 > Tees, 2 > Tees, 3 > Tees, 4 > Tees and 2 more, 7 products" in plan.actions[0].reason


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (SingleLabel(("crew", Value("vee", formerly=("v_neck",)), "boat")), "v_neck is now vee"),
        (SingleLabel(("crew", Value("vee", formerly=("V-Neck",)), "boat")), "v_neck is now vee"),
        (SingleLabel((Value("crew", formerly=("boat",)), "v_neck")), "boat is now crew"),
        (
            SingleLabel((Value("round", formerly=("crew", "boat")), "v_neck")),
            "crew is now round; boat is now round",
        ),
        (SingleLabel(("crew", "v_neck", "boat", "halter", "cowl")), "new: halter, cowl"),
        (SingleLabel(("crew", "v_neck")), "retired: boat"),
        (SingleLabel(("crew", "v_neck", "halter")), "new: halter; retired: boat"),
        (
            SingleLabel(("crew", "v_neck", Value("slash", formerly=("boat",)), Value("bateau", formerly=("boat",)))),
            "boat is split into slash, bateau",
        ),
        (MultiLabel(("crew", "v_neck", "boat")), "kind single -> multi"),
        (SingleLabel(("boat", "v_neck", "crew")), "spellings or order of its values changed"),
        (
            SingleLabel((Value("crew", synonyms=("round",)), "v_neck", "boat")),
            "spellings or order of its values changed",
        ),
    ],
)
def test_a_change_of_values_is_told_in_words(labels: Labels, words: str) -> None:
    assert describe_change(NECKLINE, Attribute("neckline", labels)) == words


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [((), ("top", "dress"), "applies to top, dress"), (("top",), (), "applies to everything")],
)
def test_a_change_of_article_types_is_told_in_words(
    before: tuple[str, ...], after: tuple[str, ...], words: str
) -> None:
    old, new = replace(NECKLINE, applies_to=before), replace(NECKLINE, applies_to=after)
    assert describe_change(old, new) == words


def test_another_kind_is_refused_once_a_branch_was_trained() -> None:
    multi = Attribute("neckline", MultiLabel(NECKLINE.labels.values))
    trained = catalogue(multi, catalogued={"neckline": registered()}, live=version(branch()))
    action = one(plan_sync(trained, RECIPES))
    assert action.action == "blocked"
    assert action.reason == (
        "branches were trained for it as single, it cannot become multi, since a cell a|b would mean something else; "
        "declare it under another name, such as neckline_2, and ingest its labels in a column of that name"
    )
    was_trained = replace(trained, live=None, last_run={"neckline": run(status="promoted", branch_id=3)})
    assert one(plan_sync(was_trained, RECIPES)) == action


def test_steps_instead_of_single_values_and_back_evolve_and_retrain() -> None:
    steps_now = Attribute("neckline", Ordinal(NECKLINE.labels.values))
    plan = plan_sync(catalogue(steps_now, catalogued={"neckline": registered()}, live=version(branch())), RECIPES)
    assert [(action.action, action.reason) for action in plan.actions] == [
        ("evolve", "kind single -> ordinal"),
        ("retrain", "the live branch was trained as single, the attribute is ordinal now"),
    ]


def test_another_kind_evolves_while_no_branch_was_trained() -> None:
    multi = Attribute("neckline", MultiLabel(NECKLINE.labels.values))
    plan = plan_sync(catalogue(multi, catalogued={"neckline": registered()}), RECIPES)
    assert steps(plan) == [("evolve", "neckline"), ("grow", "neckline")]


# -- a value that was split ------------------------------------------------------------------------

SPLIT = Attribute(
    "neckline", SingleLabel(("crew", "v_neck", Value("slash", formerly=("boat",)), Value("bateau", formerly=("boat",))))
)


def split_catalogue(slash: int, bateau: int, **changes: Any) -> CatalogState:
    """Return what is known where the live branch learnt boat and so many train labels say each of its heirs."""
    counts = {"crew": 10, "v_neck": 10, "slash": slash, "bateau": bateau}
    known = replace(labelled(SPLIT), train_values=counts)
    return catalogue(SPLIT, live=version(branch()), coverage={"neckline": known}, **changes)


def test_a_split_retrains_once_each_part_has_its_share_of_labels() -> None:
    action = one(plan_sync(split_catalogue(12, 12), RECIPES))
    assert (action.action, action.reason) == (
        "retrain",
        "boat is split into slash, bateau since the live branch was trained",
    )


@pytest.mark.parametrize("asked", [(), ("neckline",)])
def test_a_split_without_labels_is_blocked_and_says_what_is_missing(asked: tuple[str, ...]) -> None:
    action = one(plan_sync(split_catalogue(12, 3), RECIPES, retrain=asked))
    assert (action.action, action.reason) == (
        "blocked",
        "boat is split into slash, bateau: in the train split are 3 of 12 labels of bateau; "
        "until then such answers go to review",
    )


def test_a_split_is_shown_where_nothing_at_all_could_be_trained() -> None:
    few = replace(labelled(SPLIT), labelled=3, per_value=dict.fromkeys(SPLIT.labels.keys, 0))
    action = one(plan_sync(replace(split_catalogue(0, 0), coverage={"neckline": few}), RECIPES))
    assert action.action == "blocked"
    assert action.reason.startswith("boat is split into slash, bateau: 3 of 50 labels; 4 of 4 values have none; until")


def test_a_branch_that_learnt_the_parts_is_up_to_date() -> None:
    assert plan_sync(catalogue(SPLIT, live=version(branch(SPLIT))), RECIPES) == Plan()


# -- another name ----------------------------------------------------------------------------------

NECK = replace(NECKLINE, name="neck_shape", title="", formerly=("neckline",))


def renamed_catalogue(**changes: Any) -> CatalogState:
    """Return what is known where neckline, live, is declared as neck_shape from now on."""
    known = {"neck_shape": registered(NECKLINE)}
    return catalogue(NECK, catalogued=known, live=version(branch(NECK, schema_digest=NECKLINE.digest)), **changes)


def test_a_renamed_attribute_evolves_and_trains_nothing() -> None:
    action = one(plan_sync(renamed_catalogue(), RECIPES))
    assert (action.action, action.attribute, action.reason) == (
        "evolve",
        "neck_shape",
        "neckline is now neck_shape",
    )


def test_settings_under_a_former_name_are_said_to_be_without_effect() -> None:
    own = settings(attributes={"neckline": {"min_labels": 20}})
    (note,) = plan_sync(renamed_catalogue(), own).notes
    assert note == (
        "plugins.toml: [attributes.neckline] is not read, since neckline is called neck_shape now; "
        "call the section [attributes.neck_shape]"
    )
    after = catalogue(
        replace(NECK, formerly=()),
        catalogued={"neck_shape": registered(replace(NECK, formerly=()), former_names=("neckline",))},
    )
    assert plan_sync(after, own).notes == (note,)


def test_an_attribute_that_is_being_trained_is_renamed_later() -> None:
    action = one(plan_sync(renamed_catalogue(training={"neckline": "host:1:x"}), RECIPES))
    assert action.action == "blocked"
    assert action.reason.startswith("neckline becomes neck_shape when host:1:x has trained it; run sync-catalog again")


def test_names_that_clash_are_blocked_and_the_others_go_on() -> None:
    clash = catalogue(NECK, HEM, catalogued={"hem": registered(HEM)}, refused={"neck_shape": "it is called collar now"})
    plan = plan_sync(clash, RECIPES)
    assert steps(plan) == [("blocked", "neck_shape"), ("grow", "hem")]
    assert plan.blocked[0].reason == "it is called collar now"


def test_a_value_that_was_renamed_twice_since_the_branch_was_trained_needs_no_training() -> None:
    today = Attribute("neckline", SingleLabel(("crew", "v_neck", Value("slash", formerly=("bateau",)))))
    past = (CatalogValue("boat", 2, "replaced", ("bateau",)), CatalogValue("bateau", 3, "replaced", ("slash",)))
    known = {"neckline": registered(today, values=past)}
    assert plan_sync(catalogue(today, catalogued=known, live=version(branch())), RECIPES) == Plan()


# -- what is missing -------------------------------------------------------------------------------


def test_too_few_labels_block_and_say_how_many_and_which_values_have_none() -> None:
    few = labelled(labelled=23, per_value={"crew": 23, "v_neck": 0, "boat": 0})
    action = one(plan_sync(catalogue(NECKLINE, coverage={"neckline": few}), RECIPES))
    assert (action.action, action.labelled) == ("blocked", 23)
    assert action.reason == "23 of 50 labels; 2 of 3 values have none"


def test_the_needed_labels_are_counted_to_the_last_one() -> None:
    assert missing(NECKLINE, labelled(labelled=49), 50) == "49 of 50 labels"
    assert missing(NECKLINE, labelled(labelled=50), 50) is None


def test_min_labels_can_be_set_for_one_attribute() -> None:
    own = settings(attributes={"neckline": {"min_labels": 91}})
    plan = plan_sync(catalogue(NECKLINE, HEM), own)
    assert {a.attribute: a.action for a in plan.actions} == {"neckline": "blocked", "hem": "grow"}


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"crew": 40}, "all labels in the train split say crew; two values are needed"),
        ({}, "all labels in the train split say nothing; two values are needed"),
    ],
)
def test_one_value_alone_teaches_nothing(train: dict[str, int], words: str) -> None:
    assert missing(NECKLINE, labelled(train_values=train), 50) == words


def test_a_multi_label_attribute_of_one_value_can_be_trained() -> None:
    belt = Attribute("belt", MultiLabel(("belt",)))
    assert missing(belt, labelled(belt, each=60), 50) is None


def test_none_of_them_is_another_answer_than_the_one_value_that_is_taught() -> None:
    trim = Attribute("trim", MultiLabel(("lace", "bow")))
    taught = {"lace": 20, "bow": 0}
    assert missing(trim, labelled(trim, train_values=taught), 50) == (
        "all labels in the train split say lace; two values are needed"
    )
    some_without = {"train": 21, "val": 9, "test": 20}
    assert missing(trim, labelled(trim, train_values=taught, per_split=some_without), 50) is None


def test_without_a_validation_label_nothing_can_be_measured() -> None:
    blind = labelled(per_split={"train": 60, "val": 0, "test": 30})
    action = one(plan_sync(catalogue(NECKLINE, coverage={"neckline": blind}), RECIPES))
    assert action.action == "blocked"
    assert action.reason.startswith("no label in the val split, so nothing could be measured")


def test_labels_in_one_split_alone_are_told_with_what_to_do() -> None:
    everything = {"train": 0, "val": 0, "test": 60}
    tested = labelled(per_split={"test": 90}, train_values={})
    plan = plan_sync(catalogue(NECKLINE, coverage={"neckline": tested}, splits=everything), RECIPES)
    assert one(plan).reason == (
        "no label in the train split, so nothing could be learnt (90 in test); "
        "write train in the column split of the label file for most of the products, and ingest it again"
    )
    assert [note.partition(";")[0] for note in plan.notes] == [
        "none of the 60 products is in the train split, so nothing can be learnt",
        "none of the 60 products is in the val split, so nothing can be measured while it is learnt",
    ]
    some = {"train": 40, "val": 10, "test": 10}
    assert missing(NECKLINE, tested, 50, some) == (
        "no label in the train split, so nothing could be learnt (90 in test); "
        "label some products of the train split too"
    )


@pytest.mark.parametrize(
    ("split", "lost"),
    [("val", "nothing can be measured while it is learnt"), ("test", "no score of it can be trusted")],
)
def test_a_split_that_no_product_is_in_is_a_note(split: str, lost: str) -> None:
    splits = {"train": 50, "val": 10, "test": 10, split: 0}
    (note,) = plan_sync(catalogue(NECKLINE, splits=splits), RECIPES).notes
    assert note == (
        f"none of the 60 products is in the {split} split, so {lost}; "
        f"write {split} in the column split of the label file for one in seven of the products, and ingest it again"
    )
    assert plan_sync(catalogue(NECKLINE, splits=dict.fromkeys(splits, 20)), RECIPES).notes == ()
    assert plan_sync(catalogue(NECKLINE, splits=dict.fromkeys(splits, 0)), RECIPES).notes == ()


def test_a_picture_in_two_splits_is_a_note() -> None:
    shared = SharedPicture((("a.png", "S1", "train"), ("b.png", "S2", "test")))
    (note,) = plan_sync(catalogue(NECKLINE, shared=(shared,)), RECIPES).notes
    assert note == (
        "a picture is in several splits, so what is learnt from one is tested on itself: a.png of S1 in train and "
        "b.png of S2 in test; give both rows the same sku, or the same split, in the label file and ingest it again"
    )


def test_a_root_that_is_gone_is_a_note() -> None:
    assert plan_sync(catalogue(NECKLINE, root_warnings=("gone",)), RECIPES).notes == ("gone",)


def test_a_live_branch_goes_on_when_a_retraining_lacks_labels() -> None:
    few = catalogue(
        NECKLINE, live=version(branch()), coverage={"neckline": labelled(labelled=3)}, new_labels={"neckline": 500}
    )
    assert plan_sync(few, RECIPES) == Plan()
    assert one(plan_sync(few, RECIPES, retrain=["neckline"])).action == "blocked"


# -- retraining ------------------------------------------------------------------------------------


def test_fifty_new_labels_make_a_retraining_due_and_forty_nine_do_not() -> None:
    live = version(branch(labels=90))
    assert plan_sync(catalogue(NECKLINE, live=live, new_labels={"neckline": 49}), RECIPES) == Plan()
    action = one(plan_sync(catalogue(NECKLINE, live=live, new_labels={"neckline": 50}), RECIPES))
    assert action.action == "retrain"
    assert action.reason == "50 new labels since revision 7 (50 make a retraining due)"


def test_a_tenth_of_many_labels_is_needed() -> None:
    live = version(branch(labels=2000))
    assert plan_sync(catalogue(NECKLINE, live=live, new_labels={"neckline": 199}), RECIPES) == Plan()
    assert one(plan_sync(catalogue(NECKLINE, live=live, new_labels={"neckline": 200}), RECIPES)).action == "retrain"


def test_when_a_retraining_is_due_can_be_set() -> None:
    own = settings(training={"retrain_labels": 5, "retrain_share": 0.5})
    assert [retrain_due(own, "neckline", n) for n in (0, 10, 11, 100)] == [5, 5, 5, 50]


def test_retrain_trains_without_a_need() -> None:
    action = one(plan_sync(catalogue(NECKLINE, HEM, live=version(branch(), branch(HEM))), RECIPES, retrain=["hem"]))
    assert (action.action, action.attribute) == ("retrain", "hem")
    assert action.reason == "asked for by --retrain"


def test_a_value_with_labels_that_the_branch_never_learnt_makes_a_retraining_due() -> None:
    live = version(branch(values=("crew", "v_neck")))
    action = one(plan_sync(catalogue(NECKLINE, live=live), RECIPES))
    assert (action.action, action.reason) == ("retrain", "the live branch never learnt boat")


def test_a_new_value_without_a_training_label_waits() -> None:
    bare = labelled(train_values={"crew": 10, "v_neck": 10, "boat": 0})
    live = version(branch(values=("crew", "v_neck")))
    assert plan_sync(catalogue(NECKLINE, live=live, coverage={"neckline": bare}), RECIPES) == Plan()


def test_a_retired_value_makes_a_retraining_due() -> None:
    live = version(branch(values=("crew", "v_neck", "boat", "halter")))
    assert one(plan_sync(catalogue(NECKLINE, live=live), RECIPES)).reason == "values were retired: halter"


def test_a_vocabulary_that_was_replaced_makes_a_retraining_due_and_says_what_it_lacks() -> None:
    live = version(branch(values=("rot", "blau")))
    action = one(plan_sync(catalogue(NECKLINE, live=live), RECIPES))
    silent = "the live branch knows none of today's values"
    assert (action.action, action.reason) == ("retrain", f"{silent}: it learnt rot, blau")
    bare = labelled(labelled=0, per_value={}, per_split={}, train_values={})
    action = one(plan_sync(catalogue(NECKLINE, live=live, coverage={"neckline": bare}), RECIPES))
    assert (action.action, action.reason) == (
        "blocked",
        f"{silent}: 0 of 50 labels; 3 of 3 values have none; until then it answers nothing",
    )
    kept = version(branch(values=("rot", "boat")))
    assert plan_sync(catalogue(NECKLINE, live=kept, coverage={"neckline": bare}), RECIPES) == Plan()


def test_renamed_and_merged_values_need_no_retraining_however_they_are_spelt() -> None:
    today = Attribute("neckline", SingleLabel((Value("crew", formerly=("Round-Neck", "jewel")), "v_neck", "boat")))
    live = version(branch(values=("round_neck", "jewel", "v_neck", "boat")))
    assert plan_sync(catalogue(today, live=live), RECIPES) == Plan()


# -- attempts that came to nothing -----------------------------------------------------------------


@pytest.mark.parametrize("live", [None, version(branch())])
@pytest.mark.parametrize("status", [REJECTED, FAILED])
def test_what_came_to_nothing_is_not_tried_again_and_says_why(live: TreeVersion | None, status: str) -> None:
    error = "the loss became nan" if status == "failed" else None
    tried = catalogue(
        NECKLINE,
        live=live,
        new_labels={"neckline": 60},  # since the live branch: all of them were there at the last attempt
        labels_since_run={"neckline": 49},
        last_run={"neckline": run(status=status, error=error)},
    )
    action = one(plan_sync(tried, RECIPES))
    assert action.action == "blocked"
    assert action.reason == (
        f"its last training was {status}: {error or 'it was no good'}. "
        "Tried again after 50 new labels (now 49), a change of settings, or --retrain neckline"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"labels_since_run": {"neckline": 50}},
        {"last_run": {"neckline": run(config_digest="other")}},
        {"last_run": {"neckline": run(schema_digest="other")}},
        {"last_run": {"neckline": run(status="failed", metrics={"retry": True})}},
        {"last_run": {"neckline": run(status="running")}},
    ],
)
def test_it_is_tried_again_once_something_changed_that_could_help(change: dict[str, Any]) -> None:
    tried = catalogue(NECKLINE, **{"labels_since_run": {"neckline": 0}, "last_run": {"neckline": run()}, **change})
    assert one(plan_sync(tried, RECIPES)).action == "grow"


def test_it_is_tried_again_when_asked_for() -> None:
    tried = catalogue(NECKLINE, last_run={"neckline": run()})
    assert one(plan_sync(tried, RECIPES, retrain=["neckline"])).action == "grow"


def test_a_rejected_retraining_keeps_quiet_while_none_is_due() -> None:
    live = version(branch(revision=9))
    tried = catalogue(NECKLINE, live=live, new_labels={"neckline": 0}, last_run={"neckline": run()})
    assert plan_sync(tried, RECIPES) == Plan()


# -- plugins that come, go and break ---------------------------------------------------------------


def test_an_attribute_nobody_declares_any_more_is_orphaned_once() -> None:
    gone = catalogue(catalogued={"neckline": registered()}, live=version(branch()))
    action = one(plan_sync(gone, RECIPES))
    assert action.action == "orphan"
    assert action.reason == (
        "no plugin declares it any more (attributree-neckline did); branch and predictions are kept"
    )
    assert plan_sync(replace(gone, catalogued={"neckline": registered(state="orphaned")}), RECIPES) == Plan()


def test_a_head_that_cannot_answer_its_attribute_blocks_it_before_anything_is_trained() -> None:
    ordinal = settings(attributes={"neckline": {"head": "ordinal"}, "hem": {"head": "ordinal"}})
    plan = plan_sync(catalogue(NECKLINE, HEM), ordinal)
    assert steps(plan) == [("blocked", "neckline"), ("grow", "hem")]
    assert plan.blocked[0].reason == (
        "attributes -> neckline -> head: the ordinal head answers ordinal attributes, neckline is single; "
        "take another one"
    )


def test_another_head_is_a_setting_like_others_that_retrains_nothing_by_itself() -> None:
    live = version(branch(config={**RECIPES.of("neckline").model_dump(), "head_options": {"dropout": 0.2}}))
    assert plan_sync(catalogue(NECKLINE, live=live), RECIPES).notes == ()
    plan = plan_sync(catalogue(NECKLINE, live=live), settings(attributes={"neckline": {"head": "attention"}}))
    assert plan.actions == ()
    assert plan.notes == (
        "neckline was trained with other settings (head None -> attention); to apply them: --retrain neckline",
    )


def test_an_orphan_that_shall_be_retrained_is_blocked_with_the_way_out() -> None:
    gone = catalogue(catalogued={"neckline": registered(state="orphaned")}, live=version(branch()))
    action = one(plan_sync(gone, RECIPES, retrain=["neckline"]))
    assert (action.action, action.reason) == (
        "blocked",
        "no plugin declares it; install its plugin to train it",
    )


def test_what_is_asked_for_is_retrained_also_beside_only() -> None:
    plan = plan_sync(catalogue(NECKLINE, HEM), RECIPES, only=["hem"], retrain=["neckline"])
    assert ("grow", "neckline") in steps(plan)


def test_an_attribute_of_a_broken_plugin_is_blocked_and_not_orphaned() -> None:
    broken = PluginInfo("neckline", "Attributree_Neckline", "1.0", status="failed", error="raised ImportError")
    gone = catalogue(catalogued={"neckline": registered()}, live=version(branch()), problems=(broken,))
    action = one(plan_sync(gone, RECIPES))
    assert action.action == "blocked"
    assert action.reason == ("its plugin attributree-neckline is broken: raised ImportError; what is live stays live")


def test_a_plugin_that_is_back_revives_its_branch_without_training() -> None:
    back = catalogue(NECKLINE, catalogued={"neckline": registered(state="orphaned")}, live=version(branch()))
    action = one(plan_sync(back, RECIPES))
    assert (action.action, action.reason) == ("register", "attributree-neckline is back; its branch answers again")


def test_a_plugin_that_is_back_without_a_branch_grows_one() -> None:
    back = catalogue(NECKLINE, catalogued={"neckline": registered(state="orphaned")})
    plan = plan_sync(back, RECIPES)
    assert steps(plan) == [("register", "neckline"), ("grow", "neckline")]
    assert plan.actions[0].reason == "attributree-neckline is back"


# -- the trunk -------------------------------------------------------------------------------------


def test_a_pretrained_trunk_is_not_trained() -> None:
    assert not plan_sync(catalogue(NECKLINE), RECIPES).of("train_trunk")


def test_a_trunk_of_random_weights_is_trained_first_from_all_that_grow() -> None:
    random = settings(trunk={"weights": "random"})
    plan = plan_sync(catalogue(NECKLINE, HEM), random)
    assert steps(plan) == [("train_trunk", None), ("grow", "hem"), ("grow", "neckline")]
    assert plan.actions[0].reason.endswith("learn the trunk once, end to end, from hem, neckline")


def test_a_trunk_of_random_weights_is_trained_once() -> None:
    random = settings(trunk={"weights": "random"})
    live = version(branch(), trunk=random.settings.trunk.model_dump())
    assert steps(plan_sync(catalogue(NECKLINE, HEM, live=live), random)) == [("grow", "hem")]


def test_a_trunk_of_random_weights_is_not_trained_for_nothing() -> None:
    few = catalogue(NECKLINE, coverage={"neckline": labelled(labelled=3)})
    assert steps(plan_sync(few, settings(trunk={"weights": "random"}))) == [("blocked", "neckline")]


def test_a_change_of_the_trunk_says_what_changed_and_retrains_every_branch() -> None:
    live = version(branch(), branch(HEM))
    larger = settings(trunk={"backbone": "resnet50", "image_size": 256})
    plan = plan_sync(catalogue(NECKLINE, HEM, live=live), larger)
    assert steps(plan) == [("retrain", "hem"), ("retrain", "neckline")]
    assert plan.actions[0].reason == (
        "the trunk's settings changed: backbone resnet34 -> resnet50, image_size 224 -> 256"
    )
    assert trunk_change(catalogue(live=live), RECIPES) is None
    assert trunk_change(catalogue(), RECIPES) == "there is no trunk yet"


@pytest.mark.parametrize(
    ("stored", "written", "changes"),
    [
        ({"branch_at": "layer4"}, {}, None),  # before branch_at = "auto": what stood there by default
        ({"branch_at": "layer4"}, {"branch_at": "layer4"}, None),
        ({"branch_at": "layer4", "last_stage": "layer4", "interpolation": "bilinear", "origin": "hub"}, {}, None),
        ({"branch_at": "blocks_5", "last_stage": "blocks_5"}, {}, None),
        ({"branch_at": "stages.3"}, {"branch_at": "stages_3"}, None),
        ({"branch_at": "layer3", "last_stage": "layer4"}, {}, "branch_at layer3 -> auto"),
        ({"branch_at": "layer4", "last_stage": "layer4"}, {"branch_at": "layer3"}, "branch_at layer4 -> layer3"),
        ({"branch_at": "s4"}, {}, "branch_at s4 -> auto"),
        (
            {"branch_at": "layer4", "last_stage": "layer4"},
            {"backbone": "tf_efficientnet_lite0", "weights": "efficientnet-lite0"},
            "backbone resnet34 -> tf_efficientnet_lite0, weights hub -> efficientnet-lite0",
        ),
    ],
)
def test_auto_is_the_last_stage_and_what_settings_do_not_say_is_no_change(
    stored: dict[str, Any], written: dict[str, Any], changes: str | None
) -> None:
    change = trunk_change(catalogue(live=version(branch(), trunk=stored)), settings(trunk=written))
    assert change == (changes and f"the trunk's settings changed: {changes}")


def test_a_changed_random_trunk_is_learnt_anew() -> None:
    live = version(branch(), trunk={"weights": "random", "image_size": 64})
    plan = plan_sync(catalogue(NECKLINE, live=live), settings(trunk={"weights": "random"}))
    assert steps(plan) == [("train_trunk", None), ("retrain", "neckline")]


@pytest.mark.parametrize(
    ("change", "only"),
    [
        ({}, ["neckline"]),
        ({"coverage": {"neckline": labelled(), "hem": labelled(HEM, labelled=3)}}, []),
        (
            {
                "declared": {"neckline": NECKLINE},
                "problems": (PluginInfo("hem", "attributree-hem", status="failed", error="broken"),),
            },
            [],
        ),
    ],
)
def test_on_a_changed_trunk_all_live_branches_move_or_none(change: dict[str, Any], only: list[str]) -> None:
    stuck = catalogue(NECKLINE, HEM, live=version(branch(), branch(HEM), trunk={"image_size": 64}), **change)
    plan = plan_sync(stuck, RECIPES, only=only)
    assert not plan.training
    assert plan.blocked[-1].attribute == "neckline"
    assert plan.blocked[-1].reason == (
        "the trunk's settings changed: image_size 64 -> 224; all live branches move together, and hem cannot now"
    )


def test_an_orphan_does_not_hold_a_changed_trunk_back() -> None:
    live = version(branch(), branch(HEM), trunk={"image_size": 64})
    plan = plan_sync(
        catalogue(NECKLINE, catalogued={"neckline": registered(), "hem": registered(HEM)}, live=live), RECIPES
    )
    assert steps(plan) == [("orphan", "hem"), ("retrain", "neckline")]


def test_a_changed_trunk_that_came_to_nothing_is_tried_again_with_all_branches_at_once() -> None:
    tried = catalogue(
        NECKLINE,
        HEM,
        live=version(branch(), branch(HEM), trunk={"image_size": 64}),
        last_run={"neckline": run(), "hem": run(HEM)},
    )
    assert [action.action for action in plan_sync(tried, RECIPES).actions] == ["blocked", "blocked"]
    helped = replace(tried, labels_since_run={"hem": 50})
    assert steps(plan_sync(helped, RECIPES)) == [("retrain", "hem"), ("retrain", "neckline")]


def test_a_branch_that_was_rolled_back_is_not_trained_again_at_once() -> None:
    undone = catalogue(
        NECKLINE,
        catalogued={"neckline": registered()},
        last_run={"neckline": run(status="promoted", branch_id=99)},
    )
    action = one(plan_sync(undone, RECIPES))
    assert action.action == "blocked"
    assert "its branch 99 was taken out of service by promoting another tree version" in action.reason
    assert steps(plan_sync(undone, RECIPES, retrain=["neckline"])) == [("grow", "neckline")]


def test_settings_that_differ_from_those_of_a_live_branch_are_said() -> None:
    trained = replace(branch(), config={"epochs": 3, "target_precision": 0.5})
    plan = plan_sync(catalogue(NECKLINE, catalogued={"neckline": registered()}, live=version(trained)), RECIPES)
    assert plan.actions == ()
    (note,) = plan.notes
    assert "epochs 3 -> 20" in note
    assert "target_precision 0.5 -> 0.9" in note
    assert note.endswith("--retrain neckline")


# -- what was asked for ----------------------------------------------------------------------------


def test_only_looks_at_these_attributes() -> None:
    gone = {"neckline": registered(), "hem": registered(HEM), "lapel": registered(replace(HEM, name="lapel"))}
    plan = plan_sync(catalogue(NECKLINE, HEM, catalogued=gone), RECIPES, only=["hem"])
    assert steps(plan) == [("grow", "hem")]


@pytest.mark.parametrize("option", ["only", "retrain"])
def test_an_unknown_name_is_refused_with_those_that_are_there(option: str) -> None:
    with pytest.raises(UnknownNameError, match="no attribute 'hemm'; there are: hem, neckline"):
        plan_sync(catalogue(NECKLINE, HEM), RECIPES, **{option: ["hemm"]})


def test_an_unknown_name_in_an_empty_world_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="there are: none"):
        plan_sync(catalogue(), RECIPES, only=["hem"])


# -- cost ------------------------------------------------------------------------------------------


def test_without_an_earlier_run_nothing_is_forecast_but_labels() -> None:
    forecast = one(plan_sync(catalogue(NECKLINE), RECIPES)).forecast
    assert forecast is not None
    assert asdict(forecast) == {"labels": 94, "minutes": None, "megabytes": None}


def took(seconds: float, megabytes: float, *, action: str = "grow", depth: str = "head") -> TrainingRun:
    """Return a run on 100 labels."""
    measured = {"labels": 100, "megabytes": megabytes, "depth": depth}
    return run(HEM, "promoted", action=action, seconds=seconds, metrics=measured)


def cost(*runs: TrainingRun, live: TreeVersion | None = None, **attribute: Any) -> tuple[float | None, float | None]:
    """Return the minutes and megabytes that the plan forecasts for 94 labels after these runs."""
    settled = settings(attributes={"neckline": attribute})
    forecast = one(plan_sync(catalogue(NECKLINE, live=live, runs=runs), settled, retrain=["neckline"])).forecast
    assert forecast is not None
    assert forecast.labels == 94
    return forecast.minutes, forecast.megabytes


def test_cost_is_forecast_from_the_median_of_earlier_runs() -> None:
    failed = run(HEM, "failed", seconds=5.0, metrics={})
    stray = took(9000, 7.0)
    # 60 seconds for 100 labels, and 94 labels to come.
    assert cost(took(30, 8.0), took(60, 9.0), stray, failed) == (0.94, 8.0)


def test_runs_of_the_same_action_and_depth_say_most() -> None:
    runs = (took(100, 8.0), took(200, 30.0, depth="stage"), took(300, 1.0, action="retrain", depth="stage"))
    assert cost(*runs, depth="stage") == (3.13, 30.0)
    assert cost(*runs, depth="block") == (2.35, 19.0)
    assert cost(*runs, live=version(branch())) == (4.7, 1.0)
    assert cost(took(300, 1.0, action="retrain")) == (4.7, 1.0)
    assert cost(took(9, 1.0, action="finetune")) == (None, None)


# -- the plan itself -------------------------------------------------------------------------------


def test_a_plan_is_in_order_schemas_then_what_is_blocked_then_training() -> None:
    few = replace(HEM, name="few")
    plan = plan_sync(
        catalogue(NECKLINE, few, catalogued={}, coverage={"neckline": labelled(), "few": labelled(HEM, labelled=1)}),
        settings(trunk={"weights": "random"}),
    )
    assert steps(plan) == [
        ("register", "few"),
        ("register", "neckline"),
        ("blocked", "few"),
        ("train_trunk", None),
        ("grow", "neckline"),
    ]
    assert [action.action for action in plan.training] == ["train_trunk", "grow"]
    assert [action.action for action in plan.blocked] == ["blocked"]


def test_an_action_shows_what_the_interface_promises() -> None:
    action = Action("grow", "hem", "why", 3)
    assert action.to_json() == {"action": "grow", "attribute": "hem", "reason": "why", "labelled": 3}


def test_a_plan_is_pure() -> None:
    before = catalogue(NECKLINE, HEM, catalogued={})
    assert plan_sync(before, RECIPES) == plan_sync(before, RECIPES)
