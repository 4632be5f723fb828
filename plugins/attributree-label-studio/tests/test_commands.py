"""The commands, as they are typed, and what they may build on."""

import ast
import json
import os
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from attributree import Workspace
from attributree.cli import main

Shop = Any  # the class is in conftest.py, which cannot be imported

INSTALLED = {point.dist.name for point in metadata.entry_points(group="attributree") if point.dist}
#: What any tool may import of attributree: no database, no connection.
GENERAL = {
    "attributree",
    "attributree.cli",
    "attributree.cli.group",
    "attributree.cli.output",
    "attributree.errors",
    "attributree.labels.records",
    "attributree.labels.writers",
    "attributree.schema",
}


@pytest.fixture
def config(tmp_path: Path, shop: Shop, stock_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with four tops, two of which have gaps."""
    for name in [name for name in os.environ if name.startswith("ATTRIBUTREE_")]:
        monkeypatch.delenv(name)
    file = tmp_path / "plugins.toml"
    others = sorted(INSTALLED - {"attributree-label-studio"})
    file.write_text(f"[plugins]\ndisabled = {json.dumps(others)}\n", encoding="utf-8")
    with Workspace.create(tmp_path) as workspace:
        stock_up(workspace, shop)
    return file


@pytest.fixture
def run(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `attributree ARGUMENTS` and returns exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["attributree", "--config", str(config), *map(str, arguments)])
        code: Any = 0
        try:
            main()
        except SystemExit as done:
            code = done.code or 0
        return code, *capsys.readouterr()

    return run


def test_predictions_of_gaps_are_exported_reviewed_and_imported(
    run: Callable[..., tuple[int, str, str]], config: Path, predict: Callable[..., int]
) -> None:
    with Workspace.open(config) as workspace:
        predict(workspace, "neckline", {"b b.png": ("v_neck", "review"), "c.png": ("crew", "review")})
    file = config.parent / "tasks.json"
    assert json.loads(run("label-studio", "export", file, "--json")[1]) == {
        "file": str(file), "attributes": ["colour", "neckline"], "tasks": 4, "predictions": 2, "annotations": 0,
    }  # fmt: skip
    assert run("label-studio", "export", file, "--only-review", "--reviews", "review") == (
        0, "", f"{file}: 2 tasks with 2 predicted answers, 0 annotations\n",
    )  # fmt: skip
    view = ElementTree.fromstring(run("label-studio", "config")[1])
    assert [choices.get("name") for choices in view.iter("Choices")] == ["colour", "neckline"]
    tasks = json.loads(file.read_text(encoding="utf-8"))
    for number, task in enumerate(tasks, 1):
        result = task["predictions"][0]["result"]
        task["id"] = number
        task["annotations"] = [{"id": 100 + number, "completed_by": {"email": "anna@x.example"}, "result": result}]
    file.write_text(json.dumps(tasks), encoding="utf-8")
    code, out, told = run("label-studio", "import", file)
    assert (code, out) == (0, "")
    assert "2 annotations in 2 tasks, 0 skipped; 2 new observations, 0 known already (source review, rev" in told
    assert "  by anna@x.example 2\n" in told
    assert "anna@x.example" in run("history", "S2")[1]
    with Workspace.open(config) as workspace:
        assert {i: r.values for i, r in workspace.labels.annotations("neckline", [2, 3]).items()} == {
            2: ("v_neck",),
            3: ("crew",),
        }


def test_a_review_of_an_unknown_image_is_told_and_held_back(
    run: Callable[..., tuple[int, str, str]], config: Path
) -> None:
    annotation = {"id": 1, "completed_by": 3, "result": []}
    file = config.parent / "reviews.json"
    file.write_text(json.dumps([{"id": 1, "data": {"image": "gone.jpg"}, "annotations": [annotation]}] * 12))
    assert run("label-studio", "import", file)[0] == 0
    code, _, told = run("--strict", "label-studio", "import", file)
    assert code == 3
    assert "  task 1: gone.jpg: no such image in the catalogue; left out\n" in told
    assert "  and 2 more tasks of unknown images; see --json\n" in told
    (summary,) = json.loads(run("label-studio", "import", file, "--json")[1])["files"]
    assert summary["unknown_images"] == [f"task {number}: gone.jpg" for number in range(1, 13)]


def test_answers_that_cannot_be_read_are_told_with_what_is_nearest(
    run: Callable[..., tuple[int, str, str]], config: Path
) -> None:
    file = config.parent / "reviews.json"
    rows = [{"id": 1, "annotation_id": 9, "annotator": 4, "image": "c.png", "neckline": "crwe"}]
    file.write_text(json.dumps(rows))
    told = run("label-studio", "import", file)[2]
    assert "  neckline: 'crwe' is no known value (1 answers kept); the nearest is crew\n" in told
    assert run("-q", "label-studio", "import", file) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["export", "x.json", "--attribute", "tone"], "'tone' is not declared in the catalogue"),
        (["export", "nowhere/x.json"], "nowhere/x.json cannot be written: No such file or directory"),
        (["import", "nowhere.json"], "nowhere.json: cannot be read: No such file"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    run: Callable[..., tuple[int, str, str]],
    arguments: list[str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    shop: Shop,
) -> None:
    monkeypatch.chdir(shop.folder)
    before = sorted(shop.folder.iterdir())
    code, out, told = run("label-studio", *arguments)
    assert (code, out) == (1, "")
    assert problem in told
    assert told.count("\n") == 1
    assert sorted(shop.folder.iterdir()) == before


def test_every_option_says_what_it_does(run: Callable[..., tuple[int, str, str]]) -> None:
    assert "label-studio  Exchange tasks and reviews with Label Studio.\n" in run("--help")[1]
    for name, option in (("export", "--only-review"), ("config", "--attribute"), ("import", "--source")):
        code, out, _ = run("label-studio", name, "--help")
        assert code == 0
        assert option in out


def test_it_builds_on_what_any_tool_can_use_and_never_on_the_database() -> None:
    found = set()
    for path in (Path(__file__).parents[1] / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module))
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
    assert {name for name in found if name.partition(".")[0] == "attributree"} <= GENERAL
    assert not {name for name in found if name.partition(".")[0] in ("sqlalchemy", "alembic", "torch")}
