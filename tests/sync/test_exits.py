"""Branches without units: grown, served, rolled back, finetuned, compared, and never a donor."""

import importlib
from typing import Any

import pytest
from torch import nn

from attributree.comparison import FINETUNED, PROGRESSIVE
from attributree.comparison.run import compare
from attributree.nn.trunk import MAPS
from attributree.settings.models import EXIT
from attributree.training.gate import Verdict
from attributree.training.progressive import grow_branch
from support.projects import Project

branch_module = importlib.import_module("attributree.sync.branch")
GATED = [importlib.import_module(f"attributree.training.{name}") for name in ("finetune", "progressive")]

HEAD = """
import torch

@hookimpl
def attributree_branch_head(attribute, in_features):
    return torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(in_features, attribute.labels.outputs)
    )
"""


@pytest.fixture
def exited(grown: Project) -> Project:
    """A project whose third attribute, tone, is an exit."""
    grown.settings(attributes_tone={"depth": EXIT})
    grown.plugin("tone")
    (result,) = grown.run("sync-catalog", "--json").json["results"]
    assert result["status"] == "promoted"
    assert result["metrics"]["depth"] == EXIT
    assert result["metrics"]["donor"] is None
    assert result["unchanged"] == {"attributes": ["garment", "sleeves"], "images": 16, "max_abs_diff": 0.0}
    return grown


def branches(project: Project) -> Any:
    with project.open() as workspace:
        return workspace.registry.live().branches


def test_an_exit_is_a_head_alone_it_answers_and_goes_back(exited: Project) -> None:
    tone = branches(exited)["tone"]
    assert len(tone.parts) == 1
    assert (tone.depth, tone.head, tone.donor) == (EXIT, "pyramid", None)
    assert dict(tone.head_options) == {"dropout": 0.5}
    assert exited.run("evaluate", "--json").json["attributes"]["tone"]["macro_f1"] > 0.5
    assert "nothing to do" in exited.run("sync-catalog").err
    assert exited.run("rollback").code == 0
    assert set(branches(exited)) == {"garment", "sleeves"}


def test_an_exit_is_no_donor(exited: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def told(samples: Any, donors: Any, *args: Any, **options: Any) -> Any:
        seen.append([donor.name for donor in donors])
        return grow_branch(samples, donors, *args, **options)

    monkeypatch.setattr(branch_module, "grow_branch", told)
    (result,) = exited.run("sync-catalog", "--retrain", "garment", "--json").json["results"]
    assert result["status"] == "promoted"
    assert seen == [["garment", "sleeves"]]


def test_the_last_branch_with_units_keeps_them_unless_it_is_told_not_to(exited: Project) -> None:
    exited.remove_plugin("sleeves")
    exited.settings(attributes_garment={"depth": "auto"}, attributes_sleeves={"depth": EXIT})
    exited.plugin("sleeves")
    (result,) = exited.run("sync-catalog", "--retrain", "sleeves", "--json").json["results"]
    assert result["metrics"]["depth"] == EXIT
    (result,) = exited.run("sync-catalog", "--retrain", "garment", "--json").json["results"]
    assert EXIT not in result["metrics"]["depths"]
    assert len(branches(exited)["garment"].parts) > 1


def test_a_plugin_s_head_sees_the_trunk_s_features(grown: Project) -> None:
    grown.settings(attributes_tone={"depth": EXIT})
    grown.plugin("tone", more=HEAD)
    (result,) = grown.run("sync-catalog", "--json").json["results"]
    assert result["status"] == "promoted"
    with grown.open() as workspace:
        live = workspace.live()
        head = live.loaded.tree.branches["tone"].head
        linear = [module for module in head.modules() if isinstance(module, nn.Linear)]
        assert linear[0].in_features == live.loaded.backbone.shapes[MAPS][0]
    assert branches(grown)["tone"].head.endswith("tone.py")


def test_an_exit_is_finetuned_with_its_head(exited: Project) -> None:
    report = exited.run("finetune", "--json").json
    assert {r["status"] for r in report["results"]} == {"promoted"}
    tone = branches(exited)["tone"]
    assert (tone.depth, tone.head, len(tone.parts)) == (EXIT, "pyramid", 1)
    assert exited.run("evaluate", "--json").json["version"] == report["version"]


def test_an_exit_that_lost_in_a_finetune_is_grown_again_as_an_exit(
    exited: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in GATED:
        monkeypatch.setattr(module, "gate_replaced", lambda *_: next(verdicts))
    verdicts = (Verdict(i % 2 == 1, "gated") for i in range(6))  # each loses, and passes when it was grown again
    results = {r["attribute"]: r for r in exited.run("finetune", "--json").json["results"]}
    assert all(r["status"] == "promoted" and r["metrics"]["regrown"] for r in results.values())
    assert list(results["tone"]["metrics"]["depths"]) == [EXIT]
    assert EXIT not in {*results["garment"]["metrics"]["depths"], *results["sleeves"]["metrics"]["depths"]}
    assert exited.run("evaluate", "--json").json["attributes"]["tone"]["macro_f1"] > 0.5


def test_a_comparison_grows_and_finetunes_exits(exited: Project) -> None:
    exited.settings(attributes_tone={"depth": EXIT}, training={"epochs": 2})
    with exited.open() as workspace:
        arms = compare(
            workspace.catalog, workspace.settings, workspace.declared, arms=[PROGRESSIVE, FINETUNED]
        ).to_json()["arms"]
    assert arms[PROGRESSIVE]["attributes"]["tone"]["depth"] == EXIT
    assert set(arms[FINETUNED]["attributes"]) == {"garment", "sleeves", "tone"}
