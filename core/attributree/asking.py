"""Asking one plugin, so that what goes wrong in it is known by its name and stops nobody else."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, cast

import pluggy
from packaging.utils import canonicalize_name

from .errors import SchemaError
from .schema import Attribute

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
Status = Literal["ok", "disabled", "failed", "skipped"]

HOOKS: Final = ("attributree_api", "attributree_attributes", "attributree_branch_head")


@dataclass(frozen=True)
class PluginInfo:
    """What is known of one plugin.

    `status` is `ok`; `disabled` (never imported); `skipped` (written for another hook API); or `failed`. What a
    failed plugin declared and nobody disputes stays in `attributes` and works; `error` says what does not.
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
    """A plugin on its way from being found to being used."""

    info: PluginInfo
    load: Callable[[], object]
    declared: tuple[Attribute, ...] = ()
    impls: dict[str, pluggy.HookImpl] = field(default_factory=dict)  # hook -> implementation

    def fail(self, reason: str, status: Status = "failed") -> None:
        """Note that something about it is broken, beside what was before."""
        error = f"{self.info.error}; {reason}" if self.info.error else reason
        self.info = replace(self.info, status=status, error=error)

    def call(self, hook: str, **arguments: object) -> Any:
        """Call one hook of this plugin alone, so that nobody else's failure or wrapper comes between."""
        impl = self.impls[hook]
        # pluggy leaves out arguments that the plugin gave a default; here they are passed as well.
        wanted = (*impl.argnames, *impl.kwargnames)
        return impl.function(**{name: value for name, value in arguments.items() if name in wanted})


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
        if os.environ.get("ATTRIBUTREE_TRACE_PLUGINS"):
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


def as_module(head: object) -> nn.Module:
    """Return `head` if it is a torch module. Raises BrokenError; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(head, torch.nn.Module):
        raise BrokenError(f"attributree_branch_head returned {type(head).__name__}, not a torch.nn.Module")
    return cast("nn.Module", head)
