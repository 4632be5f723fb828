"""Schemas evolve under a live tree: what needs no training is answered at once, what needs it waits for labels."""

from importlib import metadata

import pytest
import torch

from attributree import Workspace, __version__
from attributree.errors import CatalogError
from attributree.reports import SyncReport
from attributree.sync.finetune import finetune_catalog
from attributree.sync.rollback import roll_back_branch
from support.projects import Project


def declare(project: Project, plugin: str, attribute: str) -> None:
    """Write the plugin anew: it declares `attribute`, source of an Attribute, from now on."""
    source = f"""\
from attributree import Attribute, MultiLabel, Ordinal, SingleLabel, Value, hookimpl

@hookimpl
def attributree_attributes():
    return [{attribute}]
"""
    project.plugin(plugin, source=source)


def steps(report: SyncReport) -> list[tuple[str, str | None, str]]:
    return [(action.action, action.attribute, action.reason) for action in report.plan.actions]


def said(workspace: Workspace, name: str) -> list[tuple[tuple[str, ...], float | None, str]]:
    """Return what the live tree says of every photo."""
    photos = [image.file for image in workspace.labels.images()]
    return [(p.values, p.confidence, p.decision) for p in workspace.predict(photos, attributes=[name])]


def logits(workspace: Workspace, name: str) -> torch.Tensor:
    """Return the logits of the live branch on sixteen photos."""
    live = workspace.live()
    pictures, stores = live._features([image.id for image in workspace.labels.images()[:16]], live._reads([name]))
    return live.predictor.tree.from_features(live._read(stores, pictures, sorted(pictures.digests)), [name])[name]


def accuracy(workspace: Workspace, name: str) -> float:
    return float(workspace.live().evaluate("test")["attributes"][name]["accuracy"])


def test_a_vocabulary_that_was_replaced_is_answered_by_errors_until_it_is_learnt(grown: Project) -> None:
    with grown.open() as workspace:
        assert len(list(workspace.live().predict_missing(["sleeves"]))) > 10
        stored = workspace.registry.predictions("sleeves")
    declare(grown, "sleeves", 'Attribute("sleeves", SingleLabel(("ohne", "mit")), applies_to=("top", "dress"))')
    with grown.open() as workspace:
        (_, blocked) = steps(workspace.sync())
        assert blocked[:2] == ("blocked", "sleeves")
        assert blocked[2].startswith("the live branch knows none of today's values: 0 of 20 labels")
        found = list(workspace.live().predict_missing(["sleeves"]))
        assert len(found) > 10
        assert {(p.values, p.confidence, p.decision) for p in found} == {((), None, "error")}
        assert str(found[0].reason).startswith(
            "the live branch learnt bare, covered, and none of that is a value today"
        )
        assert workspace.registry.predictions("sleeves") == stored  # of before, under the former values
        scores = workspace.live().evaluate("test", ["sleeves"])["attributes"]["sleeves"]
        assert (scores["n"], scores["error"]) == (0, found[0].reason)
        photo = grown.photos / grown.garments.rows[0]["image"]
        assert {p.attribute: p.decision == "error" for p in workspace.predict([photo], article_type="top")} == {
            "garment": False,
            "sleeves": True,
        }
        words = {"bare": "ohne", "covered": "mit"}
        rows = [{**row, "sleeves": words.get(row["sleeves"], row["sleeves"])} for row in grown.garments.rows]
        workspace.ingest(grown.labels(rows), images=grown.photos)
        assert [(action.action, action.attribute) for action in workspace.plan().training] == [("retrain", "sleeves")]


@pytest.mark.parametrize(
    ("values", "reason", "now"),
    [
        (
            '"top", "dress", Value("trousers", formerly=("jeans",))',
            "jeans is now trousers",
            {"top": "top", "dress": "dress", "jeans": "trousers"},
        ),
        (
            'Value("above", formerly=("top", "dress")), "jeans"',
            "top is now above; dress is now above",
            {"top": "above", "dress": "above", "jeans": "jeans"},
        ),
    ],
)
def test_renamed_and_merged_values_are_answered_at_once_as_well_as_before_and_nothing_is_trained(
    grown: Project, values: str, reason: str, now: dict[str, str]
) -> None:
    with grown.open() as workspace:
        before, score, runs = (
            said(workspace, "garment"),
            accuracy(workspace, "garment"),
            workspace.registry.runs(),
        )
        version = workspace.registry.live().id
    declare(grown, "garment", f'Attribute("garment", SingleLabel(({values})))')
    with grown.open() as workspace:
        report = workspace.sync()
        assert steps(report) == [("evolve", "garment", reason)]
        assert (report.results, report.version) == ((), version)
        assert workspace.registry.runs() == runs
        after = said(workspace, "garment")
        kept = sum(now[old[0]] == new[0] for (old, _, _), (new, _, _) in zip(before, after, strict=True))
        assert kept >= 0.95 * len(before)  # a merge may turn a near tie round
        assert {value for values, _, _ in after for value in values} <= set(now.values())
        assert accuracy(workspace, "garment") >= score
        assert workspace.sync().plan.actions == ()


def test_a_renamed_attribute_answers_under_its_new_name_bit_for_bit_and_nothing_is_trained(grown: Project) -> None:
    with grown.open() as workspace:
        list(workspace.live().predict_missing(["sleeves"]))
        stored = [(p.image_id, p.values, p.decision, p.branch_id) for p in workspace.registry.predictions("sleeves")]
        before, bits, runs = (
            said(workspace, "sleeves"),
            logits(workspace, "sleeves"),
            len(workspace.registry.runs()),
        )
        coverage = workspace.status()["attributes"]["sleeves"]
    assert stored
    declare(
        grown,
        "sleeves",
        'Attribute("arms", SingleLabel(("bare", "covered")), applies_to=("top", "dress"), formerly=("sleeves",))',
    )
    with grown.open() as workspace:
        report = workspace.sync()
        assert steps(report) == [("evolve", "arms", "sleeves is now arms")]
        assert report.plan.notes[0] == (
            "plugins.toml: [attributes.sleeves] is not read, since sleeves is called arms now; "
            "call the section [attributes.arms]"
        )
        assert len(workspace.registry.runs()) == runs
        assert said(workspace, "arms") == before
        assert torch.equal(logits(workspace, "arms"), bits)
        assert [
            (p.image_id, p.values, p.decision, p.branch_id) for p in workspace.registry.predictions("arms")
        ] == stored
        status = workspace.status()["attributes"]
        assert sorted(status) == ["arms", "garment"]
        assert {**status["arms"], "declared_by": ""} == {**coverage, "declared_by": ""}
    grown.settings(attributes_arms={"depth": "head"})
    with grown.open() as workspace:
        first = workspace.registry.live().branches["arms"].id
        assert workspace.sync(retrain=["arms"]).results[0].status == "promoted"
        assert workspace.registry.live().branches["arms"].id != first
        taken = roll_back_branch(workspace.catalog, workspace.settings, workspace.declared, "arms", "worse")
        assert taken.branches["arms"].id == first
        assert workspace.registry.runs("arms")[0].attribute == "arms"
        assert torch.equal(logits(workspace, "arms"), bits)


def test_an_attribute_that_takes_a_former_name_is_blocked_and_the_others_go_on(grown: Project) -> None:
    declare(grown, "garment", 'Attribute("kind", SingleLabel(("top", "dress", "jeans")), formerly=("garment",))')
    with grown.open() as workspace:
        workspace.sync()
    declare(grown, "garment", 'Attribute("garment", SingleLabel(("top", "dress", "jeans")))')
    with grown.open() as workspace:
        report = workspace.sync()
        blocked, orphan = report.plan.blocked, report.plan.of("orphan")
        assert "attribute 'garment' is called 'kind' now; declare it so" in blocked[0].reason
        assert [action.attribute for action in orphan] == ["kind"]
        assert workspace.live().names() == ["kind", "sleeves"]
    declare(grown, "garment", 'Attribute("garment", SingleLabel(("top", "dress", "jeans")), formerly=("kind",))')
    with grown.open() as workspace:
        back = workspace.sync().plan.actions[0]
        assert (back.action, back.attribute) == ("register", "garment")
        assert back.reason.endswith("is back; its branch answers again; kind is now garment")
        assert workspace.live().names() == ["garment", "sleeves"]


def test_an_attribute_that_claims_what_another_one_became_is_blocked(grown: Project) -> None:
    declare(grown, "garment", 'Attribute("kind", SingleLabel(("top", "dress", "jeans")), formerly=("garment",))')
    with grown.open() as workspace:
        workspace.sync()
    declare(grown, "garment", 'Attribute("kind", SingleLabel(("top", "dress", "jeans")))')
    declare(grown, "other", 'Attribute("sort", SingleLabel(("top", "dress", "jeans")), formerly=("garment",))')
    with grown.open() as workspace:
        plan = workspace.sync().plan
        assert [action.attribute for action in plan.blocked] == ["sort"]
        assert "what the catalogue knows as 'kind', and 'kind' is that attribute already" in plan.blocked[0].reason
        assert workspace.live().names() == ["kind", "sleeves"]
        assert workspace.labels.attributes().keys() == {"kind", "sleeves"}


def test_a_split_value_goes_to_review_with_its_parts_until_labels_tell_them_apart(grown: Project) -> None:
    parts = 'Value("dark_top", formerly=("top",)), Value("bright_top", formerly=("top",))'
    with grown.open() as workspace:
        before = said(workspace, "garment")
    declare(grown, "garment", f'Attribute("garment", SingleLabel(({parts}, "dress", "jeans")))')
    with grown.open() as workspace:
        report = workspace.sync()
        (evolve, blocked) = report.plan.actions
        assert (evolve.action, evolve.reason) == ("evolve", "top is split into dark_top, bright_top")
        assert blocked.action == "blocked"
        assert "in the train split are 0 of 5 labels of dark_top, 0 of 5 labels of bright_top" in blocked.reason
        both = ("dark_top", "bright_top")
        for (old, sure, decision), (new, still, now) in zip(before, said(workspace, "garment"), strict=True):
            assert new == (both if old == ("top",) else old)
            assert still == pytest.approx(sure)
            assert now == ("review" if old == ("top",) else decision)
        gaps = {p.image_id: p for p in workspace.live().predict_missing(["garment"])}
        assert len(gaps) > 50  # every top is one now
        stored = workspace.registry.predictions("garment")
        assert {p.decision for p in stored if p.values == both} == {"review"}
        assert any("split" in str(p.reason) for p in gaps.values())

        rows = [
            {"image": row["image"], "garment": f"{grown.garments.truth[row['image']]['tone']}_top"}
            for row in grown.garments.rows
            if grown.garments.truth[row["image"]]["garment"] == "top"
        ]
        workspace.ingest(grown.labels(rows, "tops.csv"), images=grown.photos)
        report = workspace.sync()
        assert steps(report)[0][0] == "retrain"
        assert report.results[0].status == "promoted"
        assert workspace.sync().plan.actions == ()
        answers = {value for values, _, _ in said(workspace, "garment") for value in values}
        assert {"dark_top", "bright_top"} & answers
        assert all(len(values) == 1 for values, _, _ in said(workspace, "garment"))


def test_single_values_become_steps_while_the_live_branch_goes_on_until_the_new_one_is_there(grown: Project) -> None:
    with grown.open() as workspace:
        before = said(workspace, "garment")
    declare(grown, "garment", 'Attribute("garment", Ordinal(("top", "dress", "jeans")))')
    with grown.open() as workspace:
        report = workspace.sync(train=False)
        assert [reason for _, _, reason in steps(report)] == [
            "kind single -> ordinal",
            "the live branch was trained as single, the attribute is ordinal now",
        ]
        assert said(workspace, "garment") == before
        with pytest.raises(CatalogError, match="garment: its kind changed since its branch was trained"):
            finetune_catalog(workspace.catalog, workspace.settings, workspace.declared)
        assert workspace.sync().results[0].status == "promoted"
        assert workspace.registry.live().branches["garment"].kind == "ordinal"
        assert {values for values, _, _ in said(workspace, "garment")} <= {("jeans",), ("top",), ("dress",)}
        assert workspace.sync().plan.actions == ()
    declare(grown, "garment", 'Attribute("garment", MultiLabel(("jeans", "top", "dress")))')
    with grown.open() as workspace:
        (result,) = workspace.sync().results
        assert result.status == "blocked"
        assert "declare it under another name, such as garment_2" in result.reason
        assert workspace.labels.attributes()["garment"].kind == "ordinal"


def test_what_applies_to_fewer_article_types_is_shown_and_answered_no_more(grown: Project) -> None:
    declare(grown, "sleeves", 'Attribute("sleeves", SingleLabel(("bare", "covered")), applies_to=("top",))')
    grown.settings(article_types={"dress": []})  # no attribute names dresses any more; they are known all the same
    with grown.open() as workspace:
        list(workspace.live().predict_missing(["sleeves"]))
        before = {p.image_id for p in workspace.registry.predictions("sleeves") if p.decision != "not_applicable"}
        report = workspace.sync()
        assert steps(report) == [("evolve", "sleeves", "applies to top")]
        dresses = {image.id for image in workspace.labels.images() if image.article_type == "dress"}
        assert before & dresses
        left = {p.image_id for p in workspace.registry.predictions("sleeves") if p.decision in ("accept", "review")}
        assert left == before - dresses


def test_a_tree_version_is_a_manifest_of_all_it_was_made_of(grown: Project) -> None:
    declare(
        grown, "garment", 'Attribute("garment", SingleLabel(("top", "dress", Value("denim", formerly=("jeans",)))))'
    )
    with grown.open() as workspace:
        workspace.sync()
        runs = {run.attribute: run for run in workspace.registry.runs()}
    first, second = grown.run("versions", "--json").json["versions"]
    for version in (first, second):
        manifest = version["manifest"]
        assert manifest["trunk"]["digest"] == version["trunk"]
        assert manifest["trunk"]["spec"]["backbone"] == "test_resnet"
        assert manifest["made_with"]["attributree"] == __version__
        assert manifest["made_with"]["torch"] == metadata.version("torch")
        for name, branch in manifest["branches"].items():
            assert branch["id"] == version["branches"][name]
            assert branch["fingerprint"] == runs[name].fingerprint
            assert branch["schema_digest"] == runs[name].schema_digest
            assert branch["made_with"]["attributree"] == __version__
            assert branch["metrics"]["test"]["n"] > 0
    garment = second["manifest"]["branches"]["garment"]
    assert [v["key"] for v in garment["made_with"]["schema"]["labels"]["values"]] == ["top", "dress", "jeans"]

    table = grown.run("changes", "--attribute", "garment")
    assert "jeans is now denim" in table.out
    register, evolve = grown.run("changes", "--attribute", "garment", "--json").json["changes"]
    assert (register["change"], evolve["change"], evolve["detail"]) == ("register", "evolve", "jeans is now denim")
    assert evolve["schema"]["labels"]["values"][2]["key"] == "denim"
    assert len(grown.run("changes", "--json").json["changes"]) == 3
    unknown = grown.run("changes", "--attribute", "hem")
    assert (unknown.code, "'hem' is not in the catalogue" in unknown.err) == (1, True)
