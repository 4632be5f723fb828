"""Seconds outlive the process that counted them."""

from pathlib import Path

import pytest

from attributree.comparison import stopwatch
from attributree.comparison.stopwatch import Stopwatch


class Clock:
    """Time that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    return clock


def test_parts_are_counted_by_name(tmp_path: Path, clock: Clock) -> None:
    watch = Stopwatch(tmp_path / "run")
    for name, seconds in (("trunk", 3.0), ("branch", 2.0)):
        with watch.part(name):
            clock.now += seconds
        clock.now += 50
    assert (watch.seconds("trunk"), watch.seconds("branch")) == (3.0, 2.0)
    assert not watch.resumed


def test_a_finished_part_that_is_loaded_again_keeps_its_seconds(tmp_path: Path, clock: Clock) -> None:
    with Stopwatch(tmp_path).part("trunk"):
        clock.now += 3
    again = Stopwatch(tmp_path)
    with again.part("trunk"):
        clock.now += 9
    assert again.seconds("trunk") == 3.0
    assert again.resumed


def test_a_killed_part_goes_on_counting_where_it_was_last_written(tmp_path: Path, clock: Clock) -> None:
    told: list[int] = []
    watch = Stopwatch(tmp_path)
    tick = watch.ticking(lambda what, done, of: told.append(done))
    running = watch.part("trunk")
    running.__enter__()
    for epoch in (1, 2, 3):
        clock.now += 4
        tick("trunk", epoch, 10)  # written at 4 and, five seconds being over, at 12
    clock.now += 1
    again = Stopwatch(tmp_path)  # as another process would, the first one being gone
    with again.part("trunk"):
        clock.now += 2
    assert told == [1, 2, 3]
    assert again.seconds("trunk") == 14.0


def test_a_part_that_raises_is_not_finished(tmp_path: Path, clock: Clock) -> None:
    watch = Stopwatch(tmp_path)

    def fail() -> None:
        with watch.part("trunk"):
            clock.now += 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    with watch.part("trunk"):
        clock.now += 2
    assert watch.seconds("trunk") == 5.0


def test_a_torn_file_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "seconds.json").write_text('{"trunk": [3')
    assert not Stopwatch(tmp_path).resumed
