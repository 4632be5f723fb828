"""Branches that are whole networks: grown, served, rolled back, finetuned, compared, and never a donor."""

import importlib
from typing import Any

import pytest

from attributree.comparison import FINETUNED, PROGRESSIVE
from attributree.comparison.run import compare
from attributree.nn.trunk import OWN, PIXELS
from attributree.settings.models import NETWORK
from attributree.training.gate import Verdict
from attributree.training.progressive import grow_branch
from support.projects import Project

branch_module = importlib.import_module("attributree.sync.branch")
GATED = [importlib.import_module(f"attributree.training.{name}") for name in ("finetune", "progressive")]


@pytest.fixture
def grown_whole(grown: Project) -> Project:
    """A project whose third attribute, tone, is a network of its own."""
    grown.settings(attributes_tone={"depth": NETWORK, "epochs": 4})
    grown.plugin("tone")
    (result,) = grown.run("sync-catalog", "--json").json["results"]
    assert result["status"] == "promoted"
    assert result["metrics"]["depth"] == NETWORK
    assert result["unchanged"] == {"attributes": ["garment", "sleeves"], "images": 16, "max_abs_diff": 0.0}
    return grown


def branches(project: Project) -> Any:
    with project.open() as workspace:
        return workspace.registry.live().branches


def test_a_network_answers_files_and_gaps_alike_and_goes_back(grown_whole: Project) -> None:
    tone = branches(grown_whole)["tone"]
    assert (tone.depth, tone.head) == (NETWORK, "linear")
    assert grown_whole.run("evaluate", "--json").json["attributes"]["tone"]["macro_f1"] > 0.5
    assert "nothing to do" in grown_whole.run("sync-catalog").err
    with grown_whole.open() as workspace:
        live = workspace.live()
        branch = live.loaded.tree.branch("tone")
        assert branch.reads == PIXELS
        assert next(iter(branch.units)) == OWN
        gaps = [p for p in live.predict_missing(["tone"]) if p.image_id is not None]
        files = live.files(gaps)
        again = live.predict_files([files[p.image_id] for p in gaps if p.image_id is not None], ["tone"])
        assert gaps
        assert [p.values for p in again] == [p.values for p in gaps]
        assert [p.confidence for p in again] == pytest.approx([p.confidence for p in gaps], abs=1e-4)
    assert grown_whole.run("rollback").code == 0
    assert set(branches(grown_whole)) == {"garment", "sleeves"}


def test_a_network_is_no_donor(grown_whole: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def told(samples: Any, donors: Any, *args: Any, **options: Any) -> Any:
        seen.append([donor.name for donor in donors])
        return grow_branch(samples, donors, *args, **options)

    monkeypatch.setattr(branch_module, "grow_branch", told)
    (result,) = grown_whole.run("sync-catalog", "--retrain", "garment", "--json").json["results"]
    assert result["status"] == "promoted"
    assert seen == [["garment", "sleeves"]]


def test_a_network_is_finetuned_and_if_it_loses_trained_again_from_itself(
    grown_whole: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in GATED:
        monkeypatch.setattr(module, "gate_replaced", lambda *_: next(verdicts))
    verdicts = (Verdict(i % 2 == 1, "gated") for i in range(6))  # each loses, and passes when it was grown again
    report = grown_whole.run("finetune", "--json").json
    results = {r["attribute"]: r for r in report["results"]}
    assert all(r["status"] == "promoted" and r["metrics"]["regrown"] for r in results.values())
    assert list(results["tone"]["metrics"]["depths"]) == [NETWORK]
    assert NETWORK not in {*results["garment"]["metrics"]["depths"], *results["sleeves"]["metrics"]["depths"]}
    assert branches(grown_whole)["tone"].depth == NETWORK
    assert grown_whole.run("evaluate", "--json").json["version"] == report["version"]


def test_a_comparison_grows_and_finetunes_networks(grown_whole: Project) -> None:
    grown_whole.settings(attributes_tone={"depth": NETWORK, "epochs": 2}, training={"epochs": 2})
    with grown_whole.open() as workspace:
        arms = compare(
            workspace.catalog, workspace.settings, workspace.declared, arms=[PROGRESSIVE, FINETUNED]
        ).to_json()["arms"]
    assert arms[PROGRESSIVE]["attributes"]["tone"]["depth"] == NETWORK
    assert set(arms[FINETUNED]["attributes"]) == {"garment", "sleeves", "tone"}
    with grown_whole.open() as workspace:
        tree = workspace.live().loaded.tree
        own = sum(p.numel() for p in tree.branch("tone").parameters())
    assert arms[PROGRESSIVE]["parameters"] > own  # what it owns is counted
