"""The comparison on a catalogue of drawn garments: all arms, small and quick."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
import timm
from filelock import FileLock
from safetensors.torch import save_file
from sqlalchemy import create_engine, inspect, text

from attributree import Workspace
from attributree.comparison import ARMS, FINETUNED, INDIVIDUAL, MULTILABEL, PROGRESSIVE, run
from attributree.comparison.arms import Arm, Trial
from attributree.errors import CatalogError, TrainingError, UnknownNameError
from attributree.nn.tree import digest_of, weights_of
from attributree.training.gate import Verdict
from support.projects import Project

SCORES = {"n", "accuracy", "macro_f1", "ece", "coverage", "accepted_accuracy", "per_value", "article_types"}
ARM = {"attributes", "mean_macro_f1", "train_seconds", "parts", "parameters", "predict_ms_per_image"}


@pytest.fixture(scope="module")
def registered_once(new_project: Callable[..., Project]) -> Project:
    project = new_project("garment", "sleeves")
    project.settings(training={"epochs": 2, "checkpoint_seconds": 0})
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        workspace.sync(train=False)
    return project


@pytest.fixture
def registered(registered_once: Project, copy_project: Callable[[Project], Project]) -> Project:
    """Garment and sleeves are registered, nothing is trained; tone has labels and no plugin."""
    return copy_project(registered_once)


def compare(project: Project, **options: Any) -> dict[str, Any]:
    with project.open() as workspace:
        document: dict[str, Any] = run.compare(
            workspace.catalog, workspace.settings, workspace.declared, **options
        ).to_json()
    return document


@pytest.fixture(scope="module")
def compared(registered_once: Project) -> dict[str, Any]:
    return compare(registered_once)


def f1(document: dict[str, Any], arm: str) -> dict[str, float]:
    return {name: scores["macro_f1"] for name, scores in document["arms"][arm]["attributes"].items()}


def test_every_arm_answers_every_attribute_on_test(compared: dict[str, Any]) -> None:
    assert tuple(compared["arms"]) == ARMS
    for arm in compared["arms"].values():
        assert arm.keys() >= ARM
        assert list(arm["attributes"]) == ["garment", "sleeves"]
        for scores in arm["attributes"].values():
            assert scores.keys() >= SCORES
            assert 0 <= scores["macro_f1"] <= 1
            assert sum(kind["n"] for kind in scores["article_types"].values()) == scores["n"] > 0
        assert arm["train_seconds"] == pytest.approx(sum(arm["parts"].values()), abs=0.01)
        assert arm["predict_ms_per_image"] > 0
        assert "resumed" not in arm
    assert compared["arms"][PROGRESSIVE]["attributes"]["sleeves"]["depth"] == "head"
    assert compared["arms"][PROGRESSIVE]["attributes"]["sleeves"]["donor"] in ("trunk", "garment")


def test_the_report_says_what_its_figures_depend_on(compared: dict[str, Any]) -> None:
    parameters = compared["parameters"]
    shown = {key: parameters[key] for key in ("seeds", "epochs", "image_size", "backbone", "weights", "device")}
    assert shown == {
        "seeds": [0],
        "epochs": 2,
        "image_size": 32,
        "backbone": "test_resnet",
        "weights": "random",
        "device": "cpu",
    }
    assert parameters["cores"] >= parameters["threads"] == 1
    assert parameters["labels"]["garment"] == {"train": 120, "val": 40, "test": 40, "ambiguous": 0}
    assert compared["left_out"] == {}


def test_each_network_is_counted_whole_and_each_shared_unit_once(compared: dict[str, Any]) -> None:
    parameters = {arm: found["parameters"] for arm, found in compared["arms"].items()}
    assert 1.9 * parameters[MULTILABEL] < parameters[INDIVIDUAL] < 2 * parameters[MULTILABEL]
    assert parameters[PROGRESSIVE] == parameters[MULTILABEL]  # branches of depth head share every unit


def test_a_random_trunk_is_learnt_once_and_counted_in_each_arm(compared: dict[str, Any]) -> None:
    arms = compared["arms"]
    learnt = arms[MULTILABEL]["parts"]["network"]
    assert arms[MULTILABEL]["train_seconds"] == learnt > 0
    assert arms[PROGRESSIVE]["parts"].keys() == {"trunk", "features", "branches"}
    assert arms[PROGRESSIVE]["parts"]["trunk"] == arms[FINETUNED]["parts"]["trunk"] == learnt
    assert arms[FINETUNED]["parts"].keys() == {"trunk", "features", "branches", "finetune"}
    assert any("trained once and counted in each" in note for note in compared["notes"])


def test_learnt_weights_are_where_every_arm_begins(registered: Project) -> None:
    model = timm.create_model("test_resnet")
    save_file(model.state_dict(), registered.folder / "learnt.safetensors")
    registered.settings(trunk={"weights": "learnt.safetensors"}, training={"epochs": 1})
    document = compare(registered, arms=[INDIVIDUAL, PROGRESSIVE])
    tree = document["arms"][PROGRESSIVE]
    assert tree["parts"].keys() == {"features", "branches"}
    assert tree["attributes"]["garment"]["donor"] == "backbone"
    assert document["parameters"]["weights"] == "learnt.safetensors"
    assert not any("random" in note for note in document["notes"])


def test_arms_are_subtracted_with_an_interval(compared: dict[str, Any]) -> None:
    found = compared["differences"]
    assert list(found) == [
        *("multilabel - individual", "progressive - individual", "progressive - multilabel"),
        *(f"progressive_finetuned - {arm}" for arm in ARMS[:3]),
    ]
    means = {arm: compared["arms"][arm]["mean_macro_f1"] for arm in ARMS}
    assert found["progressive - multilabel"]["mean"] == pytest.approx(means[PROGRESSIVE] - means[MULTILABEL], abs=2e-4)
    for difference in found.values():
        assert difference["low"] <= difference["high"]


def test_progressive_is_what_sync_catalog_grows(registered: Project, compared: dict[str, Any]) -> None:
    with registered.open() as workspace:
        report = workspace.sync().to_json()
    arms = compared["arms"]
    network = {name: scores["val_macro_f1"] for name, scores in arms[MULTILABEL]["attributes"].items()}
    assert report["trunk"]["trained"]["macro_f1"] == pytest.approx(network, abs=1e-4)
    for result in report["results"]:
        grown, mine = result["metrics"], arms[PROGRESSIVE]["attributes"][result["attribute"]]
        assert (mine["depth"], mine["donor"]) == (grown["depth"], grown["donor"])
        assert mine["macro_f1"] == pytest.approx(grown["test"]["macro_f1"], abs=1e-4)


@pytest.mark.parametrize("weights", ["random", "learnt.safetensors"])
def test_the_progressive_arm_and_sync_catalog_grow_the_same_weights_bit_for_bit(
    registered: Project, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    save_file(timm.create_model("test_resnet").state_dict(), registered.folder / "learnt.safetensors")
    depths = {f"attributes_{name}": {"depth": "auto"} for name in ("garment", "sleeves")}
    registered.settings(trunk={"weights": weights}, training={"epochs": 4, "learning_rate": 0.01}, **depths)
    arms, train = list[Arm](), Trial.train

    def told(trial: Trial, arm: str) -> Arm:
        arms.append(train(trial, arm))
        return arms[-1]

    monkeypatch.setattr(Trial, "train", told)
    with registered.open() as workspace:
        run.compare(workspace.catalog, workspace.settings, workspace.declared, arms=[PROGRESSIVE])
        workspace.sync()
        live = workspace.registry.live()
    ((tree,),) = (arm.trees for arm in arms)
    heads = {name: digest_of(weights_of(tree.branch(name).head)) for name in tree.branches}
    assert live is not None
    assert digest_of(weights_of(tree.trunk)) == live.trunk.digest
    assert set(heads) == {"garment", "sleeves"}
    assert {name: (*tree.keys[name], head) for name, head in heads.items()} == {
        name: branch.parts for name, branch in live.branches.items()
    }


def test_catalogue_registry_and_cache_stay_as_they_are(registered: Project) -> None:
    before = rows(registered)
    document = compare(registered, arms=[MULTILABEL, PROGRESSIVE])
    assert tuple(document["arms"]) == (MULTILABEL, PROGRESSIVE)
    assert rows(registered) == before
    assert not (registered.folder / "artifacts").exists()
    cache = registered.folder / "cache"
    assert sorted(path.name for path in cache.iterdir()) == ["compare.lock", "pixels", "runs"]
    assert list((cache / "runs").iterdir()) == []


def rows(project: Project) -> dict[str, list[Any]]:
    """Return everything the catalogue holds but what is known of image files, and counts, which each reader stores."""
    engine = create_engine(project.url)
    with engine.connect() as connection:
        tables = set(inspect(connection).get_table_names()) - {"image", "coverage"}
        found = {name: sorted(connection.execute(text(f"SELECT * FROM {name}")), key=repr) for name in tables}
    engine.dispose()
    assert found["annotation"]
    return found


def test_a_comparison_that_was_broken_off_goes_on_to_the_same_end(
    registered: Project, compared: dict[str, Any]
) -> None:
    def pull_the_plug(what: str, done: int, of: int) -> None:
        if what == "sleeves: head" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(registered, progress=pull_the_plug)
    again = compare(registered)
    for arm in ARMS:
        assert f1(again, arm) == f1(compared, arm)
        assert again["arms"][arm]["resumed"]
    assert "seed 0: taken up after a break; training seconds are those since then" in again["notes"]
    assert not list((registered.folder / "cache" / "runs").iterdir())


def test_several_seeds_are_averaged_and_kept(registered: Project, compared: dict[str, Any]) -> None:
    found = compare(registered, arms=[MULTILABEL], seeds=[0, 1, 0])
    first, second = found["seeds"]
    assert (first["seed"], second["seed"]) == (0, 1)
    assert f1(first, MULTILABEL) == f1(compared, MULTILABEL)
    assert f1(second, MULTILABEL) != f1(first, MULTILABEL)
    means = [seed["arms"][MULTILABEL]["mean_macro_f1"] for seed in found["seeds"]]
    assert found["arms"][MULTILABEL]["mean_macro_f1"] == pytest.approx(sum(means) / 2, abs=1e-4)
    assert found["parameters"]["seeds"] == [0, 1]
    assert found["differences"] == {}


@pytest.mark.parametrize(
    ("gate", "taken", "kept"),
    [
        ([False, True, True], True, []),  # garment is grown once more on the finetuned trunk
        ([True, False, False], True, ["sleeves"]),
        ([False, False, False, False], False, []),
    ],
)
def test_a_finetuned_tree_is_taken_if_half_of_the_attributes_pass_and_the_others_answer_as_before(
    registered: Project, monkeypatch: pytest.MonkeyPatch, gate: list[bool], taken: bool, kept: list[str]
) -> None:
    verdicts = iter(gate)
    for name in ("finetune", "progressive"):
        module = import_module(f"attributree.training.{name}")
        monkeypatch.setattr(module, "gate_replaced", lambda *_: Verdict(next(verdicts), "as it is"))
    registered.settings(training={"epochs": 3, "learning_rate": 0.001})
    document = compare(registered, arms=[PROGRESSIVE, FINETUNED])
    assert next(verdicts, None) is None
    tuned = document["arms"][FINETUNED]
    assert tuned["epochs"] > 0  # else it would be the start that was kept, not what the gate let pass
    assert tuned["promoted"] is taken
    assert tuned["kept"] == kept
    assert (f1(document, FINETUNED) == f1(document, PROGRESSIVE)) is not taken
    passed = {name: attribute["gate"]["promoted"] for name, attribute in tuned["attributes"].items()}
    assert passed == {"garment": taken, "sleeves": taken and not kept}
    if kept:
        tree = document["arms"][PROGRESSIVE]
        assert tuned["attributes"]["sleeves"]["macro_f1"] == tree["attributes"]["sleeves"]["macro_f1"]
        assert tuned["parameters"] > tree["parameters"]  # the former trunk is there beside the new one
        assert any("sleeves did not pass the gate: answers as in" in note for note in document["notes"])
    regrown = tuned["attributes"]["garment"]["regrown"]
    assert (regrown and regrown["depth"]) == ("head" if gate[:2] == [False, True] else None)
    if not taken:
        assert tuned["ungated"] != f1(document, PROGRESSIVE)
        assert any("garment, sleeves did not pass the gate" in note for note in document["notes"])


def test_an_attribute_without_test_labels_has_no_scores(new_project: Callable[..., Project]) -> None:
    project = new_project("garment", "tone")
    project.settings(training={"epochs": 1})
    blank = [row | ({"tone": ""} if row["split"] == "test" else {}) for row in project.garments.rows]
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(blank), images=project.photos)
        workspace.sync(train=False)
    document = compare(project)
    for arm in document["arms"].values():
        tone = arm["attributes"]["tone"]
        assert (tone["n"], tone["macro_f1"], tone["article_types"]) == (0, None, {})
        assert arm["mean_macro_f1"] == arm["attributes"]["garment"]["macro_f1"] > 0
    assert "no label in the test split: tone" in document["notes"]


def test_what_cannot_be_trained_is_left_out_unless_it_was_named(registered: Project) -> None:
    registered.plugin("tone")
    registered.settings(attributes_sleeves={"min_labels": 1000})
    with registered.open() as workspace:
        document = run.compare(workspace.catalog, workspace.settings, workspace.declared, arms=[MULTILABEL]).to_json()
        assert list(document["arms"][MULTILABEL]["attributes"]) == ["garment"]
        assert document["left_out"] == {
            "sleeves": document["left_out"]["sleeves"],
            "tone": "it is not registered yet; run: attributree sync-catalog --no-train",
        }
        assert "of 1000 labels" in document["left_out"]["sleeves"]
        with pytest.raises(TrainingError, match=r"sleeves cannot be compared: .* of 1000 labels"):
            run.compare(workspace.catalog, workspace.settings, workspace.declared, attributes=["sleeves"])


def test_names_that_do_not_exist_are_errors(registered: Project) -> None:
    with registered.open() as workspace:
        with pytest.raises(UnknownNameError, match="no attribute 'necklin'; there are: garment, sleeves"):
            run.compare(workspace.catalog, workspace.settings, workspace.declared, attributes=["necklin"])
        with pytest.raises(UnknownNameError, match="no arm 'both'; there are: individual, multilabel, progressive"):
            run.compare(workspace.catalog, workspace.settings, workspace.declared, arms=["both"])


def test_a_second_comparison_is_refused_while_one_runs(registered: Project) -> None:
    cache = registered.folder / "cache"
    cache.mkdir(exist_ok=True)
    with FileLock(cache / "compare.lock"), pytest.raises(CatalogError, match="another comparison is running"):
        compare(registered)


def test_a_head_that_fails_is_named(registered: Project) -> None:
    head = """\
@hookimpl
def attributree_branch_head(attribute, in_features):
    from torch import nn
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(in_features, 2)
        def forward(self, features):
            if len(features) > 2:
                raise ValueError("too many")
            return self.linear(features.mean(dim=(2, 3)))
    return Head()
"""
    registered.plugin("sleeves", more=head)
    with pytest.raises(TrainingError, match=r"sleeves: what its plugin brings failed \(ValueError: too many\); mend"):
        compare(registered, arms=[MULTILABEL])
