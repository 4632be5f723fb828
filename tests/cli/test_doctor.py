"""plugins doctor, as it is typed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.projects import Project

Command = Callable[..., Any]

TELLS_ITS_API = """\
@hookimpl
def attributree_api():
    return ">=1,<2"
"""


@pytest.fixture
def healthy(new_project: Callable[..., Project]) -> Project:
    """A project with one plugin, and not a thing wrong with it."""
    project = new_project()
    for name in ("garment", "sleeves", "tone"):
        project.plugin(name, more=TELLS_ITS_API)
    return project


def findings(project: Project) -> set[tuple[str, str]]:
    """Return severity and place of all findings."""
    document = project.run("plugins", "doctor", "--json").json
    assert document.keys() == {"plugins", "findings"}
    return {(finding["severity"], finding["where"]) for finding in document["findings"]}


def test_nothing_wrong_is_told_in_one_line(healthy: Project) -> None:
    outcome = healthy.run("--strict", "plugins", "doctor")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.endswith("looked at: all is well\n")
    assert healthy.run("-q", "plugins", "doctor").err == ""


def test_an_error_ends_with_one_and_says_what_to_type(healthy: Project) -> None:
    healthy.plugin("torn", "import not_there")
    outcome = healthy.run("plugins", "doctor")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert lines[0].startswith(f"error: {healthy.folder}/plugins/torn.py (plugin 'torn'): raised ModuleNotFoundError")
    assert lines[1] == '    mend it, or leave it out: disabled = ["torn"] in the [plugins] section'
    assert outcome.err.endswith("looked at: 1 error\nerror: 1 of the findings is an error\n")
    assert findings(healthy) == {("error", f"{healthy.folder}/plugins/torn.py (plugin 'torn')")}


def test_a_head_of_the_wrong_size_is_found_before_any_training(healthy: Project) -> None:
    head = """\
@hookimpl
def attributree_branch_head(attribute, in_features):
    from attributree.heads import LinearHead
    return LinearHead(in_features, 7)
"""
    healthy.plugin("tone", more=TELLS_ITS_API + head)
    assert findings(healthy) == {("error", "head of tone")}
    healthy.settings(attributes_tone={"head": "attention"})
    assert findings(healthy) == {("note", "attributes -> tone -> head")}


def test_a_warning_ends_with_three_if_strict_was_given(healthy: Project) -> None:
    healthy.settings(attributes_tnoe={"depth": "head"})
    assert healthy.run("plugins", "doctor").code == 0
    assert healthy.run("--strict", "plugins", "doctor").code == 3
    assert findings(healthy) == {("warning", "attributes -> tnoe")}


def test_what_is_required_and_missing_is_a_finding_among_others(healthy: Project) -> None:
    healthy.settings(plugins={"require": ["hem"], "strict": True})
    healthy.plugin("torn", "import not_there")
    outcome = healthy.run("plugins", "doctor", "--json")
    assert outcome.code == 1
    assert [finding["what"] for finding in outcome.json["findings"]][1] == "required plugin 'hem' is not there"


def test_without_a_configuration_the_plugins_alone_are_looked_at(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command("plugins", "doctor", "--json")
    assert outcome.code == 0
    places = {finding["where"]: finding["what"] for finding in outcome.json["findings"]}
    assert "run `attributree init`" in places["catalogue"]
    assert list(tmp_path.iterdir()) == []
