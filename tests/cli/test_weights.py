"""weights list and verify, as they are typed."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from support.projects import Outcome, Project

OFFER = """
from hashlib import sha256
from pathlib import Path
from attributree import PretrainedWeights, hookimpl

FILE = Path(__file__).parents[1] / "own.safetensors"

@hookimpl
def attributree_weights():
    digest = sha256(FILE.read_bytes()).hexdigest()
    return [PretrainedWeights("tiny-shop", "test_resnet", FILE, digest, licence="CC0-1.0", trained_on="drawn garments")]
"""


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    torch.manual_seed(5)
    weights: dict[str, Tensor] = timm.create_model("test_resnet").state_dict()
    return weights


@pytest.fixture
def shop(new_project: type[Project], state: dict[str, Tensor]) -> Project:
    """A project with a file, a folder as timm writes one, and a plugin that offers the file."""
    project = new_project()
    save_file(state, project.folder / "own.safetensors", metadata={"backbone": "test_resnet", "licence": "MIT"})
    clothes = project.folder / "clothes"
    clothes.mkdir()
    save_file(state, clothes / "model.safetensors")
    prepared = {"license": "CC-BY-4.0", "tag": "clothes"}
    (clothes / "config.json").write_text(json.dumps({"architecture": "test_resnet", "pretrained_cfg": prepared}))
    project.plugin("weights", OFFER)
    return project


def test_what_can_be_had_here_is_listed_with_licence_size_and_data(shop: Project) -> None:
    outcome = shop.run("weights", "list", "--json")
    assert outcome.code == 0
    assert outcome.json.keys() == {"weights", "endpoint", "offline", "problems"}
    found = {row["weights"]: row for row in outcome.json["weights"]}
    size = (shop.folder / "own.safetensors").stat().st_size
    assert found["tiny-shop"] == {
        "weights": "tiny-shop",
        "backbone": "test_resnet",
        "source": "packaged",
        "here": True,
        "licence": "CC0-1.0",
        "bytes": size,
        "trained_on": "drawn garments",
        "origin": str(shop.folder / "plugins" / "weights.py"),
        "url": None,
    }
    assert (found["own.safetensors"]["source"], found["own.safetensors"]["licence"]) == ("file", "MIT")
    assert (found["local-dir:clothes"]["source"], found["local-dir:clothes"]["licence"]) == ("folder", "CC-BY-4.0")
    hub = found["hub"]
    assert (hub["backbone"], hub["licence"], hub["trained_on"]) == (
        "test_resnet.r160_in1k",
        "apache-2.0",
        "ImageNet-1k",
    )
    assert hub["bytes"] > 100_000
    assert "weights for [trunk]" in shop.run("weights", "list").out


def test_the_hub_is_listed_for_other_backbones_too(shop: Project) -> None:
    rows = shop.run("weights", "list", "--backbone", "vit_small_patch14_*dinov2*", "--json").json["weights"]
    assert {"vit_small_patch14_dinov2.lvd142m", "vit_small_patch14_reg4_dinov2.lvd142m"} == {
        row["backbone"] for row in rows if row["source"] == "hub"
    }
    assert all(row["trained_on"].startswith("LVD-142M") for row in rows if row["source"] == "hub")


@pytest.mark.parametrize("name", ["own.safetensors", "tiny-shop", "local-dir:clothes"])
def test_weights_are_verified_by_putting_them_into_the_backbone(shop: Project, name: str) -> None:
    outcome = verify(shop, name, "--json")
    assert outcome.code == 0
    assert (outcome.json["backbone"], outcome.json["branch_at"], outcome.json["problem"]) == (
        "test_resnet",
        "layer4",
        None,
    )
    assert len(outcome.json["sha256"]) == 64
    assert outcome.json["tensors"] > 20


def test_a_number_that_is_none_is_found(shop: Project, state: dict[str, Tensor]) -> None:
    spoilt = {**state, "layer2.0.conv1.weight": state["layer2.0.conv1.weight"].clone()}
    spoilt["layer2.0.conv1.weight"][0, 0] = torch.nan
    save_file(spoilt, shop.folder / "spoilt.safetensors")
    outcome = verify(shop, "spoilt.safetensors")
    assert (outcome.code, outcome.out) == (1, "")
    assert "holds numbers that are none, in layer2.0.conv1.weight first" in outcome.err


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("hub", (), "'hub' is no file; name one, or weights that a plugin offers"),
        ("gone.safetensors", (), "gone.safetensors does not exist"),
        ("plugins.toml", (), "plugins.toml is not a .safetensors file"),
        ("tiny-shp", (), "no installed plugin offers 'tiny-shp'; did you mean 'tiny-shop'?"),
        ("tiny-shop", ("--backbone", "resnet18"), 'write backbone = "test_resnet"'),
        ("own.safetensors", ("--backbone", "resnet18"), "is of another architecture: resnet18 needs"),
    ],
)
def test_what_cannot_be_used_is_one_line_with_its_reason(
    shop: Project, name: str, options: tuple[str, ...], reason: str
) -> None:
    outcome = verify(shop, name, *options)
    assert outcome.code == 1
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: trunk -> weights: ")
    assert reason in line
    assert reason in verify(shop, name, *options, "--json").json["problem"]


def verify(shop: Project, name: str, *options: str) -> Outcome:
    """Verify weights from within the project's folder, as a user who names a file there does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(shop.folder)
        return shop.run("weights", "verify", name, *options)


def test_without_a_configuration_packaged_weights_are_listed_all_the_same(
    tmp_path: Path, command: type[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert {row["weights"] for row in command("weights", "list", "--json").json["weights"]} >= {"hub"}
