"""compare, as it is typed."""

import json
import sys
from pathlib import Path

import pytest

from support.projects import Project

ARM = ("--arm", "multilabel")


@pytest.fixture
def quick(project: Project) -> Project:
    """A project whose attributes are registered and train for one epoch."""
    project.settings(training={"epochs": 1})
    assert project.run("-q", "sync-catalog", "--no-train").code == 0
    return project


def test_json_is_one_document_in_the_promised_shape(quick: Project) -> None:
    outcome = quick.run("compare", "--json", *ARM, "--arm", "progressive", "--attribute", "garment")
    assert outcome.code == 0
    arms = outcome.json["arms"]
    assert list(arms) == ["multilabel", "progressive"]
    for arm in arms.values():
        assert arm.keys() >= {"attributes", "mean_macro_f1", "train_seconds", "parameters", "predict_ms_per_image"}
        assert list(arm["attributes"]) == ["garment"]
    assert list(outcome.json["differences"]) == ["progressive - multilabel"]
    assert outcome.json["differences"]["progressive - multilabel"].keys() == {"mean", "low", "high"}


def test_a_person_sees_the_arms_side_by_side(quick: Project, tmp_path: Path) -> None:
    out = tmp_path / "comparison"
    outcome = quick.run("compare", *ARM, "--seed", "3", "--out", out)
    assert outcome.code == 0
    for word in ("comparison, seed 3", "multilabel", "sleeves", "mean macro-F1", "parameters", "training", "ms"):
        assert word in outcome.out
    assert "note: training seconds are wall clock" in outcome.err
    assert "backbone test_resnet" in outcome.err
    assert sorted(path.name for path in out.iterdir()) == ["compare.json", "compare.md", "compare.png"]
    assert json.loads((out / "compare.json").read_text(encoding="utf-8"))["parameters"]["seeds"] == [3]


def test_without_matplotlib_the_rest_is_written(
    quick: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = quick.run("compare", *ARM, "--out", tmp_path / "comparison", "--json")
    assert outcome.code == 0
    assert outcome.json["arms"]
    assert "matplotlib is not installed; run: pip install 'attributree[plot]'" in outcome.err
    assert sorted(path.name for path in (tmp_path / "comparison").iterdir()) == ["compare.json", "compare.md"]


def test_quiet_prints_the_table_and_nothing_else(quick: Project) -> None:
    outcome = quick.run("-q", "compare", *ARM)
    assert (outcome.code, outcome.err) == (0, "")
    assert "mean macro-F1" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--attribute", "sleves"), 1, "error: no attribute 'sleves'; there are: garment, sleeves"),
        (("--arm", "both"), 2, "'both' is not one of 'individual'"),
        (("--seed", "-1"), 2, "-1 is not in the range"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    project: Project, arguments: tuple[str, ...], code: int, says: str
) -> None:
    outcome = project.run("compare", *arguments)
    assert (outcome.code, outcome.out) == (code, "")
    assert says in outcome.err


def test_a_folder_that_cannot_be_made_fails_before_anything_is_trained(quick: Project) -> None:
    outcome = quick.run("compare", *ARM, "--out", quick.config / "comparison")
    assert outcome.code == 1
    assert outcome.err.startswith("error: --out: ")
    assert "cannot be created" in outcome.err


def test_strict_says_that_something_was_left_out(quick: Project) -> None:
    quick.plugin("tone")
    outcome = quick.run("--strict", "compare", *ARM, "--json")
    assert outcome.code == 3
    assert outcome.json["left_out"] == {"tone": "it is not registered yet; run: attributree sync-catalog --no-train"}
