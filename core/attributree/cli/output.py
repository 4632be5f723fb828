"""What people see: tables on stdout, progress and messages on stderr, JSON instead of both."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from ..jsonable import jsonable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


def console(*, stderr: bool = False) -> Console:
    """Return a console; where there is no terminal it is wide enough not to break tables."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else 140)


def quiet() -> bool:
    """Return whether only errors and results are wanted: the option --quiet of the command that runs."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("quiet"))


def say(message: str, *, always: bool = False) -> None:
    """Write a line for the person at the terminal to stderr; nothing parses it. With --quiet only if `always`.

    A stderr that cannot be written, on a full disk for one, must not end a training of hours: the line is dropped.
    """
    if always or not quiet():
        with suppress(OSError):
            click.echo(message, err=True)


def print_json(document: object) -> None:
    """Write one JSON document to stdout; `document` is anything that `jsonable` takes."""
    click.echo(json.dumps(jsonable(document), ensure_ascii=False, indent=2))


def emit(document: object, as_json: bool, show: Callable[[Any], None]) -> None:
    """Write what a command found: as JSON to stdout, or as `show` writes the same data for people."""
    if as_json:
        print_json(document)
    else:
        show(jsonable(document))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table to stdout; numbers and columns whose name ends in a blank are aligned to the right."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), title_justify="left", title_style="bold", header_style="bold")
    rows = [list(row) for row in rows]
    for i, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], (int, float, type(None))) for row in rows)
        right = numeric or column.endswith(" ")
        table.add_column(column.rstrip(), justify="right" if right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(cell)) for cell in row))
    console().print(table)


def minute(time: datetime) -> str:
    """Return a time as tables show it."""
    return f"{time:%Y-%m-%d %H:%M}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)


class Reporter:
    """Progress on stderr: bars on a terminal, a plain line for each step that took over a second elsewhere.

    Call it with (what, done, of how many).
    """

    def __init__(self) -> None:
        self._quiet = quiet()
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._started: dict[str, float] = {}

    def __enter__(self) -> Self:
        if not self._quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bars = Progress(*columns, console=console(stderr=True), transient=True)
            self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, what: str, done: int, of: int) -> None:
        if self._quiet:
            return
        if self._bars:
            self._advance(self._bars, what, done, of)
            if done >= of:
                self._bars.remove_task(self._tasks.pop(what))
            return
        start = self._started.setdefault(what, time.monotonic())
        if done >= of:
            seconds = time.monotonic() - self._started.pop(what, start)
            if seconds >= 1:
                say(f"  {what}: {of} in {seconds:.0f} s")

    def count(self, what: str, done: int) -> None:
        """Report progress of something whose end is not known."""
        if self._bars:
            self._advance(self._bars, what, done, None)

    def _advance(self, bars: Progress, what: str, done: int, of: int | None) -> None:
        if what not in self._tasks:
            self._tasks[what] = bars.add_task(what, total=of)
        bars.update(self._tasks[what], completed=done, total=of)

    def line(self, message: str) -> None:
        """Write a message above the bars."""
        if self._bars:
            self._bars.console.print(message, markup=False, highlight=False)
        else:
            say(message)
