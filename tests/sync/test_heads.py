"""Heads picked in the settings, from the first sync to a finetune and a comparison."""

from collections.abc import Callable
from typing import Any

import pytest

from attributree import Workspace
from attributree.comparison import MULTILABEL, PROGRESSIVE
from attributree.comparison.run import compare
from support.projects import Project

BROKEN_HEAD = """\
@hookimpl
def attributree_branch_head(attribute, in_features):
    raise RuntimeError("no head for you")
"""


@pytest.fixture(scope="module")
def headed_once(new_project: Callable[..., Project]) -> Project:
    """A project whose sleeves have an attention head, in place of the one that their plugin fails to bring."""
    project = new_project("garment")
    project.plugin("sleeves", more=BROKEN_HEAD)
    heads = {"attributes_garment": {"head": "multiscale"}, "attributes_sleeves": {"head": "attention"}}
    project.settings(training={"epochs": 20}, **heads)
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        statuses = {result.attribute: result.status for result in workspace.sync().results}
    assert statuses == {"garment": "promoted", "sleeves": "promoted"}
    return project


@pytest.fixture
def headed(headed_once: Project, copy_project: Callable[[Project], Project]) -> Project:
    return copy_project(headed_once)


def heads(project: Project) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return name and options of each live branch's head."""
    with project.open() as workspace:
        live = workspace.registry.live()
    assert live is not None
    return {name: (branch.head, dict(branch.head_options)) for name, branch in live.branches.items()}


PICKED = {
    "garment": ("multiscale", {"grids": [1, 2], "dropout": 0.2}),
    "sleeves": ("attention", {"queries": 1, "dropout": 0.2}),
}


def test_a_head_that_is_set_is_trained_whatever_the_plugin_brings_and_recorded(headed: Project) -> None:
    assert heads(headed) == PICKED
    scores = headed.run("evaluate", "--json").json["attributes"]
    assert min(found["macro_f1"] for found in scores.values()) > 0.5


def test_a_branch_answers_with_the_head_it_was_trained_with_until_it_is_retrained(headed: Project) -> None:
    before = headed.run("evaluate", "--json").json
    headed.plugin("sleeves")
    headed.settings(training={"epochs": 20})  # no heads are set any more
    assert headed.run("evaluate", "--json").json == before
    status = headed.run("sync-catalog", "--dry-run")
    assert "sleeves was trained with other settings (head attention -> None)" in status.err
    (result,) = headed.run("sync-catalog", "--retrain", "sleeves", "--json").json["results"]
    assert result["status"] == "promoted"
    assert result["unchanged"]["max_abs_diff"] == 0.0
    assert heads(headed) == {**PICKED, "sleeves": ("linear", {"dropout": 0.2})}


def test_a_finetuned_tree_keeps_the_heads_of_its_branches(headed: Project) -> None:
    headed.settings()
    headed.plugin("sleeves")
    report = headed.run("finetune", "--json").json
    assert {r["status"] for r in report["results"]} == {"promoted"}
    assert heads(headed) == PICKED
    assert headed.run("evaluate", "--json").json["version"] == report["version"]


def test_a_comparison_trains_the_heads_that_are_set(headed: Project) -> None:
    headed.settings(
        attributes_garment={"head": "multiscale"}, attributes_sleeves={"head": "attention"}, training={"epochs": 2}
    )
    with headed.open() as workspace:
        picked = compare(
            workspace.catalog, workspace.settings, workspace.declared, arms=[MULTILABEL, PROGRESSIVE]
        ).to_json()["arms"]
    headed.settings(training={"epochs": 2})
    headed.plugin("sleeves")
    with headed.open() as workspace:
        found = compare(workspace.catalog, workspace.settings, workspace.declared, arms=[MULTILABEL])
        linear = found.to_json()["arms"]
    # The multiscale head of three values has nine more weights for each of them and feature, attention one a feature.
    more = picked[MULTILABEL]["parameters"] - linear[MULTILABEL]["parameters"]
    width = more / (9 * 3 + 1)
    assert width == int(width) > 0
    assert set(picked[PROGRESSIVE]["attributes"]) == {"garment", "sleeves"}


def test_a_head_that_does_not_fit_is_blocked_and_the_others_train(project: Project) -> None:
    project.settings(attributes_garment={"head": "ordinal"})
    outcome = project.run("--strict", "sync-catalog", "--json")
    assert outcome.code == 3
    results = {result["attribute"]: result for result in outcome.json["results"]}
    assert results["garment"]["status"] == "blocked"
    assert "the ordinal head answers ordinal attributes, garment is single" in results["garment"]["reason"]
    assert results["sleeves"]["status"] == "promoted"
