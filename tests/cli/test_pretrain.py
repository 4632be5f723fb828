"""pretrain, as it is typed."""

import hashlib
from collections.abc import Callable

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from attributree.database.migrate import upgrade
from attributree.sync.pretrain import pretrain_trunk
from support.projects import Project

REPORT = {
    *("file", "weights", "toml", "method", "backbone", "image_size", "begun_with", "images", "held_out", "epochs"),
    *("loss", "spread", "seconds", "quarantined"),
}


def contents(project: Project, split: str) -> set[str]:
    """Return the SHA-256 of every photo of a split."""
    rows = (row for row in project.garments.rows if row["split"] == split)
    return {hashlib.sha256((project.photos / row["image"]).read_bytes()).hexdigest() for row in rows}


def test_a_trunk_is_learnt_from_the_train_split_alone_and_sync_grows_on_it(grown: Project) -> None:
    with grown.open() as workspace:
        before = workspace.registry.live()
    outcome = grown.run("pretrain", "--epochs", "2", "--json")
    assert outcome.code == 0
    report = outcome.json
    assert report.keys() == REPORT
    path = grown.folder / "trunk.safetensors"
    assert (report["file"], report["weights"]) == (str(path), "trunk.safetensors")
    assert (report["method"], report["backbone"], report["image_size"]) == ("VICReg", "test_resnet", 32)
    assert (report["begun_with"], report["epochs"], report["quarantined"]) == ("random", 2, [])
    assert report["images"] + report["held_out"] == len(contents(grown, "train"))
    assert 5 < report["held_out"] < report["images"] / 4
    assert report["loss"] > 0
    assert report["spread"] > 0.1
    with safe_open(path, framework="pt") as file:
        said = file.metadata()
    assert said["attributree"]
    assert {key: said[key] for key in ("method", "backbone", "image_size", "images", "epochs", "begun_with")} == {
        key: str(report[key]) for key in ("method", "backbone", "image_size", "images", "epochs", "begun_with")
    }
    with grown.open() as workspace:
        live = workspace.registry.live()
    assert (live.id, live.trunk) == (before.id, before.trunk)  # nothing moves before plugins.toml names the file

    grown.settings(trunk={"weights": "trunk.safetensors"})
    assert report["toml"] == '[trunk]\nweights = "trunk.safetensors"'
    assert report["toml"].splitlines()[1] in grown.config.read_text(encoding="utf-8")
    synced = grown.run("sync-catalog", "--json").json
    assert {result["attribute"]: result["status"] for result in synced["results"]} == {
        "garment": "promoted",
        "sleeves": "promoted",
    }
    assert synced["trunk"]["digest"] != before.trunk.digest
    assert synced["trunk"]["trained"] is None  # it was pretrained: branches grow at once
    assert synced["version"] > before.id
    assert grown.run("sync-catalog", "--json").json["plan"] == []


def test_validation_and_test_images_are_not_even_decoded(project: Project) -> None:
    assert project.run("--quiet", "pretrain", "--epochs", "1").code == 0
    (keys,) = (project.folder / "cache" / "pixels").glob("*/keys.txt")
    assert set(keys.read_text().split()) == contents(project, "train")


def test_a_person_is_told_the_file_and_what_to_write_where(project: Project) -> None:
    outcome = project.run("pretrain", "--epochs", "1", "--images", "40", "--out", project.folder / "own.safetensors")
    assert outcome.code == 0
    assert outcome.out == '[trunk]\nweights = "own.safetensors"\n'
    assert "own.safetensors: test_resnet learnt from" in outcome.err
    assert f"put the two lines above into {project.config}" in outcome.err
    assert "every branch will be grown anew on it" in outcome.err


def test_a_sample_has_the_size_that_was_asked_for(project: Project) -> None:
    report = project.run("pretrain", "--epochs", "1", "--images", "40", "--json").json
    assert report["images"] + report["held_out"] == 40


def test_it_goes_on_from_weights_that_are_configured(project: Project) -> None:
    first = project.run("pretrain", "--epochs", "1", "--json").json
    project.settings(trunk={"weights": "trunk.safetensors"})
    second = project.run("pretrain", "--epochs", "1", "--out", project.folder / "more.safetensors", "--json").json
    assert second["begun_with"] == first["file"]
    before, after = (load_file(report["file"])["layer4.0.conv1.weight"].flatten() for report in (first, second))
    assert not torch.equal(before, after)
    assert torch.nn.functional.cosine_similarity(before, after, dim=0) > 0.9


def test_a_killed_run_goes_on_where_it_was(project: Project) -> None:
    project.settings(training={"checkpoint_seconds": 0, "epochs": 3})

    def kill(what: str, done: int, of: int) -> None:
        if (what, done) == ("pretraining", 2):
            raise KeyboardInterrupt

    out = project.folder / "trunk.safetensors"
    with project.open() as workspace, pytest.raises(KeyboardInterrupt):
        pretrain_trunk(workspace.catalog, workspace.settings, workspace.declared, out, progress=kill)
    assert not out.exists()
    seen = []
    with project.open() as workspace:
        report = pretrain_trunk(
            workspace.catalog,
            workspace.settings,
            workspace.declared,
            out,
            progress=lambda what, done, of: seen.append((what, done, of)),
        )
    assert [done for what, done, of in seen if what == "pretraining"] == [2, 3]
    assert report.epochs == 3
    assert not list((project.folder / "cache" / "runs").glob("pretrain-*"))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("trunk.safetensors", "is there already; give another name"),
        ("trunk.pt", "must end in .safetensors"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_any_work(project: Project, name: str, reason: str) -> None:
    path = project.folder / name
    path.write_bytes(b"somebody's")
    outcome = project.run("pretrain", "--out", path)
    assert outcome.code == 1
    assert outcome.err.startswith(f"error: --out: {path} ")
    assert reason in outcome.err
    assert path.read_bytes() == b"somebody's"
    assert not (project.folder / "cache" / "pixels").exists()


def test_a_damaged_photo_is_left_out_and_said(project: Project) -> None:
    project.own_photos()
    with project.open() as workspace:
        workspace.ingest(project.labels(), images=project.photos)
    row = next(row for row in project.garments.rows if row["split"] == "train")
    damaged = project.photos / row["image"]
    damaged.write_bytes(damaged.read_bytes()[:400])
    outcome = project.run("--strict", "pretrain", "--epochs", "1")
    assert outcome.code == 3
    assert f"quarantined {row['image']}: " in outcome.err
    assert (project.folder / "trunk.safetensors").exists()


def test_a_catalogue_without_images_is_told_what_to_type(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    with project.open() as workspace:
        upgrade(workspace.settings.catalog.database)
    outcome = project.run("pretrain")
    assert outcome.code == 1
    assert outcome.err == (
        "error: pretrain: no image of the train split can be used; ingest some: attributree ingest FILE\n"
    )
