"""Asking one plugin, so that what goes wrong in it is known by its name and stops nobody else."""

from __future__ import annotations

import hashlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import pluggy
from packaging.utils import canonicalize_name

from ..errors import SchemaError
from ..schema import Attribute
from .hookspecs import Augmentation

T = TypeVar("T")
Status = Literal["ok", "disabled", "failed", "skipped"]

HOOKS: Final = (
    "attributree_api",
    "attributree_attributes",
    "attributree_branch_head",
    "attributree_loss",
    "attributree_augmentation",
    "attributree_normalize_label",
    "attributree_catalog_source",
    "attributree_commands",
    "attributree_after_sync",
)
#: Longest form in which a trace shows an argument or an answer.
_SHORT: Final = 60


@dataclass(frozen=True)
class PluginInfo:
    """What is known of one plugin.

    `status` is `ok`; `disabled` (never imported); `skipped` (written for another hook API, or not allowed and so never
    imported); or `failed`. What a failed plugin declared and nobody disputes stays in `attributes` and works; `error`
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

    def answers_to(self, name: str) -> bool:
        """Return whether `name`, as written in `disabled` or `require`, means this plugin."""
        if name == self.name or name == self.distribution:
            return True
        return self.distribution is not None and canonicalize_name(name) == canonicalize_name(self.distribution)

    def to_json(self) -> dict[str, Any]:
        """Return the plugin as `plugins list --json` shows it."""
        return {**asdict(self), "attributes": list(self.attributes)}


class BrokenError(Exception):
    """A plugin cannot be used; the message is the reason."""

    def __init__(self, reason: str, status: Status = "failed") -> None:
        super().__init__(reason)
        self.status: Status = status


@dataclass(eq=False)
class Plugin:
    """A plugin on its way from being found to being used: `distribution` or `file` is where it is from."""

    info: PluginInfo
    load: Callable[[], object]
    distribution: metadata.Distribution | None = None
    file: Path | None = None
    declared: tuple[Attribute, ...] = ()
    impls: dict[str, pluggy.HookImpl] = field(default_factory=dict)  # hook -> implementation

    @cached_property
    def identity(self) -> str:
        """What names the plugin and its version; of a one-file plugin, its content."""
        if self.file is not None:
            return f"{self.file.name} {hashlib.sha256(self.file.read_bytes()).hexdigest()[:12]}"
        return " ".join(filter(None, (self.info.distribution or self.info.name, self.info.version)))

    def fail(self, reason: str, status: Status = "failed") -> None:
        """Note that something about it is broken, beside what was before."""
        error = f"{self.info.error}; {reason}" if self.info.error else reason
        self.info = replace(self.info, status=status, error=error)

    def ask(self, hook: str, check: Callable[[Any], T], doing: str = "", **arguments: object) -> T:
        """Return what one hook of this plugin alone answers, so that nobody else's failure comes between.

        `check` turns the answer into what is wanted, reading it to its end. Raises BrokenError, saying what happened
        `doing` what.
        """
        impl = self.impls[hook]
        # pluggy leaves out arguments that the plugin gave a default; here they are passed as well.
        wanted = (*impl.argnames, *impl.kwargnames)
        given = {name: value for name, value in arguments.items() if name in wanted}

        def answer() -> T:
            return check(traced(self.info.label, hook, impl.function, **given))

        return attempt(f"in {hook}{doing}", answer)


def traced(label: str, what: str, call: Callable[..., T], **arguments: object) -> T:
    """Return `call(**arguments)`; with ATTRIBUTREE_TRACE_PLUGINS=1 stderr says what was called, and what came of it."""
    if not tracing():
        return call(**arguments)
    said, start = "raised", time.perf_counter()
    try:
        answer = call(**arguments)
        said = _short(answer)
    except BaseException as error:
        said = f"raised {type(error).__name__}"
        raise
    finally:
        given = ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())
        milliseconds = 1000 * (time.perf_counter() - start)
        print(f"trace: {label}: {what}({given}) -> {said} in {milliseconds:.1f} ms", file=sys.stderr)  # noqa: T201
    return answer


def tracing() -> bool:
    """Return whether hook calls are to be shown."""
    return os.environ.get("ATTRIBUTREE_TRACE_PLUGINS", "") not in ("", "0")


def _short(value: object) -> str:
    """Return a value as a trace shows it; of an object that is a plugin's, only its type: its repr may fail."""
    match value:
        case Attribute():
            text = value.name
        case list() | tuple():
            text = f"[{', '.join(map(_short, value))}]"
        case None | bool() | int() | float() | str() | Path() | Augmentation():
            text = str(value) if isinstance(value, Path) else repr(value)
        case _:
            text = type(value).__name__
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..."


def attempt(doing: str, call: Callable[[], T]) -> T:
    """Return `call()`; whatever a plugin raises, `sys.exit` included, becomes a BrokenError with the reason.

    What it prints goes to stderr: stdout belongs to the command, which may be writing JSON.
    """
    try:
        with redirect_stdout(sys.stderr):
            return call()
    except (KeyboardInterrupt, GeneratorExit, BrokenError):
        raise
    except BaseException as error:
        if tracing():
            traceback.print_exception(error, file=sys.stderr)
        raise BrokenError(_reason(error, doing)) from error


def _reason(error: BaseException, doing: str) -> str:
    """Return what happened, in one line, with the place in the plugin's source."""
    if isinstance(error, SchemaError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code!r}) {doing}"
    text = " ".join(str(error).split())[:300]
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames and not isinstance(error, SyntaxError) else ""
    return f"raised {type(error).__name__}{f': {text}' if text else ''} {doing}{place}"
