"""A project of the code of schema 0007 upgrades, and its tree predicts the same to the last digit.

`data/former_project.tar.xz` was made by that code: drawn garments of 32 pixels; sync-catalog for the attribute garment,
then for sleeves, tone and mood; then a value of garment got another key and its branch was trained again. So it has
branches of every kind of labels, of the depths block, head and exit, five versions, and stored predictions.
`answers.jsonl` is what `predict fresh/* --article-type top` printed.
"""

import tarfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

from attributree import Workspace
from support.projects import Outcome

FORMER = Path(__file__).parent / "data" / "former_project.tar.xz"


@pytest.fixture
def former(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the project, which is the working directory; its catalogue is not upgraded yet."""
    with tarfile.open(FORMER) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def run(former: Path, command: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Runs a command in the project, with its own plugins alone."""
    installed = {point.dist.name for point in metadata.entry_points(group="attributree") if point.dist}
    environment = {"ATTRIBUTREE_PLUGINS__DISABLED": ",".join(sorted(installed))}
    return lambda *arguments: command(*arguments, env=environment)


def test_a_former_project_predicts_the_same_to_the_last_digit(former: Path, run: Callable[..., Outcome]) -> None:
    assert run("db", "upgrade").code == 0
    photos = sorted(Path("fresh").iterdir())
    outcome = run("predict", *photos, "--article-type", "top")
    assert outcome.out.splitlines() == (former / "answers.jsonl").read_text(encoding="utf-8").splitlines()


def test_a_former_project_keeps_its_versions_and_trains_nothing(former: Path, run: Callable[..., Outcome]) -> None:
    run("db", "upgrade")
    with Workspace.open(former / "plugins.toml") as workspace:
        versions = workspace.registry.versions()
        assert [(version.id, version.live) for version in versions] == [(n, n == 5) for n in range(1, 6)]
        assert list(versions[-1].branches) == ["mood", "sleeves", "tone", "garment"]
        assert workspace.registry.predictions("garment")
    # All is read again, and no rule said that jeans have no sleeves: their plugin names tops and dresses alone.
    plan = run("sync-catalog", "--dry-run", "--json").json["plan"]
    assert {action["action"] for action in plan} == {"evolve"}
    assert run("sync-catalog", "--json").json["results"] == []
    assert run("rollback").code == 0
    assert run("predict", "fresh/120.jpg", "--article-type", "top").lines[0]["value"] == "dress"
