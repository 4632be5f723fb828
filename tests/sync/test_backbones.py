"""Families of backbones through the whole: trained, grown on, stored, loaded, proved, and asked."""

from collections.abc import Callable

import pytest

from attributree import Workspace
from attributree.nn.sources import RANDOM
from attributree.nn.trunk import TrunkSpec, build_backbone
from attributree.nn.weights import write_weights
from attributree.reports import PROMOTED, REJECTED
from support.projects import Project

#: With as many epochs as it needs to tell garments apart.
FAMILIES = [
    pytest.param("resnet34", "layer4", 4, marks=pytest.mark.acceptance),
    pytest.param("resnet18", "layer4", 4, marks=pytest.mark.acceptance),
    pytest.param("regnetx_002", "s4", 15, marks=pytest.mark.acceptance),
    pytest.param("test_vit", "auto", 15, marks=pytest.mark.acceptance),
    ("test_efficientnet", "blocks_4", 15),
    ("test_convnext", "stages_3", 15),
]


@pytest.mark.parametrize(("backbone", "branch_at", "epochs"), FAMILIES)
def test_a_family_is_trained_grown_on_and_proved(
    backbone: str, branch_at: str, epochs: int, new_project: Callable[..., Project]
) -> None:
    project = new_project("garment")
    training = {"epochs": epochs, "patience": epochs, "learning_rate": 0.004}
    project.settings(trunk={"backbone": backbone, "branch_at": branch_at}, training=training)
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        (first,) = workspace.sync().results
    assert (first.attribute, first.status) == ("garment", "promoted")

    project.plugin("tone")
    with project.open() as workspace:
        (second,) = workspace.sync(only=["tone"]).results
        assert second.metrics["donor"] in ("trunk", "garment")
        if second.status == "promoted":
            assert second.unchanged == {"attributes": ["garment"], "images": 16, "max_abs_diff": 0.0}

    photo = project.photos / project.garments.rows[0]["image"]
    with project.open() as workspace:  # from artifacts alone
        (said,) = workspace.predict([photo], attributes=["garment"], article_type="top")
        scores = workspace.live().evaluate("val", ["garment"])["attributes"]["garment"]
    assert said.values[0] in ("top", "dress", "jeans")
    assert scores["macro_f1"] == pytest.approx(first.metrics["val"]["macro_f1"], abs=1e-3)


@pytest.mark.parametrize(("backbone", "branch_at"), [("test_efficientnet", "blocks_4"), ("test_convnext", "stages_3")])
def test_a_family_s_weights_file_is_grown_on_as_it_is(
    backbone: str, branch_at: str, new_project: Callable[..., Project]
) -> None:
    project = new_project("garment")
    start = build_backbone(TrunkSpec(backbone, branch_at, 32, RANDOM))
    write_weights(project.folder / "start.safetensors", start.state(), {})
    project.settings(trunk={"backbone": backbone, "branch_at": branch_at, "weights": "start.safetensors"})
    with Workspace.create(project.folder) as workspace:
        workspace.ingest(project.labels(), images=project.photos)
        report = workspace.sync()
    (result,) = report.results
    assert result.status in (PROMOTED, REJECTED)
    assert result.metrics["donor"] == "backbone"
    assert report.trunk is not None
    assert report.trunk.trained is None
