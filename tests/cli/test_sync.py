"""sync-catalog, as it is typed."""

from collections.abc import Callable
from typing import Any

import pytest

from attributree.cli.sync import Told
from attributree.reports import Result
from support.projects import Project

ACTION = {"action", "attribute", "reason", "labelled"}
RESULT = {"attribute", "action", "status", "reason", "branch", "seconds", "metrics", "unchanged"}
SCORES = {"n", "accuracy", "macro_f1", "ece", "coverage", "accepted_accuracy", "per_value"}


def test_json_is_one_document_in_the_promised_shape(grown: Project) -> None:
    grown.plugin("tone")
    outcome = grown.run("sync-catalog", "--json")
    assert outcome.code == 0
    report = outcome.json
    assert report.keys() == {"plan", "results", "trunk", "version", "quarantined", "notes", "dry_run"}
    assert [(action["action"], action["attribute"]) for action in report["plan"]] == [
        ("register", "tone"),
        ("grow", "tone"),
    ]
    assert report["plan"][0].keys() == ACTION
    assert report["plan"][1].keys() == ACTION | {"forecast"}
    assert report["plan"][1]["forecast"].keys() == {"labels", "minutes", "megabytes"}
    assert report["plan"][1]["forecast"]["megabytes"] > 0  # known from the earlier runs
    (result,) = report["results"]
    assert result.keys() == RESULT
    assert (result["attribute"], result["action"], result["status"]) == ("tone", "grow", "promoted")
    assert isinstance(result["branch"], int)
    assert result["seconds"] > 0
    assert result["unchanged"] == {"attributes": ["garment", "sleeves"], "images": 16, "max_abs_diff": 0.0}
    for split in ("val", "test"):
        assert result["metrics"][split].keys() == SCORES
    assert result["metrics"]["depth"] == "head"
    assert result["metrics"]["donor"] in ("trunk", "garment", "sleeves")
    assert result["metrics"]["probe"] == {}  # both donors have the same units: there was nothing to choose
    assert report["trunk"].keys() == {"digest", "weights", "trained", "origin"}
    assert report["trunk"]["trained"] is None
    assert report["version"] == 3
    assert (report["quarantined"], report["dry_run"]) == ([], False)


def test_a_person_is_shown_plan_results_and_proof(grown: Project) -> None:
    grown.plugin("tone")
    outcome = grown.run("sync-catalog")
    assert outcome.code == 0
    for word in ("plan", "register", "grow", "held-out results", "promoted"):
        assert word in outcome.out
    assert "tone: promoted as branch 3" in outcome.err
    assert "tone: garment, sleeves unchanged, max_abs_diff 0.0 on 16 probe images" in outcome.err
    assert outcome.err.endswith("tree version 3 is live\n")
    again = grown.run("sync-catalog")
    assert (again.code, again.out) == (0, "")
    assert again.err == "nothing to do: every declared attribute is live and up to date\n"


def test_quiet_says_nothing(grown: Project) -> None:
    grown.plugin("tone")
    outcome = grown.run("-q", "sync-catalog")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")


def test_quiet_still_names_what_failed(grown: Project) -> None:
    grown.plugin("tone", more="@hookimpl\ndef attributree_branch_head(attribute, in_features):\n    return 3\n")
    outcome = grown.run("-q", "sync-catalog")
    assert (outcome.code, outcome.out) == (1, "")
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: tone: failed (")
    assert "attributree_branch_head returned int, not a torch.nn.Module" in line


def test_a_dry_run_prints_the_plan_and_changes_nothing(grown: Project) -> None:
    grown.plugin("tone")
    before = grown.run("status", "--json").json
    outcome = grown.run("sync-catalog", "--dry-run", "--json")
    assert outcome.code == 0
    assert [action["action"] for action in outcome.json["plan"]] == ["register", "grow"]
    assert (outcome.json["results"], outcome.json["dry_run"]) == ([], True)
    assert grown.run("status", "--json").json == before
    assert grown.run("sync-catalog", "--dry-run").err == "dry run: nothing was changed\n"


@pytest.mark.parametrize(
    ("trunk", "said"),
    [
        ({"branch_at": "layer9"}, "trunk -> branch_at: test_resnet has no stage 'layer9' above its first; it has "),
        ({"backbone": "hrnet_w18_small"}, "trunk -> backbone: hrnet_w18_small is not a plain sequence of stages: "),
        ({"weights": "efficientnet-lite9"}, "trunk -> weights: no installed plugin offers 'efficientnet-lite9'; "),
    ],
)
def test_a_trunk_that_cannot_be_had_is_one_line_once_and_not_once_an_attribute(
    project: Project, trunk: dict[str, Any], said: str
) -> None:
    project.settings(trunk={"weights": "random", **trunk})
    for command in (("sync-catalog", "--dry-run"), ("sync-catalog",), ("sync-catalog", "--json")):
        outcome = project.run(*command)
        assert outcome.code == 1
        assert (outcome.out + outcome.err).count(said) == 1
        assert f"\nerror: {said}" in f"\n{outcome.err}"
    (finding,) = (f for f in project.run("plugins", "doctor", "--json").json["findings"] if f["check"] == "head")
    assert said.partition(": ")[2].strip() in finding["what"]


def test_a_dry_run_on_the_live_trunk_builds_no_network(grown: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    grown.plugin("tone")
    monkeypatch.setattr("attributree.sync.new_trunk.build_backbone", None)
    assert grown.run("sync-catalog", "--dry-run").code == 0


def test_a_reason_that_several_results_have_is_said_with_the_first() -> None:
    told, why = Told(), "the new trunk has no good branch for tone"
    results = [Result(name, "retrain", "rejected", why) for name in ("garment", "sleeves")]
    results.append(Result("tone", "retrain", "rejected", "macro-F1 0.2"))
    assert [told.line(result) for result in results] == [
        f"garment: rejected ({why})",
        "sleeves: rejected (as for garment)",
        "tone: rejected (macro-F1 0.2)",
    ]


def test_only_and_retrain_and_no_train_are_passed_on(grown: Project) -> None:
    grown.plugin("tone")
    only = grown.run("sync-catalog", "--only", "garment", "--dry-run", "--json")
    assert only.json["plan"] == []
    retrain = grown.run("sync-catalog", "--retrain", "garment", "--dry-run", "--json")
    assert [a["action"] for a in retrain.json["plan"] if a["attribute"] == "garment"] == ["retrain"]
    untrained = grown.run("sync-catalog", "--no-train", "--json")
    assert [(r["attribute"], r["status"]) for r in untrained.json["results"]] == [("tone", "skipped")]


def test_an_unknown_attribute_is_one_line(grown: Project) -> None:
    outcome = grown.run("sync-catalog", "--only", "sleeve")
    assert outcome.code == 1
    assert outcome.err == (
        "error: no attribute 'sleeve'; there are: garment, sleeves. See `attributree plugins list`\n"
    )


def test_an_unknown_executor_is_wrong_usage(grown: Project) -> None:
    assert grown.run("sync-catalog", "--executor", "abacus").code == 2


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_blocked_is_exit_code_0_and_3_with_strict(new_project: Callable[..., Project], dry: tuple[str, ...]) -> None:
    project = new_project("garment")
    assert project.run("sync-catalog", "--no-train").code == 0
    assert project.run("sync-catalog", *dry).code == 0
    strict = project.run("--strict", "sync-catalog", *dry, "--json")
    assert strict.code == 3
    assert [(a["action"], a["reason"]) for a in strict.json["plan"]] == [
        ("blocked", "0 of 20 labels; 3 of 3 values have none")
    ]


def test_an_attribute_below_its_gate_is_exit_code_3_with_strict(grown: Project) -> None:
    grown.settings(training={"min_gain": 100})
    grown.plugin("tone")
    outcome = grown.run("--strict", "sync-catalog")
    assert outcome.code == 3
    assert "tone: rejected (macro-F1 " in outcome.err
