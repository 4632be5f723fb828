"""finetune: trunk and branches together, promoted only if no attribute lost."""

import importlib
from typing import Any

import pytest

from attributree.errors import CatalogError
from attributree.reports import REJECTED
from attributree.settings.models import NETWORK
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


def lose(monkeypatch: pytest.MonkeyPatch, *sizes: int) -> None:
    """Let attributes of so many values lose in every gate: garment has three, sleeves two."""
    for module in GATED:
        monkeypatch.setattr(
            module, "gate_replaced", lambda labels, *_: Verdict(len(labels.values) not in sizes, "it lost 3 points")
        )


def answers(project: Project, name: str) -> list[Any]:
    """What the live tree says of every photo, but for the version."""
    files = [str(project.photos / row["image"]) for row in project.garments.rows]
    lines = project.run("predict", "--attribute", name, "--", *files).lines
    return [{key: value for key, value in line.items() if key in ("image", "value", "confidence")} for line in lines]


@pytest.mark.parametrize("depth", ["head", "exit", NETWORK])
def test_an_attribute_that_lost_keeps_its_former_path_bit_by_bit_and_goes_on_living(
    depth: str, grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    if depth != "head":
        grown.settings(attributes_sleeves={"depth": depth, "epochs": 2}, training={"max_loss": 100})
        (result,) = grown.run("sync-catalog", "--retrain", "sleeves", "--json").json["results"]
        assert (result["status"], result["metrics"]["depth"]) == ("promoted", depth)
    before, others = answers(grown, "sleeves"), answers(grown, "garment")
    with monkeypatch.context() as patch:
        lose(patch, 2)
        report = grown.run("finetune", "--json").json
    results = {result["attribute"]: result for result in report["results"]}
    assert {name: result["status"] for name, result in results.items()} == {"garment": "promoted", "sleeves": REJECTED}
    assert results["sleeves"]["reason"] == "it lost 3 points; it answers as it did, on a copy of the former trunk"
    assert results["garment"]["unchanged"] == {"attributes": ["sleeves"], "images": 16, "max_abs_diff": 0.0}
    assert answers(grown, "sleeves") == before
    assert answers(grown, "garment") != others
    with grown.open() as workspace:
        version = workspace.registry.live()
        assert version is not None
        assert version.id == report["version"]
        assert version.branches["sleeves"].owns_trunk
        assert "as it was: sleeves" in version.reason
        assert grown.run("gc").code == 0
    # It can be finetuned again, and grown again on the new trunk, which then stands alone.
    assert {r["status"] for r in grown.run("finetune", "--json").json["results"]} <= {"promoted", REJECTED}
    assert answers(grown, "sleeves")
    grown.settings(attributes_sleeves={"depth": "head"}, training={"max_loss": 100})
    (result,) = grown.run("sync-catalog", "--retrain", "sleeves", "--json").json["results"]
    assert result["status"] == "promoted"
    with grown.open() as workspace:
        assert not workspace.live().version.branches["sleeves"].owns_trunk


def test_what_is_gated_out_is_stored_said_and_can_be_promoted_by_hand(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose(monkeypatch, 2, 3)
    live = grown.run("evaluate", "--json").json
    outcome = grown.run("--strict", "finetune", "--json")
    assert outcome.code == 3
    report = outcome.json
    assert {r["status"] for r in report["results"]} == {REJECTED}
    why = "stored as tree version 3, not live: garment has it lost 3 points; sleeves has it lost 3 points"
    assert report["results"][0]["reason"] == why
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
