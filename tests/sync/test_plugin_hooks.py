"""What plugins say about training and labels is done by a sync, recorded, and noticed when it changes."""

import logging
from pathlib import Path
from typing import Any

import pytest

from attributree.settings.recipes import Recipes
from attributree.sync.data import TrainingData
from support.projects import Project

LOSS = """
def loss(logits, target, weight, *, value_weight=None, smoothing=0.0):
    with open({mark!r}, "a") as file:
        file.write("x")
    said = weight > 0
    log_p = logits[said].log_softmax(dim=1)
    each = -(log_p * target[said] / target[said].sum(dim=1, keepdim=True)).sum(dim=1)
    return (each * weight[said]).sum() / weight[said].sum()

@hookimpl
def attributree_loss(attribute):
    return loss if attribute.name == "tone" else None
"""
AUGMENTATION = """
from attributree import Augmentation

@hookimpl
def attributree_augmentation(attribute):
    return Augmentation(flip=False)
"""
TELL = """
@hookimpl
def attributree_after_sync(report):
    with open({mark!r}, "a") as file:
        file.write(" ".join(f"{{r.attribute}} {{r.status}} {{r.branch}}" for r in report.results) + "\\n")
    {then}
"""
NORMALIZE = """
@hookimpl
def attributree_normalize_label(attribute, text):
    return {{"drk": {dark!r}}}.get(text)
"""


def test_a_plugins_loss_trains_its_branch_and_a_change_of_it_is_noted(grown: Project, tmp_path: Path) -> None:
    mark = tmp_path / "called"
    grown.plugin("tone", more=LOSS.format(mark=str(mark)))
    with grown.open() as workspace:
        (result,) = workspace.sync().results
        assert result.status == "promoted"
        assert result.metrics["val"]["macro_f1"] > 0.5
        assert len(mark.read_text()) > 5
        live = workspace.registry.live()
        assert live is not None
        trained = live.branches["tone"].config["loss"]
        assert trained.startswith("tone.py ")
        assert live.branches["garment"].config["loss"] == "standard"
        assert workspace.plan().notes == ()
    grown.plugin("tone")
    with grown.open() as workspace:
        plan = workspace.plan()
        assert plan.actions == ()
        assert plan.notes == (
            f"tone was trained with other settings (loss {trained} -> standard); to apply them: --retrain tone",
        )
        assert workspace.status()["notes"] == list(plan.notes)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return lambda logits, target, weight, **how: logits", "returned (5, 2) torch.float32, expected a scalar"),
        ("raise ValueError('boom')", "raised ValueError: boom in attributree_loss for attribute 'tone'"),
    ],
)
def test_fault_29_a_loss_that_does_not_fit_fails_its_attribute_alone_before_any_training(
    grown: Project, body: str, reason: str
) -> None:
    grown.plugin("tone", more=f"\n@hookimpl\ndef attributree_loss(attribute):\n    {body}\n")
    with grown.open() as workspace:
        report = workspace.sync(retrain=["garment"])
    found = {result.attribute: result for result in report.results}
    assert found["garment"].status == "promoted"
    assert found["tone"].status == "failed"
    assert "tone.py (plugin 'tone'): " in found["tone"].reason
    assert reason in found["tone"].reason


def test_an_attribute_that_tells_left_from_right_is_never_mirrored_whatever_the_settings_say(
    grown: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_steps = {"depth": "block"}  # a head alone is solved, and reads nothing mirrored
    grown.settings(training={"flip": True}, attributes_garment=by_steps, attributes_tone={"flip": True, **by_steps})
    grown.plugin("tone", more=AUGMENTATION)
    views: dict[str, int] = {}
    take = TrainingData.samples

    def samples(data: TrainingData, labels: Any, *args: Any, **kwargs: Any) -> Any:
        found = take(data, labels, *args, **kwargs)
        most = max(len(part.inputs) for part in found.values())
        views[labels.attribute.name] = max(views.get(labels.attribute.name, 0), most)
        return found

    monkeypatch.setattr(TrainingData, "samples", samples)
    with grown.open() as workspace:
        workspace.sync(retrain=["garment"])
        assert views == {"garment": 2, "tone": 1}
        live = workspace.registry.live()
        assert live is not None
        assert (live.branches["tone"].config["flip"], live.branches["tone"].config["crop"]) == (False, True)
        assert workspace.plan().notes == ()
        recipes = Recipes.read(workspace.settings, workspace.plugins)
        assert not recipes.together(["garment", "tone"]).flip
        assert recipes.together(["garment", "tone"]).crop
        assert recipes.together(["garment"]).flip


def test_plugins_are_told_of_a_sync_that_did_something_once(
    grown: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / "told"
    grown.plugin("tone")
    grown.plugin("teller", "from attributree import hookimpl\n" + TELL.format(mark=str(mark), then="1 / 0"))
    with grown.open() as workspace, caplog.at_level(logging.WARNING):
        report = workspace.sync()
        assert [result.status for result in report.results] == ["promoted"]
        assert mark.read_text() == f"tone promoted {report.results[0].branch}\n"
        assert "teller.py (plugin 'teller'): raised ZeroDivisionError: division by zero in attributree" in caplog.text
        assert workspace.sync().plan.actions == ()
    assert mark.read_text().count("\n") == 1


def test_a_normalizers_new_version_reads_what_was_said_again(grown: Project) -> None:
    rows = [{"image": row["image"], "tone": "drk"} for row in grown.garments.rows if not row["tone"]]
    grown.plugin("tone", more=NORMALIZE.format(dark="dark"))
    with grown.open() as workspace:
        workspace.ingest(grown.labels(rows, "short.csv"), images=grown.photos, source="shop")
        workspace.sync(train=False)
        first = workspace.status()["attributes"]["tone"]
        assert first["unreadable"] == []
    grown.plugin("tone", more=NORMALIZE.format(dark="a mistake"))
    with grown.open() as workspace:
        (action,) = workspace.plan().of("evolve")
        assert action.reason.startswith("unknown texts are read by tone.py ")
        workspace.sync(train=False)
        second = workspace.status()["attributes"]["tone"]
        assert first["labelled"] - second["labelled"] == len(rows)
        assert second["unreadable"] == [{"text": "drk", "count": len(rows), "nearest": "dark"}]
        assert workspace.plan().of("evolve") == ()
