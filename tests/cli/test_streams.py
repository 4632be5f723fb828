"""stdout: in UTF-8, for what the command finds and nothing else, and a line where it cannot be written."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import pytest

from attributree.cli.output import say
from support.projects import Project, clean_environment

MAIN = "from attributree.cli import main; main()"
NOISY = """
import os, sys
from attributree import hookimpl

os.write(1, b"to descriptor 1\\n")
os.system("echo from a process")
print("past us", file=sys.__stdout__, flush=True)
print("printed")
os.chdir("/")

@hookimpl
def attributree_after_sync(report):
    pass
"""


def start(folder: Path, *arguments: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a process of its own, in a folder; `shell` redirects its streams."""
    return subprocess.run(
        ["/bin/sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-c", MAIN, *arguments],
        cwd=folder,
        env={**clean_environment(), **environment},
        capture_output=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def created(new_project: Callable[..., Project]) -> Project:
    """A project with an empty catalogue."""
    project = new_project()
    assert project.command("init", project.folder).code == 0
    return project


def test_what_plugins_write_to_stdout_and_the_folder_they_go_to_change_nothing(created: Project) -> None:
    created.plugin("noisy", NOISY)
    created.labels([{"image": "none.jpg", "title": "a"}])
    done = start(created.folder, "ingest", "labels.csv", "--json")  # a path that is read after the plugin was imported
    assert json.loads(done.stdout)["files"][0]["rows"] == 1
    assert sorted(done.stderr.decode().splitlines()) == ["from a process", "past us", "printed", "to descriptor 1"]


def test_an_export_to_stdout_is_utf8_whatever_the_environment_says(created: Project) -> None:
    created.run("ingest", created.labels([{"image": "größe.png", "title": "Größe → 42 ✂"}]))
    done = start(created.folder, "export", "-", "--format", "csv", PYTHONIOENCODING="cp1252", LC_ALL="C")
    assert done.returncode == 0
    assert "größe.png,größe.png,,Größe → 42 ✂" in done.stdout.decode("utf-8")
    assert (b"\r\n" in done.stdout, b"\r\r\n" in done.stdout) == (True, False)
    (created.folder / "again.csv").write_bytes(done.stdout)
    assert created.run("ingest", created.folder / "again.csv", "--json").json["files"][0]["images_new"] == 0


@pytest.mark.parametrize(
    ("shell", "reason"),
    [
        (">/dev/full", "No space left on device"),
        (">&-", "Bad file descriptor"),
        ("2>said | true; cat said >&2; exit 1", "Broken pipe"),
    ],
)
def test_a_stdout_that_cannot_be_written_is_one_line(tmp_path: Path, shell: str, reason: str) -> None:
    done = start(tmp_path, "--version", shell=shell)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"error: stdout cannot be written: {reason}\n"


def test_a_command_that_writes_nothing_works_with_all_streams_closed(created: Project) -> None:
    assert start(created.folder, "db", "check", shell="<&- >&- 2>&-").returncode == 0


def test_a_stderr_that_cannot_be_written_loses_a_line_and_no_work() -> None:
    class Full(StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    with redirect_stderr(Full()):
        say("a line", always=True)
