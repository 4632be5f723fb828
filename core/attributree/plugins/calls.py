"""Asking one plugin, so that a fault in it is known by its name and stops no other plugin.

pluggy collects the hooks of a plugin and checks their arguments. Its own calls would ask all plugins at once, and end
at the first that raises, so each is called by itself here, and traced here: pluggy would not see an import.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

from packaging.utils import canonicalize_name

from ..errors import PluginError, SchemaError
from ..schema import ArticleType, Attribute
from .hookspecs import HOOKS, AnswerError, Augmentation

T = TypeVar("T")
Status = Literal["ok", "disabled", "failed", "skipped"]

#: Longest form in which a trace shows an argument or an answer.
_SHORT: Final = 60


@dataclass(frozen=True)
class PluginInfo:
    """What is known of one plugin.

    `status` is `ok`; `disabled` (never imported); `skipped` (written for another hook API, or not allowed and so never
    imported); or `failed`. Attributes of a failed plugin that no other declares stay in `attributes` and work; `error`
    says what does not.
    """

    name: str
    distribution: str | None = None  # of a one-file plugin: its path
    version: str | None = None
    attributes: tuple[str, ...] = ()
    status: Status = "ok"
    error: str | None = None

    @property
    def label(self) -> str:
        """How messages call the plugin: distribution, version and name."""
        if self.distribution is None:
            return f"plugin {self.name!r}"
        return f"{self.distribution}{f' {self.version}' if self.version else ''} (plugin {self.name!r})"

    @property
    def owner(self) -> str:
        """How records call the plugin: its distribution, or its name if it has none."""
        return self.distribution or self.name

    def answers_to(self, name: str) -> bool:
        """Return whether `name`, as written in `disabled` or `require`, means this plugin."""
        if name == self.name or name == self.distribution:
            return True
        return self.distribution is not None and canonicalize_name(name) == canonicalize_name(self.distribution)


class BrokenError(Exception):
    """A plugin cannot be used; the message is the reason."""

    def __init__(self, reason: str, status: Status = "failed") -> None:
        super().__init__(reason)
        self.status: Status = status


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a hook returned, and the plugin that it is from."""

    plugin: PluginInfo
    value: T


@dataclass(eq=False)
class Plugin:
    """A plugin that was found: `distribution` or `file` is where it is from, `hooks` what it implements once started.

    `hooks` holds by name the function and the names of its arguments.
    """

    info: PluginInfo
    load: Callable[[], object]
    distribution: metadata.Distribution | None = None
    file: Path | None = None
    declared: tuple[Attribute, ...] = ()
    hooks: dict[str, tuple[Callable[..., Any], Collection[str]]] = field(default_factory=dict)

    @cached_property
    def identity(self) -> str:
        """What names the plugin and its version; of a one-file plugin, its content."""
        if self.file is not None:
            return f"{self.file.name} {hashlib.sha256(self.file.read_bytes()).hexdigest()[:12]}"
        return " ".join(filter(None, (self.info.owner, self.info.version)))

    def fail(self, reason: str, status: Status = "failed") -> None:
        """Record that something about it is broken, after what was recorded before."""
        error = f"{self.info.error}; {reason}" if self.info.error else reason
        self.info = replace(self.info, status=status, error=error)

    def error(self, reason: BrokenError) -> PluginError:
        """Return an error that names the plugin."""
        return PluginError(f"{self.info.label}: {reason}")

    def ask(self, hook: Callable[..., T], doing: str = "", **arguments: object) -> T:
        """Return what this plugin answers to `hook`, a specification of hookspecs.py, checked.

        Raises BrokenError, which says in which hook, and `doing` what.
        """
        name = hook.__name__
        function, names = self.hooks[name]
        given = {key: value for key, value in arguments.items() if key in names}
        checked: Callable[[], T] = lambda: HOOKS[name](traced(self.info.label, name, function, **given))  # noqa: E731
        return attempt(f"in {name}{doing}", checked)


def attempt(doing: str, call: Callable[[], T]) -> T:
    """Return `call()`; whatever a plugin raises, `sys.exit` included, becomes a BrokenError with the reason.

    What it prints goes to stderr: stdout belongs to the command, which may be writing JSON. If it changes the current
    folder, that is changed back: paths that were typed are read from there.
    """
    try:
        with redirect_stdout(sys.stderr), _same_folder():
            return call()
    except (KeyboardInterrupt, GeneratorExit, BrokenError):
        raise
    except BaseException as error:
        if _tracing():
            traceback.print_exception(error, file=sys.stderr)
        raise BrokenError(_reason(error, doing)) from error


@contextmanager
def _same_folder() -> Iterator[None]:
    """Come back to the current folder."""
    here = _folder()
    try:
        yield
    finally:
        if here is not None and _folder() != here:
            with suppress(OSError):
                os.chdir(here)


def _folder() -> str | None:
    """Return the current folder, None if it was deleted."""
    try:
        return os.getcwd()  # noqa: PTH109  # asked for every text that a plugin reads
    except OSError:
        return None


def _reason(error: BaseException, doing: str) -> str:
    """Return what happened, in one line, with the place in the plugin's source."""
    if isinstance(error, (SchemaError, AnswerError)):
        return str(error)
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r}) {doing}"
    text = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and not isinstance(error, SyntaxError) else ""
    return f"raised {type(error).__name__}{f': {text}' if text else ''} {doing}{place}"


# -- tracing ---------------------------------------------------------------------------------------


def _tracing() -> bool:
    return os.environ.get("ATTRIBUTREE_TRACE_PLUGINS", "") not in ("", "0")


def traced(label: str, what: str, call: Callable[..., T], **arguments: object) -> T:
    """Return `call(**arguments)`; with ATTRIBUTREE_TRACE_PLUGINS=1 write call, answer and duration to stderr."""
    if not _tracing():
        return call(**arguments)
    start = time.perf_counter()
    try:
        answer = call(**arguments)
        result = _short(answer)
    except BaseException as error:
        result = f"raised {type(error).__name__}"
        raise
    finally:
        given = ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())
        milliseconds = 1000 * (time.perf_counter() - start)
        print(f"trace: {label}: {what}({given}) -> {result} in {milliseconds:.1f} ms", file=sys.stderr)  # noqa: T201
    return answer


def _short(value: object) -> str:
    """Return a value as a trace shows it; of an object that is a plugin's, only its type: its repr may fail."""
    match value:
        case Attribute() | ArticleType():
            text = value.name
        case list() | tuple():
            text = f"[{', '.join(map(_short, value))}]"
        case None | bool() | int() | float() | str() | Path() | Augmentation():
            text = str(value) if isinstance(value, Path) else repr(value)
        case _:
            text = type(value).__name__
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."
