"""The doctor: each finding from the symptoms it follows from, and what is looked at to have those."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value, Workspace, hookimpl
from attributree.article_types import TypeReport
from attributree.doctor import ERROR, NOTE, WARNING, Finding, ImportTrial, Symptoms, diagnose, examine
from attributree.doctor.imports import time_imports
from attributree.labels.records import Coverage, SharedPicture, UnknownValue
from attributree.plugins import PluginInfo, load_plugins
from attributree.settings.models import PluginSettings, Settings
from support.projects import Project

NECKLINE = Attribute("neckline", SingleLabel(("crew", "v_neck", "boat")), applies_to=("top", "dress"))
PLUGIN = PluginInfo("shop", "attributree-shop", "1.2", ("neckline",))


def symptoms(attribute: Attribute = NECKLINE, **changes: Any) -> Symptoms:
    """Return the symptoms of one healthy plugin that declares `attribute`, with `changes`."""
    info = replace(PLUGIN, attributes=(attribute.name,))
    return replace(Symptoms(Settings(), (info,), {attribute.name: attribute}, upper_units=3), **changes)


def settings(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


def labelled(attribute: Attribute = NECKLINE, each: int = 30, **changes: Any) -> Coverage:
    """Return the coverage of a well labelled attribute, with `changes`."""
    keys, size = attribute.labels.keys, attribute.labels.size
    made = Coverage(
        labelled=each * size,
        ambiguous=0,
        not_applicable=0,
        unknown=100,
        per_value=dict.fromkeys(keys, each),
        per_split={"train": size * each // 3, "val": size * each // 3, "test": size * each // 3},
        train_values=dict.fromkeys(keys, each // 3),
        unreadable=(),
    )
    return replace(made, **changes)


def one(found: Symptoms) -> Finding:
    """Return the only finding."""
    (finding,) = diagnose(found)
    return finding


def test_a_healthy_plugin_has_no_finding() -> None:
    trials = {PLUGIN.label: ImportTrial(0.05, False)}
    assert diagnose(symptoms(imports=trials, coverage={"neckline": labelled()})) == ()


# -- plugins ---------------------------------------------------------------------------------------


def test_a_plugin_that_failed_is_an_error_with_its_reason_and_the_way_round_it() -> None:
    broken = PluginInfo("torn", "/shop/torn.py", status="failed", error="raised ImportError on import")
    finding = one(Symptoms(Settings(), (broken,)))
    assert finding == Finding(
        ERROR,
        "plugin",
        "/shop/torn.py (plugin 'torn')",
        "raised ImportError on import",
        'mend it, or leave it out: disabled = ["torn"] in the [plugins] section',
        "torn",
        "/shop/torn.py",
    )


@pytest.mark.parametrize(
    ("error", "package"),
    [
        ("supports hook API '>=2', this attributree has 1.0; upgrade attributree", "attributree"),
        ("supports hook API '<1', this attributree has 1.0; upgrade the plugin", "attributree-shop"),
    ],
)
def test_a_plugin_for_another_hook_api_is_an_error_that_says_what_to_upgrade(error: str, package: str) -> None:
    finding = one(Symptoms(Settings(), (replace(PLUGIN, status="skipped", attributes=(), error=error),)))
    assert (finding.severity, finding.what) == (ERROR, error)
    assert finding.do == f"pip install --upgrade {package}"


def test_a_plugin_that_is_disabled_is_left_in_peace() -> None:
    assert diagnose(Symptoms(Settings(), (replace(PLUGIN, status="disabled", attributes=()),))) == ()


@pytest.mark.parametrize(
    ("status", "what"), [(None, "is not there"), ("failed", "is failed"), ("disabled", "is disabled")]
)
def test_a_required_plugin_that_does_not_work_is_an_error(status: Any, what: str) -> None:
    plugins = (replace(PLUGIN, status=status, error="x"),) if status else ()
    found = diagnose(Symptoms(settings(plugins={"require": ["shop"]}), plugins))
    assert (ERROR, f"required plugin 'shop' {what}") in {(finding.severity, finding.what) for finding in found}
    assert diagnose(symptoms(settings=settings(plugins={"require": ["attributree_shop"]}))) == ()


def test_a_plugin_that_says_no_hook_api_is_a_note() -> None:
    finding = one(symptoms(without_range=(PLUGIN.label,)))
    assert (finding.severity, finding.check, finding.plugin) == (NOTE, "plugin", "shop")
    assert "attributree_api" in finding.do


def test_a_slow_import_is_a_warning_with_its_seconds() -> None:
    finding = one(symptoms(imports={PLUGIN.label: ImportTrial(0.44, False)}))
    assert (finding.severity, finding.check) == (WARNING, "import")
    assert finding.what.startswith("takes 0.4 s to load, 0.3 are plenty")


def test_torch_at_import_is_a_warning_however_quick_it_was() -> None:
    finding = one(symptoms(imports={PLUGIN.label: ImportTrial(0.1, True)}))
    assert (finding.severity, finding.check) == (WARNING, "import")
    assert finding.what.startswith("imports torch when it is loaded")
    assert "inside attributree_branch_head" in finding.do


# -- settings --------------------------------------------------------------------------------------


def test_settings_of_an_attribute_that_nobody_declares_are_a_warning() -> None:
    near = one(symptoms(settings=settings(attributes={"nekline": {"depth": "head"}})))
    assert (near.severity, near.where) == (WARNING, "attributes -> nekline")
    assert near.do == "write [attributes.neckline]"
    far = one(symptoms(settings=settings(attributes={"wash": {"depth": "head"}})))
    assert far.do == "install its plugin, or delete the section"


def test_a_disabled_name_that_no_plugin_answers_to_is_a_warning() -> None:
    near, far = diagnose(symptoms(unmatched=("attributree-shp", "xyz")))
    assert (near.severity, near.where, near.do) == (WARNING, "plugins -> disabled", "write 'attributree-shop'")
    assert "plugins list" in far.do


def test_a_depth_that_the_backbone_does_not_have_is_a_note() -> None:
    block = settings(attributes={"neckline": {"depth": "block"}})
    finding = one(symptoms(settings=block, upper_units=1))
    assert (finding.severity, finding.where) == (NOTE, "attributes -> neckline -> depth")
    assert diagnose(symptoms(settings=block)) == ()


# -- heads -----------------------------------------------------------------------------------------


def test_an_ordinal_head_where_there_is_no_order_is_an_error() -> None:
    ordinal = settings(attributes={"neckline": {"head": "ordinal"}})
    finding = one(symptoms(settings=ordinal, head_errors={"neckline": "the same, in other words"}))
    assert (finding.severity, finding.where) == (ERROR, "attributes -> neckline -> head")
    assert finding.what == "the ordinal head answers ordinal attributes, neckline is single; take another one"
    hem = Attribute("hem", Ordinal(("mini", "maxi")))
    assert diagnose(symptoms(hem, settings=settings(attributes={"hem": {"head": "ordinal"}}))) == ()


def test_a_head_that_fails_its_dry_run_is_an_error_with_the_shapes_it_should_have() -> None:
    finding = one(symptoms(head_errors={"neckline": "plugin shop: the head of 'neckline' returned (2, 4)"}))
    assert (finding.severity, finding.where, finding.plugin) == (ERROR, "head of neckline", "shop")
    assert finding.what == "plugin shop: the head of 'neckline' returned (2, 4)"
    assert "returns (B, 3)" in finding.do
    assert 'head = "linear" under [attributes.neckline]' in finding.do


def test_a_plugins_head_that_the_settings_displace_is_a_note() -> None:
    owners = {"neckline": "attributree-shop"}
    picked = settings(attributes={"neckline": {"head": "attention"}})
    finding = one(symptoms(settings=picked, head_owners=owners))
    assert (finding.severity, finding.where) == (NOTE, "attributes -> neckline -> head")
    assert "the head that attributree-shop brings is not used, the settings pick attention" in finding.what
    assert diagnose(symptoms(head_owners=owners)) == ()


def test_a_backbone_that_cannot_be_built_is_an_error_by_section_and_key() -> None:
    finding = one(symptoms(trunk_error="trunk -> backbone: timm has no 'resnet43'; near it: resnet34"))
    assert (finding.severity, finding.where) == (ERROR, "trunk -> backbone")
    assert finding.what == "timm has no 'resnet43'; near it: resnet34"


# -- spellings -------------------------------------------------------------------------------------


def spelt(*values: Value) -> Symptoms:
    return symptoms(Attribute("neckline", SingleLabel(values)))


def test_a_synonym_that_is_the_key_but_for_case_and_signs_is_a_note() -> None:
    finding = one(spelt(Value("v_neck", synonyms=("vee", "V-Neck")), Value("crew")))
    assert (finding.severity, finding.where, finding.do) == (NOTE, "neckline -> v_neck", "delete 'V-Neck'")
    assert one(spelt(Value("crew", synonyms=("round neck", "Round-Neck")), Value("boat"))).do == "delete 'Round-Neck'"


@pytest.mark.parametrize("text", ["round, jewel", "round; jewel", "round / jewel", "round/jewel"])
def test_a_synonym_with_separators_is_a_warning(text: str) -> None:
    finding = one(spelt(Value("crew", synonyms=(text,)), Value("boat")))
    assert (finding.severity, finding.where) == (WARNING, "neckline -> crew")
    assert finding.do == "write 'round', 'jewel' as separate synonyms if that is meant"


@pytest.mark.parametrize("text", ["3/4", "3/4 sleeves", "round,", "A & B", "off-the-shoulder"])
def test_a_fraction_or_a_sign_is_no_separator(text: str) -> None:
    assert diagnose(spelt(Value("crew", synonyms=(text,)), Value("boat"))) == ()


def test_values_that_differ_in_blanks_and_punctuation_only_are_a_warning() -> None:
    finding = one(spelt(Value("halter", synonyms=("halter neck",)), Value("other", synonyms=("halterneck",))))
    assert (finding.severity, finding.where) == (WARNING, "neckline -> other")
    assert "differs from one of 'halter' in blanks and punctuation only" in finding.what


def test_one_values_spellings_may_be_alike_and_two_attributes_may_share_theirs() -> None:
    cuff = Attribute("cuff", MultiLabel((Value("crew", synonyms=("crew-cuff", "crewcuff")), "ribbed")))
    assert diagnose(symptoms(attributes={"neckline": NECKLINE, "cuff": cuff})) == ()


# -- article types -----------------------------------------------------------------------------------


def report(word: str, *nearest: str, attributes: tuple[str, ...] = ()) -> TypeReport:
    return TypeReport(word, 12, None, None, None, (), attributes, 30, nearest)


def test_an_unmapped_type_is_a_warning_with_its_products_labels_and_the_line_to_write() -> None:
    finding = one(symptoms(unmapped=(report("Tshrits", "tshirt"), report("Sarees", attributes=("neckline",)))))
    assert (finding.severity, finding.check, finding.where) == (WARNING, "labels", "article type 'Tshrits'")
    assert finding.what == "is unmapped, so it is not known what to ask there: 12 products, 30 labels stated"
    assert finding.do == 'write it under [article_types], such as tshirt = ["Tshrits"]; see `attributree types`'


def test_many_unmapped_types_are_counted_together() -> None:
    found = diagnose(symptoms(unmapped=tuple(report(f"type {i}") for i in range(25))))
    assert len(found) == 21
    assert found[-1].what == "5 more article types with 60 products are unmapped"


def test_what_plugins_say_of_a_word_against_each_other_is_a_warning() -> None:
    finding = one(symptoms(type_conflicts=("'slips' is a word of 'a' and 'b'; write it under one",)))
    assert (finding.where, finding.do) == ("article_types", "write it under one")


def test_a_table_that_does_not_fit_the_plugins_is_an_error(new_project: Callable[..., Project]) -> None:
    project = new_project("sleeves")
    Workspace.create(project.folder).close()
    project.settings(article_types={"vest": {"words": [], "below": ["topp"]}})
    with project.open() as workspace:
        found = examine(workspace)
    (finding,) = [f for f in diagnose(found) if f.severity == ERROR]
    assert finding.where == "article_types -> vest -> below"
    assert "'topp' is a type of neither plugins nor settings; write 'top'" in finding.what
    outcome = project.run("status")
    assert (outcome.code, "article_types -> vest -> below" in outcome.err) == (1, True)


# -- labels ----------------------------------------------------------------------------------------


def test_too_few_labels_are_a_warning_in_the_words_of_a_plan() -> None:
    few = labelled(labelled=23, per_value={"crew": 23, "v_neck": 0, "boat": 0})
    finding = one(symptoms(coverage={"neckline": few}))
    assert (finding.severity, finding.check, finding.plugin) == (WARNING, "labels", "shop")
    assert finding.what == "cannot be trained: 23 of 50 labels; 2 of 3 values have none"
    assert "min_labels under [attributes.neckline] (now 50)" in finding.do


def test_labels_in_the_wrong_split_are_a_warning_that_says_what_to_do() -> None:
    tested = labelled(per_split={"test": 90}, train_values={})
    splits = {"train": 0, "val": 20, "test": 40}
    empty, blocked = diagnose(symptoms(coverage={"neckline": tested}, splits=splits))
    assert (empty.severity, empty.check, empty.where) == (WARNING, "splits", "catalogue")
    assert empty.what == "none of the 60 products is in the train split, so nothing can be learnt"
    assert blocked.what == "cannot be trained: no label in the train split, so nothing could be learnt (90 in test)"
    assert empty.do == blocked.do
    assert blocked.do.startswith("write train in the column split of the label file for most of the products")


def test_a_picture_in_two_splits_and_a_root_that_is_gone_are_warnings() -> None:
    shared = SharedPicture((("a.png", "S1", "train"), ("b.png", "S2", "test")))
    gone = "the images root /x is gone; if it was moved, type: attributree relocate /x NEW"
    root, picture = diagnose(symptoms(shared=(shared, shared), root_warnings=(gone,)))
    assert (root.severity, root.what, root.do) == (WARNING, *gone.split("; "))
    assert picture.what.startswith("2 pictures are in several splits")
    assert picture.do.startswith("give both rows the same sku, or the same split")


def test_values_without_a_label_to_learn_from_are_a_warning() -> None:
    some = labelled(train_values={"crew": 20, "v_neck": 20, "boat": 0})
    finding = one(symptoms(coverage={"neckline": some}))
    assert (finding.severity, finding.what) == (WARNING, "1 of 3 values have no label to learn from: boat")


def test_a_column_of_nearly_that_name_is_a_warning() -> None:
    none = labelled(labelled=0, unknown=190, per_value={}, train_values={})
    finding = one(symptoms(coverage={"neckline": none}, columns={"Neck-Line": 120, "fabric": 10}))
    assert finding.what == "no label, but no attribute reads the column 'Neck-Line' (120 cells)"
    assert finding.do == "rename the column to neckline and ingest the file again"


def test_an_attribute_that_applies_to_no_image_is_a_warning() -> None:
    nowhere = labelled(labelled=0, unknown=0, not_applicable=40, per_value={}, train_values={})
    finding = one(symptoms(coverage={"neckline": nowhere}))
    assert finding.what == "applies to none of the 40 images"
    assert "(top, dress)" in finding.do


def test_an_empty_catalogue_says_nothing_about_labels() -> None:
    empty = labelled(labelled=0, unknown=0, per_value={}, per_split={}, train_values={})
    assert diagnose(symptoms(coverage={"neckline": empty})) == ()


def test_cells_near_a_value_are_a_warning_a_value_with_their_count() -> None:
    texts = [UnknownValue("neckline", f"crew{'e' * i}", 9 - i, "crew") for i in range(1, 8)]
    texts += [UnknownValue("neckline", "boot", 1, "boat")]
    crew, boat = diagnose(symptoms(coverage={"neckline": labelled(unreadable=tuple(texts))}))
    assert (crew.severity, crew.where) == (WARNING, "neckline")
    assert crew.what == (
        "'crewe', 'crewee', 'creweee', 'creweeee', 'creweeeee', ... in 35 cells are no value of it; near crew"
    )
    assert crew.do == "add them to the synonyms of crew, or mend the label file"
    assert boat.what == "'boot' in 1 cell is no value of it; near boat"
    assert boat.do == "add it to the synonyms of boat, or mend the label file"


def test_cells_near_no_value_are_a_note() -> None:
    texts = (UnknownValue("neckline", "???", 4, None), UnknownValue("neckline", "see photo", 2, None))
    finding = one(symptoms(coverage={"neckline": labelled(unreadable=texts)}))
    assert (finding.severity, finding.what) == (NOTE, "'???', 'see photo' in 6 cells are no value of it, and near none")


def test_a_catalogue_that_cannot_be_opened_is_a_note() -> None:
    finding = one(symptoms(catalog_error="no catalogue there yet (sqlite:///x): run `attributree init`"))
    assert (finding.severity, finding.where) == (NOTE, "catalogue")
    assert "run `attributree init`" in finding.what


def test_errors_come_first_and_notes_last() -> None:
    found = diagnose(
        symptoms(
            without_range=(PLUGIN.label,),
            imports={PLUGIN.label: ImportTrial(0.1, True)},
            head_errors={"neckline": "failed"},
        )
    )
    assert [finding.severity for finding in found] == [ERROR, WARNING, NOTE]


# -- what is looked at -----------------------------------------------------------------------------


def files(folder: Path, **sources: str) -> list[PluginInfo]:
    """Write one-file plugins and return them as if they worked."""
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
    return [PluginInfo(name, str(folder / f"{name}.py")) for name in sources]


DECLARES = """\
from attributree import Attribute, SingleLabel, hookimpl
@hookimpl
def attributree_attributes():
    {first}
    return [Attribute({name!r}, SingleLabel(("a", "b")))]
"""


def test_imports_are_timed_one_by_one_in_processes_of_their_own(tmp_path: Path) -> None:
    heavy = "import sys, types; sys.modules['torch'] = types.ModuleType('torch')"  # as good as the real one, and quick
    plugins = files(
        tmp_path,
        quick=DECLARES.format(name="one", first="print('hello')"),
        slow="import time; time.sleep(0.4)\n" + DECLARES.format(name="two", first=""),
        torn="import not_there",
        late=DECLARES.format(name="three", first=heavy),
    )
    found = time_imports(plugins)
    trials = {info.name: found[info.label] for info in plugins if info.label in found}
    assert trials.keys() == {"quick", "slow", "late"}
    assert trials["slow"].seconds > 0.4
    assert [name for name, trial in trials.items() if trial.torch] == ["late"]


def test_a_plugin_that_is_not_used_is_not_imported(tmp_path: Path) -> None:
    mark = tmp_path / "imported"
    (info,) = files(tmp_path, shy=f"open({str(mark)!r}, 'w')")
    for status in ("disabled", "failed", "skipped"):
        assert time_imports([replace(info, status=status)]) == {}
    assert not mark.exists()


def test_an_object_in_memory_has_no_import_to_time() -> None:
    assert time_imports([PluginInfo("shop"), PluginInfo("gone", "attributree-gone", "1.0")]) == {}


class Shop:
    """Declares two attributes and brings a head for one of them, of the wrong size."""

    @hookimpl
    def attributree_attributes(self) -> list[Attribute]:
        return [NECKLINE, Attribute("hem", Ordinal(("mini", "midi", "maxi")))]

    @hookimpl
    def attributree_branch_head(self, attribute: Attribute, in_features: int) -> object:
        from torch import nn

        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_features, 3))


def look(**sections: Any) -> Symptoms:
    small = {"backbone": "test_resnet", "weights": "hub", "image_size": 32}
    chosen = settings(
        catalog={"database": "sqlite:///nowhere.db"}, trunk={**small, **sections.pop("trunk", {})}, **sections
    )
    installed = {"disabled": [info.name for info in load_plugins().plugins]}
    chosen = chosen.model_copy(update={"plugins": PluginSettings(**installed)})
    with Workspace(chosen, extra_plugins={"shop": Shop()}) as workspace:
        return examine(workspace)


def test_heads_are_tried_on_the_configured_backbone_without_its_weights() -> None:
    found = look()
    assert found.head_errors.keys() == {"hem"}
    assert "returned (2, 3) torch.float32, expected (2, 2) floats" in found.head_errors["hem"]
    assert found.head_owners == {"neckline": "shop", "hem": "shop"}
    assert found.upper_units is not None
    assert found.without_range == ("plugin 'shop'",)
    assert found.catalog_error == "no catalogue there yet (sqlite:///nowhere.db): run `attributree init`"


def test_a_broken_head_that_the_settings_displace_is_no_error() -> None:
    assert look(attributes={"hem": {"head": "linear"}}).head_errors == {}


def test_a_backbone_that_is_not_there_is_told_in_its_own_words() -> None:
    found = look(trunk={"backbone": "resnet43"})
    assert found.trunk_error is not None
    assert found.trunk_error.startswith("trunk -> backbone: timm has no 'resnet43'")
    assert found.head_errors == {}


def test_labels_are_counted_where_there_is_a_catalogue(new_project: Callable[..., Project]) -> None:
    project = new_project("garment", "sleeves")
    with Workspace.create(project.folder) as workspace:
        rows = [
            {**row, "garment": "dresss" if row["garment"] == "dress" else row["garment"]}
            for row in project.garments.rows
        ]
        workspace.ingest(project.labels(rows), images=project.photos)
        found = examine(workspace)
    assert found.coverage.keys() == {"garment", "sleeves"}
    assert found.columns.keys() == {"tone"}
    told = {(finding.severity, finding.where) for finding in diagnose(found) if finding.check == "labels"}
    assert told == {(WARNING, "garment")}
    texts = [finding.what for finding in diagnose(found) if finding.where == "garment"]
    assert any(text.startswith("'dresss' in") and text.endswith("near dress") for text in texts)
