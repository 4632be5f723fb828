"""Helpers say what this process would say, also when they die."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from attributree.images import headers, helpers
from attributree.images.headers import ImageHeader, plain_file
from attributree.images.helpers import Helpers


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Paths of pictures, and of whatever else may lie where a picture should."""
    Image.new("RGB", (40, 30)).save(tmp_path / "plain.png")
    Image.new("RGB", (20, 10)).save(tmp_path / "plain é.jpg")
    Image.new("RGB", (4, 3)).save(tmp_path / "odd.webp")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "plain.png")
    os.mkfifo(tmp_path / "pipe.png")
    others = ["missing.png", "folder.png/x.png", "x" * 300 + ".png", "null\0.png", "half \udcff pair.png"]
    return [f"{tmp_path}/{name}" for name in [*(path.name for path in tmp_path.iterdir()), *others]]


def test_a_plain_picture_in_a_plain_file_is_known_and_nothing_else_is_followed_or_waited_for(files: list[str]) -> None:
    known = {Path(file).name: header for file in files if (header := plain_file(file))}
    assert {name: header[:3] for name, header in known.items()} == {
        "plain.png": (40, 30, "PNG"),
        "plain é.jpg": (20, 10, "JPEG"),
    }
    plain = next(file for file in files if file.endswith("plain.png"))
    found = os.lstat(plain)
    assert known["plain.png"] == ImageHeader(40, 30, "PNG", found.st_size, found.st_mtime_ns)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_answers_are_those_of_this_process_in_the_order_of_the_questions(files: list[str], count: int) -> None:
    lists = [files[start:] + files[:start] for start in range(len(files))] + [[]]
    with Helpers(count) as asked:
        answers = [asked.plain_files(paths) for paths in lists]
        assert len(asked._helpers) == count
        assert [answer.result() for answer in answers] == [[*map(plain_file, paths)] for paths in lists]
    assert all(helper._process.returncode is not None for helper in asked._helpers)


def test_few_files_start_no_process(files: list[str]) -> None:
    with Helpers(3) as asked:
        for _ in range(helpers._ALONE):
            assert asked.plain_files(files).done()
        assert not asked._helpers


def test_a_helper_that_dies_costs_no_answer(files: list[str]) -> None:
    with Helpers(1) as asked:
        for _ in range(helpers._ALONE + 1):
            asked.plain_files(files).result()
        (helper,) = asked._helpers
        os.kill(helper._process.pid, signal.SIGKILL)
        for _ in range(3):
            assert asked.plain_files(files).result() == [*map(plain_file, files)]


def test_nothing_to_look_at_needs_no_process() -> None:
    with Helpers(3) as asked:
        assert [asked.plain_files([]).result() for _ in range(9)] == [[]] * 9
        assert not asked._helpers


@pytest.mark.parametrize("error", [MemoryError, ValueError, EOFError])
def test_an_answer_that_cannot_be_read_is_found_here(
    files: list[str], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def garbled(*_: Any) -> None:
        raise error

    monkeypatch.setattr(headers, "receive", garbled)
    with Helpers(1) as asked:
        for _ in range(helpers._ALONE + 3):
            assert asked.plain_files(files).result() == [*map(plain_file, files)]


def test_no_thread_more_is_no_error(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    with Helpers(1) as asked:
        answers = [asked.plain_files(files) for _ in range(4)]
        assert [answer.result() for answer in answers] == [[*map(plain_file, files)]] * 4


def test_no_process_more_is_no_error(files: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refused)
    with Helpers(2) as asked:
        answers = [asked.plain_files(files) for _ in range(4)]
        assert [answer.result() for answer in answers] == [[*map(plain_file, files)]] * 4


def test_what_nobody_waits_for_any_more_is_not_looked_at(files: list[str]) -> None:
    with Helpers(1) as asked:
        for _ in range(helpers._ALONE):
            asked.plain_files(files)
        answers = [asked.plain_files(files * 10_000) for _ in range(2)]
    (helper,) = asked._helpers
    assert helper._process.returncode == -signal.SIGKILL
    assert answers[1].cancelled() or answers[1].result() == []


def test_a_helper_ends_with_the_process_that_it_helps(files: list[str]) -> None:
    program = f"""
import os, signal
from attributree.images.helpers import Helpers
asked = Helpers(1)
for _ in range(3):
    asked.plain_files({[file for file in files if file.isascii() and chr(0) not in file]!r}).result()
print(asked._helpers[0]._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # The helper has the same standard error, which ends when both are gone.
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == -signal.SIGKILL
    assert run.stderr == ""
    assert int(run.stdout) > 0
