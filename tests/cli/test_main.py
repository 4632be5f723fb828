"""The command line as a whole: help, exit codes, errors, precedence, and what it does not import."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attributree
from attributree.registry.store import RegistryStore
from support.projects import Project

Command = Callable[..., Any]

COMMANDS = {
    "init", "ingest", "status", "db", "plugins", "sync-catalog", "predict", "evaluate", "versions", "promote",
}  # fmt: skip


def test_help_names_every_command(command: Command) -> None:
    outcome = command("--help")
    assert outcome.code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in outcome.out
        assert command(name, "--help").code == 0


def test_version_is_the_packages(command: Command) -> None:
    assert command("--version").out == f"attributree, version {attributree.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("status", "--nonsense"), ("promote",), ("--json", "status"), ("evaluate", "--split", "x")],
)
def test_wrong_usage_is_exit_code_2_and_says_so_on_stderr(command: Command, arguments: tuple[str, ...]) -> None:
    outcome = command(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Error: " in outcome.err


def test_a_reported_error_is_one_line_without_a_traceback(project: Project) -> None:
    process = project.start("promote", "3")
    ended = process.end()
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "error: tree version 3 is not in the catalogue (there: none)\n"


def test_anything_else_keeps_its_traceback(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_: Any) -> Any:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(RegistryStore, "versions", bug)
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        project.run("versions")


def test_without_a_configuration_the_way_out_is_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = command("status")
    assert outcome.code == 1
    assert outcome.err == "error: no plugins.toml here: run `attributree init`, or give --config PATH\n"


def test_the_configuration_is_found_by_option_then_variable_then_here(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    assert project.command("status").code == 0
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text("")
    variable = {"ATTRIBUTREE_CONFIG": str(elsewhere)}
    assert "no catalogue there yet" in project.command("status", env=variable).err
    assert project.run("status", env=variable).code == 0


@pytest.mark.both_databases("the URL is the user's")
def test_the_database_is_taken_from_option_then_variable_then_file(project: Project, tmp_path: Path) -> None:
    def used(*options: str, **variables: str) -> str:
        outcome = project.run(*options, "db", "check", env=variables)
        assert outcome.code == 1
        return outcome.err.partition("sqlite:///")[2].partition(")")[0]

    assert project.run("db", "check").code == 0
    variable = {"ATTRIBUTREE_CATALOG__DATABASE": f"sqlite:///{tmp_path}/variable.db"}
    assert used(**variable) == f"{tmp_path}/variable.db"
    assert used("--database", f"sqlite:///{tmp_path}/option.db", **variable) == f"{tmp_path}/option.db"


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        ("predict a.jpg", "inference.live"),
        ("finetune", "sync.finetune"),
        ("compare", "comparison.run"),
        ("pretrain", "sync.pretrain"),
        ("promote 1", "sync.rollback"),
        ("rollback", "sync.rollback"),
    ],
)
def test_a_wrong_database_is_refused_before_torch_is_imported(
    new_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, arguments: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, f"attributree.{module}", None)  # what imports it now would fail
    outcome = new_project().run("--database", "postgresql+psycopg://mia:sec@ret@host/shop", *arguments.split())
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: database: cannot be read as postgresql+psycopg://USER:PASSWORD@HOST")
    assert "ret" not in outcome.err


def test_settings_come_from_the_environment_too(project: Project) -> None:
    plan = project.run("status", "--json", env={"ATTRIBUTREE_TRAINING__MIN_LABELS": "5000"}).json["plan"]
    assert [action["action"] for action in plan] == ["register", "register", "blocked", "blocked"]
    assert plan[2]["reason"] == "200 of 5000 labels"


QUICK = """
import sys
from attributree.cli import main
sys.argv = ["attributree", *sys.argv[1:]]
try:
    main()
except SystemExit as done:
    code = done.code or 0
loaded = sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "timm", "sklearn"})
print("LOADED", code, loaded, file=sys.stderr)
"""


@pytest.mark.parametrize("command", ["--help", "plugins list", "status", "sync-catalog", "sync-catalog --dry-run"])
def test_commands_that_need_no_network_leave_torch_alone(grown: Project, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", QUICK, "--config", grown.config, *command.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "LOADED 0 []"
