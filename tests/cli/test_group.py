"""What plugins add to the command line: commands, and formats that ingest reads."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.projects import Project

COMMANDS = """
import click
from attributree import hookimpl

@click.command()
@click.argument("name")
@click.pass_obj
def {name}(options, name):
    "Say who is there."
    with options.workspace() as workspace:
        click.echo(f"{{name}}: {{', '.join(workspace.plugins.attributes)}}")

@hookimpl
def attributree_commands():
    return [{name}]
"""
FEED = """
import json
from attributree import hookimpl

@hookimpl
def attributree_catalog_source(path):
    return rows(path) if path.suffix == ".json" else None

def rows(path):
    for product in json.loads(path.read_text())["products"]:
        yield {"image": product["photo"], "garment": product["kind"]}
"""


def test_a_plugins_command_is_listed_and_runs_with_the_options_before_it(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.plugin("greeting", COMMANDS.format(name="greet"))
    assert "greet         Say who is there.\n" in project.run("--help").out
    outcome = project.run("greet", "shop")
    assert (outcome.code, outcome.out) == (0, "shop: garment\n")
    assert "attributree greet [OPTIONS] NAME\n" in project.run("greet", "--help").out


def test_an_own_command_starts_without_any_plugin(project: Project) -> None:
    project.plugin("greeting", "raise AssertionError('was imported')")
    assert project.run("db", "current").code == 0
    assert project.run("status", "--help").err == ""


def test_a_command_never_takes_the_place_of_an_own_one_or_of_another_plugins(
    new_project: Callable[..., Project],
) -> None:
    project = new_project("garment")
    for plugin, name in (("sly", "versions"), ("one", "greet"), ("two", "greet")):
        project.plugin(plugin, COMMANDS.format(name=name))
    assert "attributree versions [OPTIONS]\n\n  List the tree versions" in project.run("versions", "--help").out
    outcome = project.run("greet", "shop")
    assert outcome.code == 2
    assert "sly.py (plugin 'sly'): the command 'versions' is attributree's own; theirs is left out" in outcome.err
    assert "(plugin 'two'): the command 'greet' is there more than once; none of them is used" in outcome.err
    listed = project.run("plugins", "list")
    assert listed.code == 0
    assert "warning: " in listed.err
    strict = project.run("--strict", "plugins", "list")
    assert strict.code == 1
    assert "the command 'versions' is attributree's own" in strict.err


def test_a_broken_plugin_or_configuration_never_keeps_help_away(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.plugin("torn", "import not_there")
    outcome = project.run("--help")
    assert outcome.code == 0
    assert "sync-catalog" in outcome.out
    assert "(plugin 'torn') is left out: raised ModuleNotFoundError" in outcome.err
    project.config.write_text("[plugins]\nallow = ['anything']\n")
    outcome = project.run("--help")
    assert outcome.code == 0
    assert "sync-catalog" in outcome.out
    assert "warning: the commands of plugins are left out: " in outcome.err


def test_help_with_plugins_imports_no_torch(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.plugin("greeting", COMMANDS.format(name="greet"))
    code = (
        "import sys\nfrom attributree.cli import cli\n"
        "cli(sys.argv[1:], standalone_mode=False)\n"
        "print(sorted({'torch', 'sqlalchemy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, "--config", str(project.config), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "greet" in done.stdout
    assert done.stdout.endswith("[]\n")


def test_ingest_reads_a_format_that_a_plugin_brings(new_project: Callable[..., Project]) -> None:
    project = new_project("garment")
    project.plugin("feed", FEED)
    photos = sorted(path.name for path in project.photos.iterdir())[:3]
    file: Path = project.folder / "products.json"
    file.write_text(json.dumps({"products": [{"photo": photo, "kind": "top"} for photo in photos]}))
    outcome = project.run("ingest", file, "--images", project.photos, "--json")
    assert outcome.code == 0
    (summary,) = outcome.json["files"]
    assert (summary["rows"], summary["observations_new"]) == (3, 3)
    file.write_text(json.dumps({"products": [{"photo": photos[0], "kind": "dress"}, {"kind": "top"}]}))
    broken = project.run("ingest", file, "--images", project.photos)
    assert broken.code == 1
    assert f"raised KeyError: 'photo' in attributree_catalog_source at row 2 of {file}" in broken.err
    assert project.run("status", "--json").json["observations"] == 3
    other = project.run("ingest", project.photos / photos[0])
    assert other.code == 1
    assert "or what a plugin reads, and none reads this one" in other.err


@pytest.mark.parametrize("strict", [False, True])
def test_a_normalizer_that_fails_is_a_warning_or_an_error_with_strict(
    new_project: Callable[..., Project], caplog: pytest.LogCaptureFixture, strict: bool
) -> None:
    project = new_project()
    project.plugin("garment", more="\n@hookimpl\ndef attributree_normalize_label(text):\n    raise ValueError(text)\n")
    project.run("sync-catalog", "--no-train")
    photo = sorted(project.photos.iterdir())[0].name
    file = project.labels([{"image": photo, "garment": "tpo"}])
    outcome = project.run(*(["--strict"] if strict else []), "ingest", file, "--images", project.photos)
    said = "raised ValueError: tpo in attributree_normalize_label for attribute 'garment'"
    assert said in (outcome.err if strict else caplog.text)
    assert outcome.code == int(strict)
    if not strict:
        assert "'tpo' is no known value" in outcome.out + outcome.err
    assert project.run("status", "--json").json["observations"] == int(not strict)
