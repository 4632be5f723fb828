"""A sync does what its plan says: branches grow, nothing else moves, and what fails fails alone."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from attributree import Workspace
from attributree.errors import CatalogError
from attributree.images.cache import Bound
from attributree.images.remote import RemoteFiles
from attributree.inference.features import CatalogImages
from attributree.labels.store import LabelStore
from attributree.nn.transform import Transform
from attributree.registry.records import NewVersion, TreeVersion
from attributree.registry.store import RegistryStore
from attributree.reports import REJECTED, SyncReport
from attributree.sync.lease import Leases
from support.databases import end_leases
from support.projects import Project

HEAD = """
import torch

class Head(torch.nn.Module):
    def __init__(self, in_features, outputs):
        super().__init__()
        self.linear = torch.nn.Linear(in_features, outputs)

    def forward(self, features):
        {forward}
        return self.linear(features.mean(dim=(2, 3)))

@hookimpl
def attributree_branch_head(attribute, in_features):
    return Head(in_features, attribute.labels.outputs)
"""


def head(forward: str = "") -> str:
    """Return the source of a head of one's own that runs `forward` first."""
    return HEAD.format(forward=forward or "pass")


def declaration_of(name: str, labels: str) -> str:
    """Return the source of a plugin that declares one attribute with `labels`."""
    return f"""\
from attributree import Attribute, SingleLabel, Value, hookimpl

@hookimpl
def attributree_attributes():
    return [Attribute({name!r}, {labels})]
"""


def statuses(report: SyncReport) -> dict[str, str]:
    return {result.attribute: result.status for result in report.results}


def steps(report: SyncReport) -> list[tuple[str, str | None]]:
    return [(action.action, action.attribute) for action in report.plan.actions]


def answers(workspace: Workspace, *names: str) -> list[str]:
    """Return what the live tree says of ten photos, as its JSON lines, without the version that says it."""
    project_photos = sorted(image.file for image in workspace.labels.images())[:10]
    lines = []
    for prediction in workspace.predict(project_photos, attributes=names):
        line = prediction.to_json()
        del line["version"]
        lines.append(json.dumps(line))
    return lines


# -- growing ---------------------------------------------------------------------------------------


@pytest.mark.both_databases("the whole way once in each")
def test_the_first_sync_grows_every_attribute_and_the_second_finds_nothing_to_do(project: Project) -> None:
    with project.open() as workspace:
        told: list[Any] = []
        report = workspace.sync(announce=told.append, done=told.append)
        assert steps(report) == [
            ("register", "garment"),
            ("register", "sleeves"),
            ("train_trunk", None),
            ("grow", "garment"),
            ("grow", "sleeves"),
        ]
        assert statuses(report) == {"garment": "promoted", "sleeves": "promoted"}
        assert told == [report.plan, *report.results]
        assert report.trunk is not None
        assert report.trunk.trained is not None
        assert report.trunk.trained["attributes"] == ["garment", "sleeves"]
        live = workspace.registry.live()
        assert live is not None
        assert live.id == report.version
        assert {name: b.id for name, b in live.branches.items()} == {r.attribute: r.branch for r in report.results}

        again = workspace.sync()
        assert (again.plan.actions, again.results, again.version) == ((), (), report.version)
        assert again.trunk is None


def test_a_growth_is_proved_to_leave_the_others_bit_for_bit_as_they_were(grown: Project) -> None:
    with grown.open() as workspace:
        first, second = workspace.registry.versions()
    assert dict(first.proof)["attributes"] == []
    assert second.proof["attributes"] == ["garment"]
    assert second.proof["max_abs_diff"] == 0.0
    assert second.proof["images"] == 16
    assert second.parent == first.id


def test_a_plugin_that_arrives_after_the_ingest_finds_its_labels_and_moves_nothing(grown: Project) -> None:
    with grown.open() as workspace:
        assert workspace.status()["undeclared"]["tone"] > 150
        before = answers(workspace, "garment", "sleeves")
    grown.plugin("tone")
    with grown.open() as workspace:
        report = workspace.sync()
        assert steps(report) == [("register", "tone"), ("grow", "tone")]
        assert report.plan.actions[0].labelled > 150
        (result,) = report.results
        assert result.status == "promoted"
        assert result.unchanged["attributes"] == ["garment", "sleeves"]
        assert result.unchanged["max_abs_diff"] == 0.0
        assert workspace.registry.version(report.version).proof == result.unchanged
        assert report.trunk.trained is None
        assert answers(workspace, "garment", "sleeves") == before
        said = {p.image: p.values for p in workspace.predict([workspace.labels.images()[0].file])}
        assert len(said) == 1
        assert "tone" in workspace.live().names()


def test_the_same_seed_gives_the_same_weights(project: Project, grown_once: Project) -> None:
    with project.open() as workspace:
        workspace.sync()
    lives = []
    for each in (project, grown_once):
        with each.open() as workspace:
            live = workspace.registry.live()
            lives.append((live.trunk.digest, {name: branch.parts for name, branch in live.branches.items()}))
    assert lives[0] == lives[1]


def test_an_attribute_that_is_asked_for_is_trained_again_and_gives_the_same_branch(grown: Project) -> None:
    with grown.open() as workspace:
        before = workspace.registry.live()
        report = workspace.sync(retrain=["garment"])
        assert steps(report) == [("retrain", "garment")]
        after = workspace.registry.live()
    assert statuses(report) == {"garment": "promoted"}
    assert after.id == before.id + 1
    assert after.branches["sleeves"].id == before.branches["sleeves"].id


@pytest.mark.both_databases("the whole way once in each")
def test_new_labels_retrain_the_branch_once(grown: Project) -> None:
    grown.settings(training={"retrain_labels": 10, "retrain_share": 0.0})
    wrong = {"bare": "covered", "covered": "bare"}
    rows = [
        {"image": row["image"], "sleeves": wrong[row["sleeves"]]}
        for row in grown.garments.rows
        if row["sleeves"] in wrong and row["split"] == "train"
    ]
    with grown.open() as workspace:
        workspace.ingest(grown.labels(rows[:9], "nine.csv"), images=grown.photos)
        assert workspace.plan().actions == ()
        workspace.ingest(grown.labels(rows[9:10], "tenth.csv"), images=grown.photos)
        (action,) = workspace.plan().actions
        assert (action.action, action.attribute) == ("retrain", "sleeves")
        assert action.reason.startswith("10 new labels since revision ")
        assert statuses(workspace.sync()) == {"sleeves": "promoted"}
        assert workspace.plan().actions == ()


# -- not training ----------------------------------------------------------------------------------


def test_without_training_schemas_are_registered_and_the_rest_is_skipped(project: Project) -> None:
    with project.open() as workspace:
        report = workspace.sync(train=False)
        assert statuses(report) == {"garment": "skipped", "sleeves": "skipped"}
        assert {result.reason for result in report.results} == {"--no-train was given"}
        assert report.version is None
        assert workspace.labels.attributes().keys() == {"garment", "sleeves"}
        assert workspace.registry.runs() == []
        assert [action.action for action in workspace.plan().actions] == ["train_trunk", "grow", "grow"]


def test_too_few_labels_are_blocked_and_trained_once_there_are_enough(project: Project) -> None:
    project.settings(attributes_sleeves={"min_labels": 5000})
    with project.open() as workspace:
        report = workspace.sync()
        assert statuses(report) == {"garment": "promoted", "sleeves": "blocked"}
        assert report.held_back
        assert [action.action for action in workspace.plan().actions] == ["blocked"]
    project.settings()
    with project.open() as workspace:
        assert statuses(workspace.sync()) == {"sleeves": "promoted"}


# -- plugins that go and come back -----------------------------------------------------------------


def test_a_plugin_that_is_gone_leaves_its_branch_answering_and_comes_back_without_training(grown: Project) -> None:
    with grown.open() as workspace:
        before = answers(workspace)
        stored = list(workspace.live().predict_missing(["sleeves"]))
        runs = len(workspace.registry.runs())
    grown.remove_plugin("sleeves")
    with grown.open() as workspace:
        report = workspace.sync()
        assert steps(report) == [("orphan", "sleeves")]
        assert workspace.labels.attributes()["sleeves"].state == "orphaned"
        assert workspace.status()["attributes"]["sleeves"]["state"] == "orphaned"
        assert workspace.sync().plan.actions == ()
        assert answers(workspace) == before
        assert len(workspace.registry.predictions("sleeves")) == len(stored) > 0
    grown.plugin("sleeves")
    with grown.open() as workspace:
        report = workspace.sync()
        assert steps(report) == [("register", "sleeves")]
        assert report.plan.actions[0].reason.endswith("is back; its branch answers again")
        assert answers(workspace) == before
        assert len(workspace.registry.runs()) == runs
        assert workspace.sync().plan.actions == ()


def test_a_plugin_that_breaks_leaves_its_attribute_live_and_is_no_orphan(grown: Project) -> None:
    with grown.open() as workspace:
        before = answers(workspace)
        workspace.labels.declare(workspace.plugins.attributes["sleeves"], str(grown.folder / "plugins" / "sleeves.py"))
    grown.plugin("sleeves", "import not_there")
    with grown.open() as workspace:
        assert steps(workspace.sync()) == [("blocked", "sleeves")]
        assert workspace.status()["attributes"]["sleeves"]["state"] == "blocked"
        assert workspace.labels.attributes()["sleeves"].state == "declared"
        assert answers(workspace) == before


def test_a_branch_with_a_head_of_its_own_says_that_its_plugin_is_gone_and_still_gives_its_features(
    new_project: Callable[..., Project],
) -> None:
    project = new_project()
    project.plugin("garment", more=head())
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        assert statuses(workspace.sync()) == {"garment": "promoted"}
    project.remove_plugin("garment")
    project.plugin("tone")
    with project.open() as workspace:
        report = workspace.sync()
        assert statuses(report) == {"tone": "promoted"}
        assert report.results[0].metrics["donor"] == "garment"
        said = {p.attribute: p for p in workspace.predict([workspace.labels.images()[0].file])}
        assert said["garment"].decision == "error"
        assert "garment.py again, or retrain" in said["garment"].reason
        assert said["tone"].decision in ("accept", "review")


# -- gates and failures ----------------------------------------------------------------------------


def stored(project: Project) -> set[str]:
    return {path.stem for path in (project.folder / "artifacts").glob("*/*.safetensors")}


def test_a_branch_below_its_gate_is_rejected_said_not_stored_and_not_tried_again(project: Project) -> None:
    project.settings(training={"min_gain": 100})
    with project.open() as workspace:
        report = workspace.sync(only=["garment"])
        (result,) = report.results
        assert (result.status, result.branch) == (REJECTED, None)
        assert "does not beat" in result.reason
        assert report.held_back
        (run,) = workspace.registry.runs()
        assert dict(run.metrics) == result.metrics
        assert {"val", "test", "depths", "probe", "megabytes", "verdict"} <= result.metrics.keys()
        assert len(stored(project)) == 1  # the trunk alone
        assert workspace.registry.live() is None
        again = workspace.sync(only=["garment"])
        assert statuses(again) == {"garment": "blocked"}
        assert again.results[0].reason.startswith(f"its last training was {REJECTED}: macro-F1 ")
        assert len(workspace.registry.runs()) == 1


def test_a_retraining_that_loses_is_rejected_while_the_live_branch_goes_on_and_not_tried_again(grown: Project) -> None:
    # One epoch at a hopeless learning rate, of a head that is not solved: the new branch cannot reach the live one.
    grown.settings(
        training={"retrain_labels": 1, "retrain_share": 0.0, "max_loss": 0, "epochs": 1, "learning_rate": 1e-9},
        attributes_sleeves={"head": "attention"},
    )
    row = next(r for r in grown.garments.rows if r["sleeves"] == "bare" and r["split"] == "train")
    with grown.open() as workspace:
        workspace.ingest(grown.labels([{"image": row["image"], "sleeves": "covered"}], "one.csv"), images=grown.photos)
        before, said, parts = workspace.registry.live(), answers(workspace), stored(grown)
        report = workspace.sync()
        assert steps(report) == [("retrain", "sleeves")]
        assert stored(grown) == parts
        assert statuses(report) == {"sleeves": REJECTED}
        assert workspace.registry.live() == before
        assert answers(workspace) == said
        assert statuses(workspace.sync()) == {"sleeves": "blocked"}
        assert workspace.status()["attributes"]["sleeves"]["state"] == "live"


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        ("if self.training: raise RuntimeError('out of thread')", "RuntimeError: out of thread"),
        ("if self.training: features = features * float('nan')", "the loss became nan"),
    ],
)
def test_a_head_that_fails_in_training_fails_alone(project: Project, forward: str, reason: str) -> None:
    project.plugin("tone", more=head(forward))
    outcome = project.run("sync-catalog", "--json")
    assert outcome.code == 1
    results = {result["attribute"]: result for result in outcome.json["results"]}
    assert {name: r["status"] for name, r in results.items()} == {
        "garment": "promoted",
        "sleeves": "promoted",
        "tone": "failed",
    }
    assert reason in results["tone"]["reason"]
    assert outcome.json["trunk"]["trained"]["attributes"] == ["garment", "sleeves"]
    assert "error: tone: failed" in outcome.err
    with project.open() as workspace:
        assert workspace.registry.live().branches.keys() == {"garment", "sleeves"}
        assert workspace.registry.runs("tone")[-1].status == "failed"


def test_a_head_of_the_wrong_shape_is_caught_before_any_training_and_not_tried_again(grown: Project) -> None:
    grown.plugin("tone", more=head("return features.mean(dim=(2, 3))"))
    with grown.open() as workspace:
        report = workspace.sync()
        assert statuses(report) == {"tone": "failed"}
        assert "the head of 'tone' returned" in report.results[0].reason
        assert statuses(workspace.sync()) == {"tone": "blocked"}


def test_a_head_that_breaks_later_silences_its_own_branch_only(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.plugin("sleeves", more=head())
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        assert set(statuses(workspace.sync()).values()) == {"promoted"}
    project.plugin("sleeves", more=head().replace("return Head(", "raise RuntimeError('no licence')\n    return Head("))
    with project.open() as workspace:
        said = {p.attribute: p for p in workspace.predict([workspace.labels.images()[0].file], article_type="top")}
        assert said["sleeves"].decision == "error"
        assert "no licence" in said["sleeves"].reason
        assert said["garment"].decision in ("accept", "review")


def test_no_head_that_can_be_trained_fails_every_attribute_and_promotes_nothing(
    new_project: Callable[..., Project],
) -> None:
    project = new_project()
    project.plugin("garment", more=head("if self.training: raise RuntimeError('out of thread')"))
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        report = workspace.sync()
        assert statuses(report) == {"garment": "failed"}
        assert "no attribute can train the trunk (garment: RuntimeError: out of thread)" in report.results[0].reason
        assert workspace.registry.live() is None


def test_a_renamed_value_answers_under_its_new_key_at_once_and_trains_nothing(grown: Project) -> None:
    with grown.open() as workspace:
        before = workspace.live().evaluate("test")["attributes"]["garment"]
        photo = next(
            image.file
            for image in workspace.labels.images()
            if workspace.predict([image.file], attributes=["garment"])[0].values == ("jeans",)
        )
    renamed = 'Value("top"), Value("dress"), Value("trousers", formerly=("jeans",))'
    grown.plugin("garment", source=declaration_of("garment", f"SingleLabel(({renamed}))"))
    with grown.open() as workspace:
        report = workspace.sync()
        assert steps(report) == [("evolve", "garment")]
        assert workspace.sync().plan.actions == ()
        after = workspace.live().evaluate("test")["attributes"]["garment"]
        assert (after["n"], after["accuracy"], after["macro_f1"]) == (
            before["n"],
            before["accuracy"],
            before["macro_f1"],
        )
        assert workspace.predict([photo], attributes=["garment"])[0].values == ("trousers",)


def test_a_version_that_was_taken_out_of_service_stays_out(grown: Project) -> None:
    with grown.open() as workspace:
        first = workspace.registry.versions()[0]
        workspace.registry.promote(first.id, "somebody", "sleeves were wrong")
        report = workspace.sync()
        assert statuses(report) == {"sleeves": "blocked"}
        assert "was taken out of service" in report.results[0].reason
        live = workspace.registry.live()
        assert live is not None
        assert live.id == first.id
        assert statuses(workspace.sync(retrain=["sleeves"])) == {"sleeves": "promoted"}


# -- images ----------------------------------------------------------------------------------------


def test_a_photo_that_cannot_be_decoded_is_quarantined_and_named_and_the_rest_goes_on(
    new_project: Callable[..., Project],
) -> None:
    project = new_project("garment")
    project.own_photos()
    name = project.garments.rows[3]["image"]
    photo = project.photos / name
    photo.write_bytes(photo.read_bytes()[:-120])  # its header is fine, so ingest lets it in
    with Workspace.create(project.folder) as workspace:
        assert workspace.ingest(project.labels(), images=project.photos).quarantined == ()
        report = workspace.sync()
        assert statuses(report) == {"garment": "promoted"}
        ((image, reason),) = report.quarantined
        assert image == name
        assert "cannot be read" in reason
        assert report.held_back
        assert [i.path for i in workspace.labels.images(state="quarantined")] == [name]
        assert workspace.status()["quarantined"] == [{"image": name, "reason": reason}]
        assert workspace.labels.counts().observations == sum(
            bool(row[key]) for row in project.garments.rows for key in ("garment", "sleeves", "tone")
        )


def test_a_photo_that_changed_is_decoded_once_more_and_then_known(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.own_photos()
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        catalog = workspace.catalog
        images = CatalogImages(
            catalog, Bound.of(workspace.settings.catalog), RemoteFiles.of(workspace.settings), torch.device("cpu")
        )
        first, second = catalog.labels.images()[:2]
        before = images.decode([first.id, second.id], Transform(32)).digests
        first.file.write_bytes(second.file.read_bytes())
        after = images.decode([first.id], Transform(32)).digests
        assert before[first.id] != before[second.id] == after[first.id]
        (known,) = catalog.labels.images(ids=[first.id])
        stat = first.file.stat()
        assert (known.digest, known.bytes, known.mtime_ns) == (after[first.id], stat.st_size, stat.st_mtime_ns)


def test_a_photo_folder_that_is_away_is_said_and_quarantines_nothing(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.own_photos()
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        project.photos.rename(project.folder / "away")
        result = workspace.sync().results[0]
        assert result.status == "failed"
        assert "image files are not there" in result.reason
        assert workspace.labels.images(state="quarantined") == []
        (project.folder / "away").rename(project.photos)
        assert statuses(workspace.sync()) == {"garment": "promoted"}


def test_a_single_photo_that_is_away_is_left_out_and_back_when_it_is_back(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.own_photos()
    photo = project.photos / project.garments.rows[0]["image"]
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        catalog = workspace.catalog
        images = CatalogImages(
            catalog, Bound.of(workspace.settings.catalog), RemoteFiles.of(workspace.settings), torch.device("cpu")
        )
        ids = [image.id for image in catalog.labels.images()][:6]
        photo.rename(project.folder / "away.jpg")
        assert list(images.decode(ids, Transform(32)).failed.values()) == ["file not found"]
        assert catalog.labels.images(state="quarantined") == []
        (project.folder / "away.jpg").rename(photo)
        assert images.decode(ids, Transform(32)).failed == {}


# -- the trunk -------------------------------------------------------------------------------------


def test_a_trunk_of_local_weights_is_frozen_from_the_first_and_its_stages_are_a_donor(
    new_project: Callable[..., Project],
) -> None:
    project = new_project("garment")
    file = project.folder / "weights.safetensors"
    model = timm.create_model("test_resnet", pretrained=False)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, file)
    project.settings(trunk={"weights": "weights.safetensors"})
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        report = workspace.sync()
    assert steps(report) == [("register", "garment"), ("grow", "garment")]
    assert report.results[0].metrics["donor"] == "backbone"
    assert report.trunk is not None
    assert (report.trunk.weights, report.trunk.trained) == (str(file), None)
    project.folder.rename(project.folder.with_name("moved"))
    with Workspace.open(project.folder.with_name("moved") / "plugins.toml") as workspace:
        assert workspace.plan().training == ()


def test_a_changed_trunk_moves_all_branches_together(grown: Project) -> None:
    grown.settings(trunk={"image_size": 40})
    with grown.open() as workspace:
        before = workspace.registry.live()
        report = workspace.sync()
        assert steps(report) == [("train_trunk", None), ("retrain", "garment"), ("retrain", "sleeves")]
        assert statuses(report) == {"garment": "promoted", "sleeves": "promoted"}
        after = workspace.registry.live()
        assert after.id == before.id + 1  # one version, not one a branch
        assert after.trunk.digest != before.trunk.digest
        assert after.trunk.spec["image_size"] == 40
        assert workspace.sync().plan.actions == ()
        photo = workspace.labels.images()[0].file
        assert {p.decision for p in workspace.predict([photo], article_type="top")} <= {"accept", "review"}


def test_a_changed_trunk_on_which_one_branch_fails_moves_none(grown: Project) -> None:
    grown.settings(trunk={"image_size": 40})
    grown.plugin("sleeves", more=head("if self.training: raise RuntimeError('too large')"))
    with grown.open() as workspace:
        before, said, parts = workspace.registry.live(), workspace.registry.versions(), stored(grown)
        report = workspace.sync()
        assert statuses(report) == {"garment": REJECTED, "sleeves": "failed"}
        assert len(stored(grown) - parts) == 1  # the trunk alone
        reasons = {result.attribute: result.reason for result in report.results}
        assert reasons["garment"] == (
            "the new trunk has no good branch for sleeves; the tree on the old trunk stays live"
        )
        assert workspace.registry.live() == before
        assert workspace.registry.versions() == said


def test_a_changed_trunk_leaves_an_orphan_behind_and_says_so(grown: Project) -> None:
    grown.settings(trunk={"image_size": 40})
    grown.remove_plugin("sleeves")
    with grown.open() as workspace:
        assert statuses(workspace.sync()) == {"garment": "promoted"}
        live = workspace.registry.live()
        assert live.branches.keys() == {"garment"}
        assert live.reason == "garment: a new trunk, without the orphaned sleeves"


# -- two at once, and interrupted ------------------------------------------------------------------


@pytest.mark.both_databases("two processes meet in the database")
def test_two_syncs_at_once_do_the_work_once(project: Project) -> None:
    project.settings(attributes_sleeves={"min_labels": 5000})
    processes = [project.start("sync-catalog", "--json") for _ in range(2)]
    done = [process.end() for process in processes]
    assert [ended.code for ended in done] == [0, 0], done
    promoted = [
        [r["attribute"] for r in json.loads(ended.out)["results"] if r["status"] == "promoted"] for ended in done
    ]
    assert sorted(promoted) == [[], ["garment"]]
    with project.open() as workspace:
        assert [(run.attribute, run.status) for run in workspace.registry.runs()] == [("garment", "promoted")]
        assert len(workspace.registry.versions()) == 1


@pytest.mark.both_databases("two processes meet in the database")
def test_a_second_sync_waits_for_the_first(grown: Project) -> None:
    reports: list[SyncReport] = []

    def second() -> None:
        with grown.open() as workspace:
            reports.append(workspace.sync())

    thread = threading.Thread(target=second)
    with grown.open() as workspace:
        with workspace.catalog.sync_lock():
            thread.start()
            thread.join(timeout=0.5)
            assert not reports
        thread.join(timeout=30)
    assert [report.plan.actions for report in reports] == [()]


class Killed(BaseException):
    """What no `except Exception` catches, as a kill would not be."""


def kill_at_commit(monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """Let the process end just before or just after the transaction that makes a version live."""
    commit = RegistryStore.commit_version

    def killed(store: RegistryStore, version: NewVersion) -> TreeVersion:
        if after:
            commit(store, version)
        raise Killed

    monkeypatch.setattr(RegistryStore, "commit_version", killed)


@pytest.mark.both_databases("a kill leaves a transaction open")
def test_a_kill_before_the_commit_leaves_the_live_version_and_the_next_sync_finishes(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown.plugin("tone")
    with grown.open() as workspace:
        before = workspace.registry.live()
        with monkeypatch.context() as patch:
            # This very process lives on, so only the end of its lease tells that it is gone.
            patch.setattr(Leases.__init__, "__defaults__", (2.0,))  # seconds
            kill_at_commit(patch, after=False)
            with pytest.raises(Killed):
                workspace.sync()
        assert workspace.registry.live() == before
    with grown.open() as workspace:
        assert statuses(workspace.sync()) == {"tone": "promoted"}
        assert [run.status for run in workspace.registry.runs("tone")] == ["promoted"]


@pytest.mark.both_databases("a kill leaves a transaction open")
def test_a_kill_after_the_commit_leaves_the_new_version_live_and_nothing_to_do(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown.plugin("tone")
    with grown.open() as workspace:
        with monkeypatch.context() as patch:
            kill_at_commit(patch, after=True)
            with pytest.raises(Killed):
                workspace.sync()
        assert "tone" in workspace.registry.live().branches
        report = workspace.sync()
    assert (report.plan.actions, report.results) == ((), ())


def test_leftovers_of_a_killed_writer_are_swept(grown: Project) -> None:
    leftover = next((grown.folder / "artifacts").iterdir()) / ".partial-1-abc"
    leftover.write_bytes(b"half a part")
    with grown.open() as workspace:
        workspace.sync(retrain=["garment"])
    assert not leftover.exists()


@pytest.mark.both_databases("two connections write")
def test_labels_that_come_while_a_branch_is_trained_retrain_it_next_time(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown.settings(training={"retrain_labels": 5, "retrain_share": 0.0})
    grown.plugin("tone")
    rows = [{"image": r["image"], "tone": "dark"} for r in grown.garments.rows if r["tone"] == "bright"][:5]
    late: Path = grown.labels(rows, "late.csv")
    take = LabelStore.label_set

    def then_ingest(store: LabelStore, name: str) -> Any:
        taken = take(store, name)
        store.ingest(late, images=grown.photos)
        return taken

    with grown.open() as workspace:
        with monkeypatch.context() as patch:
            patch.setattr(LabelStore, "label_set", then_ingest)
            assert statuses(workspace.sync()) == {"tone": "promoted"}
        (action,) = workspace.plan().actions
        assert (action.action, action.attribute) == ("retrain", "tone")
        assert statuses(workspace.sync()) == {"tone": "promoted"}
        assert workspace.sync().plan.actions == ()


@pytest.mark.both_databases("two connections write")
def test_a_branch_goes_live_beside_what_was_promoted_meanwhile(grown: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody goes back to version 1, which has no sleeves, while tone is trained: that is not undone."""
    grown.plugin("tone")
    commit, outruns = RegistryStore.commit_version, iter([True])

    def outrun(store: RegistryStore, version: NewVersion) -> TreeVersion:
        if next(outruns, False):
            store.promote(1, "somebody", "an incident")
        return commit(store, version)

    monkeypatch.setattr(RegistryStore, "commit_version", outrun)
    with grown.open() as workspace:
        report = workspace.sync()
        assert statuses(report) == {"tone": "promoted"}
        live = workspace.registry.live()
        assert live is not None
        assert (sorted(live.branches), live.parent) == (["garment", "tone"], 1)


@pytest.mark.both_databases("two connections write")
def test_a_branch_whose_trunk_was_replaced_meanwhile_is_not_promoted(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    grown.plugin("tone")
    commit = RegistryStore.commit_version

    def outrun(store: RegistryStore, version: NewVersion) -> TreeVersion:
        live = store.live()
        assert live is not None
        trunk = replace(live.trunk, digest="0" * 64)
        commit(store, NewVersion(trunk, (), live.id, "another trunk", "somebody"))
        return commit(store, version)

    with grown.open() as workspace:
        with monkeypatch.context() as patch:
            patch.setattr(RegistryStore, "commit_version", outrun)
            report = workspace.sync()
        assert statuses(report) == {"tone": "failed"}
        assert "is missing" in report.results[0].reason or "another trunk" in report.results[0].reason
        workspace.registry.promote(2, "me", "back")
        assert workspace.plan().of("grow")  # it is not given up


@pytest.mark.both_databases("two processes meet in the database")
def test_two_workers_share_a_queue_and_one_s_work_is_taken_over_when_it_dies(grown: Project) -> None:
    names = [f"tone_{i}" for i in range(6)]
    for name in names:
        grown.plugin(name, declaration_of(name, "SingleLabel(('dark', 'bright'))"))
    rows = [{"image": row["image"], **dict.fromkeys(names, row["tone"])} for row in grown.garments.rows]
    with grown.open() as workspace:
        workspace.ingest(grown.labels(rows, "tones.csv"), images=grown.photos)
        doomed = grown.start("sync-catalog")
        while not workspace.registry.training():
            assert doomed.poll() is None
            time.sleep(0.02)
        doomed.kill()
        doomed.end()
        end_leases(grown.url)
        workers = [grown.start("sync-catalog", "--json") for _ in range(2)]
        done = [worker.end() for worker in workers]
        assert [ended.code for ended in done] == [0, 0]
        reports = [json.loads(ended.out) for ended in done]
        promoted = [
            result["attribute"] for report in reports for result in report["results"] if result["status"] == "promoted"
        ]
        runs = [run for run in workspace.registry.runs() if run.attribute in names and run.status != "cancelled"]
        assert sorted(run.attribute for run in runs) == names  # nothing was trained twice
        assert {run.status for run in runs} == {"promoted"}
        assert set(promoted) <= set(names)
        assert len(promoted) == len(set(promoted))
        live = workspace.registry.live()
        assert live is not None
        assert set(names) <= live.branches.keys()
        assert workspace.plan().actions == ()


@pytest.mark.both_databases("the error is the driver's")
def test_a_failure_of_the_catalogue_ends_the_sync_with_its_own_error(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise CatalogError("the disk is full")

    grown.plugin("tone")
    monkeypatch.setattr(RegistryStore, "claim_run", broken)
    outcome = grown.run("sync-catalog")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1] == "error: the disk is full"
