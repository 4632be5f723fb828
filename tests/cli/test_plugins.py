"""plugins list, as it is typed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.projects import Project

Command = Callable[..., Any]


def ours(project: Project, document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the project's own plugins by name; those that are installed beside are disabled."""
    folder = str(project.folder)
    return {p["name"]: p for p in document["plugins"] if str(p["distribution"]).startswith(folder)}


def test_plugins_are_listed_with_all_keys(new_project: Callable[..., Project]) -> None:
    project = new_project("garment", "sleeves")
    outcome = project.run("plugins", "list", "--json")
    assert outcome.code == 0
    assert outcome.json.keys() == {"plugins"}
    found = ours(project, outcome.json)
    assert found["garment"] == {
        "name": "garment",
        "distribution": str(project.folder / "plugins" / "garment.py"),
        "version": None,
        "attributes": ["garment"],
        "status": "ok",
        "error": None,
    }
    assert found.keys() == {"garment", "sleeves"}


def test_a_broken_plugin_is_listed_with_its_reason_and_fails_with_strict(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.plugin("torn", "import not_there")
    outcome = project.run("plugins", "list", "--json")
    assert outcome.code == 0
    torn = ours(project, outcome.json)["torn"]
    assert torn["status"] == "failed"
    assert "ModuleNotFoundError: No module named 'not_there' on import" in torn["error"]
    assert ours(project, outcome.json)["garment"]["status"] == "ok"
    table = project.run("plugins", "list")
    assert "torn" in table.out
    assert "not_there" in table.err
    strict = project.run("--strict", "plugins", "list", "--json")
    assert strict.code == 1
    assert ours(project, strict.json)["torn"] == torn
    assert strict.err.startswith("error: ")


def test_other_commands_warn_of_a_broken_plugin_and_go_on(grown: Project) -> None:
    grown.plugin("torn", "import not_there")
    outcome = grown.run("status", "--json")
    assert outcome.code == 0
    assert outcome.json["attributes"].keys() == {"garment", "sleeves"}
    assert outcome.err.startswith(f"warning: {grown.folder}/plugins/torn.py (plugin 'torn') is left out: raised Mod")
    assert grown.run("-q", "status", "--json").err == ""
    strict = grown.run("--strict", "status", "--json")
    assert (strict.code, strict.out) == (1, "")


def test_a_name_in_disabled_that_no_plugin_has_is_told(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.settings(plugins={"disabled": ["garmnt"]})
    assert "warning: plugins -> disabled: no plugin answers to 'garmnt'" in project.run("status").err


def test_plugins_can_be_listed_without_a_configuration(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command("plugins", "list", "--json")
    assert outcome.code == 0
    assert isinstance(outcome.json["plugins"], list)


def test_a_missing_required_plugin_does_not_keep_the_list_away(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.settings(plugins={"require": ["hem"]})
    assert ours(project, project.run("plugins", "list", "--json").json).keys() == {"garment"}
    outcome = project.run("status")
    assert outcome.code == 1
    assert outcome.err == "error: required plugin 'hem' is not there; install it or take it out of `require`\n"
