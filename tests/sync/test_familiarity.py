"""What a branch has not seen goes to review, however sure the branch is of it."""

from typing import Any

import pytest
import torch
from sqlalchemy import create_engine, update

from attributree.database.tables import Branch
from attributree.inference.predict import UNFAMILIAR
from attributree.nn.familiarity import Familiarity
from support.projects import Project


@pytest.fixture
def nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every picture is unlike what any branch learnt from."""
    monkeypatch.setattr(Familiarity, "novelty", lambda _, features: torch.full((len(features),), 1.5))


def predict(project: Project, *options: str) -> list[Any]:
    files = [str(project.photos / row["image"]) for row in project.garments.rows[:60]]
    return project.run("predict", "--attribute", "garment", *options, "--", *files).lines


def test_pictures_like_the_learnt_ones_are_told_apart_from_others(
    grown: Project, request: pytest.FixtureRequest
) -> None:
    before = predict(grown)
    assert sum("novelty" in line for line in before) < 10
    accepted = [line["image"] for line in before if line["decision"] == "accept"]
    assert accepted
    request.getfixturevalue("nothing_is_known")
    after = {line["image"]: line for line in predict(grown)}
    assert {line["decision"] for line in after.values()} <= {"review", "not_applicable"}
    assert all((after[name]["reason"], after[name]["novelty"]) == (UNFAMILIAR, 1.5) for name in accepted)


@pytest.mark.usefixtures("nothing_is_known")
def test_gaps_products_and_evaluation_hold_back_what_is_unlike(grown: Project) -> None:
    gaps = grown.run("predict", "--missing").lines
    assert gaps
    assert {line["decision"] for line in gaps} <= {"review", "not_applicable"}
    assert grown.run("evaluate", "--json").json["attributes"]["garment"]["coverage"] == 0.0
    assert grown.run("evaluate", "--by-product", "--json").json["attributes"]["garment"]["coverage"] == 0.0
    products = grown.run("predict", "--missing", "--by-product").lines
    assert {line["decision"] for line in products} <= {"review", "not_applicable", "error"}
    assert UNFAMILIAR in {line.get("reason") for line in products}


def test_a_branch_of_a_former_version_says_nothing_of_novelty(grown: Project, request: pytest.FixtureRequest) -> None:
    with create_engine(grown.url).begin() as connection:
        connection.execute(update(Branch).values(familiarity=None))
    request.getfixturevalue("nothing_is_known")
    lines = predict(grown)
    assert all("novelty" not in line for line in lines)
    assert "accept" in {line["decision"] for line in lines}


def test_what_a_familiarity_is_stored_in_is_kept_and_checked(grown: Project) -> None:
    with grown.open() as workspace:
        live = workspace.registry.live()
        assert live is not None
        digest = live.branches["garment"].familiarity
        assert digest in workspace.registry.named_parts()
    assert grown.run("gc").code == 0
    assert grown.run("evaluate").code == 0
    path = next(grown.folder.glob(f"artifacts/**/{digest}*"))
    path.write_bytes(b"torn")
    told = grown.run("evaluate", "--json").json["attributes"]
    assert str(digest) in told["garment"]["error"]
    assert told["sleeves"]["n"] > 0


def test_a_finetuned_tree_knows_its_pictures_by_its_own_trunk(grown: Project) -> None:
    before = digests(grown)
    assert {r["status"] for r in grown.run("finetune", "--json").json["results"]} == {"promoted"}
    after = digests(grown)
    assert all(after[name] and after[name] != before[name] for name in before)
    assert sum("novelty" in line for line in predict(grown)) < 10


def digests(project: Project) -> dict[str, str | None]:
    with project.open() as workspace:
        live = workspace.registry.live()
        assert live is not None
        return {name: branch.familiarity for name, branch in live.branches.items()}
