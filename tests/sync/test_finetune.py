"""finetune: trunk and branches together, promoted only if no attribute lost."""

import importlib

import pytest

from attributree.errors import CatalogError
from attributree.reports import REJECTED
from attributree.sync.finetune import finetune_catalog
from attributree.training.gate import Verdict
from support.projects import Project

GATED = [importlib.import_module(f"attributree.training.{name}") for name in ("finetune", "progressive")]


def test_a_finetuned_tree_goes_live_on_a_trunk_of_its_own(grown: Project) -> None:
    before = grown.run("evaluate", "--json").json
    outcome = grown.run("finetune", "--json")
    assert outcome.code == 0
    report = outcome.json
    assert {r["attribute"]: r["status"] for r in report["results"]} == {"garment": "promoted", "sleeves": "promoted"}
    assert all(r["action"] == "finetune" and r["branch"] for r in report["results"])
    assert report["version"] == before["version"] + 1
    after = grown.run("evaluate", "--json").json
    assert after["version"] == report["version"]
    assert min(scores["macro_f1"] for scores in after["attributes"].values()) > 0.5
    versions = grown.run("versions", "--json").json["versions"]
    assert versions[-1]["live"]
    assert versions[-1]["trunk"] != versions[-2]["trunk"]
    again = grown.run("sync-catalog")
    assert "nothing to do" in again.err
    assert grown.run("promote", str(before["version"])).code == 0
    assert grown.run("evaluate", "--json").json["attributes"] == before["attributes"]


def test_a_new_attribute_grows_on_the_finetuned_trunk(grown: Project) -> None:
    grown.run("finetune")
    grown.plugin("tone")
    (result,) = grown.run("sync-catalog", "--json").json["results"]
    assert result["status"] == "promoted"
    assert result["unchanged"] == {"attributes": ["garment", "sleeves"], "images": 16, "max_abs_diff": 0.0}


def test_what_is_gated_out_is_stored_said_and_can_be_promoted_by_hand(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in GATED:
        monkeypatch.setattr(
            module, "gate_replaced", lambda labels, *_: Verdict(len(labels.values) == 3, "it lost 3 points")
        )
    live = grown.run("evaluate", "--json").json
    outcome = grown.run("--strict", "finetune", "--json")
    assert outcome.code == 3
    report = outcome.json
    assert {r["status"] for r in report["results"]} == {REJECTED}
    assert report["results"][0]["reason"] == "stored as tree version 3, not live: sleeves has it lost 3 points"
    assert report["version"] == live["version"] == 2
    assert grown.run("evaluate", "--json").json == live
    assert "stored as tree version 3" in grown.run("finetune").err.replace("version 4", "version 3")
    assert grown.run("promote", "3").code == 0
    assert grown.run("evaluate", "--json").json["version"] == 3


def test_finetuning_again_after_a_gate_that_failed_does_not_block_growing(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        for module in GATED:
            patch.setattr(module, "gate_replaced", lambda *_: Verdict(False, "lost"))
        grown.run("finetune")
    outcome = grown.run("sync-catalog", "--retrain", "garment", "--json")
    assert [r["status"] for r in outcome.json["results"]] == ["promoted"]


def test_without_a_live_tree_there_is_nothing_to_finetune(project: Project) -> None:
    with project.open() as workspace, pytest.raises(CatalogError, match="no tree is live yet; run: attributree sync"):
        finetune_catalog(workspace.catalog, workspace.settings, workspace.declared)


def test_values_that_changed_are_to_be_trained_first(grown: Project) -> None:
    grown.plugin("garment", values=("top", "dress", "jeans", "skirt"))
    grown.run("sync-catalog", "--no-train")
    outcome = grown.run("finetune")
    assert outcome.code == 1
    assert "garment: its values changed" in outcome.err
    assert "sync-catalog --retrain garment" in outcome.err
