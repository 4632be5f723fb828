"""Loading plugins: one that is broken is reported with its reason, the others work.

    loaded = load_plugins(settings.plugins)
    loaded.attributes["shape"]          # what is declared
    loaded.problems                     # what is broken, and why

Plugins come from the entry-point group `attributree` and from `*.py` files in `plugin_dirs` (`finding`). They are
started (`starting`) and asked (`asking`) in order of name. Nothing is a singleton: each call makes a fresh manager.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import pluggy

from ..errors import PluginError
from ..schema import Attribute
from . import hookspecs
from .allow import refusal
from .answers import as_augmentation, as_commands, as_head, as_loss, as_nothing, as_row, as_rows, as_spelling
from .calls import HOOKS, BrokenError, Plugin, PluginInfo, attempt
from .claims import check_required, owner, settle_names
from .discovery import from_entry_point, from_folder, given, installed
from .hookspecs import Augmentation, Loss
from .start import start

if TYPE_CHECKING:
    import click
    from torch import nn

    from ..reports import SyncReport

__all__ = ["HOOKS", "LoadedPlugins", "PluginInfo", "PluginSelection", "load_plugins"]

T = TypeVar("T")

#: Texts whose meaning is remembered before it is asked for afresh.
_REMEMBERED: Final = 50_000
_END: Final = object()


class PluginSelection(Protocol):
    """Which plugins to load; `attributree.config.PluginSettings` is one."""

    @property
    def disabled(self) -> Sequence[str]: ...
    @property
    def require(self) -> Sequence[str]: ...
    @property
    def plugin_dirs(self) -> Sequence[Path]: ...
    @property
    def allow(self) -> Sequence[str]: ...


@dataclass(frozen=True, eq=False)
class LoadedPlugins:
    """The plugins of one process: what they declare, who declares it and what is broken."""

    attributes: dict[str, Attribute]  # in order of name
    declared_by: dict[str, str]  # attribute -> distribution (or the plugin's name if it has none)
    augmentations: dict[str, Augmentation]  # what may be done to images, for each attribute of which a plugin says so
    manager: pluggy.PluginManager
    unmatched: tuple[str, ...]  # names in `disabled` that no plugin answers to
    _found: tuple[Plugin, ...] = field(repr=False)  # in order of name
    _usable: tuple[Plugin, ...] = field(repr=False)
    _normalized: dict[tuple[str, str], str | None] = field(default_factory=dict, repr=False)  # (attribute, text)

    @property
    def plugins(self) -> tuple[PluginInfo, ...]:
        """All plugins, in order of name."""
        return tuple(plugin.info for plugin in self._found)

    @property
    def problems(self) -> tuple[PluginInfo, ...]:
        """The plugins that failed or were skipped."""
        return tuple(info for info in self.plugins if info.status in ("failed", "skipped"))

    def require_healthy(self) -> None:
        """Raise PluginError naming each plugin that failed or was skipped, and why."""
        if self.problems:
            raise PluginError("\n".join(f"{info.label}: {info.error}" for info in self.problems))

    def branch_head(self, attribute: Attribute, in_features: int) -> nn.Module | None:
        """Return the head that a plugin brings for `attribute`, or None for the standard one.

        The head takes (B, in_features, H, W) float32 and returns (B, attribute.labels.outputs). Raises
        PluginError naming the plugin if its hook raises or returns anything but a module.
        """
        answer = self._first("attributree_branch_head", attribute, as_head, in_features=in_features)
        return answer[1] if answer else None

    def head_owner(self, attribute: Attribute, in_features: int = 512) -> str | None:
        """Return the distribution (or name) of the plugin whose head `branch_head` returns, or None.

        Builds the head to find out, which imports torch and draws random numbers: ask before seeding.
        """
        answer = self._first("attributree_branch_head", attribute, as_head, in_features=in_features)
        return owner(answer[0].info) if answer else None

    def loss(self, attribute: Attribute) -> tuple[str, Loss] | None:
        """Return the loss that a plugin brings for `attribute`, and what messages call the plugin; or None.

        Raises PluginError naming the plugin if its hook raises or returns anything but a loss. It may import torch.
        """
        answer = self._first("attributree_loss", attribute, as_loss)
        return (answer[0].info.label, answer[1]) if answer else None

    def who_is_asked(self, hook: str, attribute: str) -> str:
        """Return the plugins, with their versions, that a hook about an attribute is asked of; "" if there is none.

        Calls none of them, so it is no answer: but as long as it stays the same, the answer does.
        """
        return ", ".join(plugin.identity for plugin in self._asked(hook, attribute))

    def normalize_label(self, attribute: Attribute, text: str) -> str | None:
        """Return what plugins say that `text` means, None if nothing; each different text is asked once.

        Raises PluginError naming the plugin that failed.
        """
        key = (attribute.name, text)
        if key not in self._normalized:
            answer = self._first("attributree_normalize_label", attribute, as_spelling, text=text)
            if len(self._normalized) >= _REMEMBERED:
                self._normalized.clear()
            self._normalized[key] = answer[1] if answer else None
        return self._normalized[key]

    def catalog_rows(self, path: Path) -> Iterator[Mapping[str, object]] | None:
        """Return the rows of a label file that a plugin reads, columns to cells, or None if none of them does.

        Raises PluginError if one fails or yields something else, or several answer.
        """
        found = []
        for plugin in self._implementing("attributree_catalog_source"):
            with _named(plugin):
                rows = plugin.ask("attributree_catalog_source", as_rows, f" for {path}", path=path)
            if rows is not None:
                found.append((plugin, rows))
        if len(found) > 1:
            names = " and ".join(plugin.info.label for plugin, _ in found)
            raise PluginError(f"{path} is read by {names}; name one of them in `disabled` in the [plugins] section")
        return _rows(*found[0], path) if found else None

    def commands(self, taken: Collection[str] = ()) -> tuple[dict[str, click.Command], tuple[str, ...]]:
        """Return the commands that plugins add, by name, and what is wrong with others: one line each.

        Names in `taken` are attributree's own; of two plugins' commands of one name neither is returned.
        """
        claims: dict[str, list[tuple[Plugin, click.Command]]] = {}
        problems = []
        for plugin in self._implementing("attributree_commands"):
            try:
                for command in plugin.ask("attributree_commands", as_commands):
                    claims.setdefault(str(command.name), []).append((plugin, command))
            except BrokenError as error:
                problems.append(f"{plugin.info.label}: {error}")
        for name, claim in claims.items():
            names = " and ".join(dict.fromkeys(plugin.info.label for plugin, _ in claim))
            if name in taken:
                problems.append(f"{names}: the command {name!r} is attributree's own; theirs is left out")
            elif len(claim) > 1:
                problems.append(f"{names}: the command {name!r} is there more than once; none of them is used")
        free = {name: claim[0][1] for name, claim in claims.items() if len(claim) == 1 and name not in taken}
        return dict(sorted(free.items())), tuple(problems)

    def after_sync(self, report: SyncReport) -> tuple[str, ...]:
        """Tell plugins of a sync, each with a copy of `report`; return what went wrong, one line each."""
        problems = []
        for plugin in self._implementing("attributree_after_sync"):
            try:
                plugin.ask("attributree_after_sync", as_nothing, report=copy.deepcopy(report))
            except BrokenError as error:
                problems.append(f"{plugin.info.label}: {error}")
        return tuple(problems)

    def with_attributes(self, own: Mapping[str, Attribute], declared_by: str) -> LoadedPlugins:
        """Return the plugins with attributes that none of them declares, so that they answer for those too."""
        return replace(
            self,
            attributes=dict(sorted({**own, **self.attributes}.items())),
            declared_by={**dict.fromkeys(own, declared_by), **self.declared_by},
            augmentations={**_ask_for_augmentations(self._usable, own), **self.augmentations},
        )

    def _implementing(self, hook: str) -> list[Plugin]:
        return [plugin for plugin in self._usable if hook in plugin.impls]

    def _asked(self, hook: str, attribute: str) -> list[Plugin]:
        return _asked(self._usable, hook, attribute)

    def _first(
        self, hook: str, attribute: Attribute, check: Callable[[Any], T | None], **arguments: object
    ) -> tuple[Plugin, T] | None:
        """Return the first answer about `attribute` that is not None, and whose it is."""
        for plugin in self._asked(hook, attribute.name):
            doing = f" for attribute {attribute.name!r}"
            with _named(plugin):
                answer = plugin.ask(hook, check, doing, attribute=attribute, **arguments)
            if answer is not None:
                return plugin, answer
        return None


def load_plugins(
    settings: PluginSelection | None = None,
    *,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
    extra: Mapping[str, object] | None = None,
) -> LoadedPlugins:
    """Find, load and ask every plugin; failures are kept in `.problems`.

    `entry_points` replaces those that are installed; `extra` adds modules or objects by name. Raises PluginError
    only if a plugin in `settings.require` is missing, disabled or broken.
    """
    disabled, allow = (tuple(settings.disabled), tuple(settings.allow)) if settings else ((), ())
    folders = dict.fromkeys(Path(folder).resolve() for folder in (settings.plugin_dirs if settings else ()))
    found = [
        *(installed() if entry_points is None else map(from_entry_point, entry_points)),
        *(plugin for folder in folders for plugin in from_folder(folder)),
        *(given(name, plugin) for name, plugin in (extra or {}).items()),
    ]
    found.sort(key=lambda plugin: (plugin.info.name, plugin.info.distribution or ""))

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    usable: list[Plugin] = []
    for plugin in found:
        if any(plugin.info.answers_to(name) for name in disabled):
            plugin.info = replace(plugin.info, status="disabled")
            continue
        try:
            if reason := attempt("when its files were checked", partial(refusal, plugin, allow)):
                raise BrokenError(reason, "skipped")
            start(plugin, manager)
        except BrokenError as error:
            plugin.fail(str(error), error.status)
        else:
            usable.append(plugin)

    attributes, declared_by = settle_names(usable)
    attributes = {name: _with_normalizers(usable, attribute) for name, attribute in attributes.items()}
    augmentations = _ask_for_augmentations(usable, attributes)
    infos = tuple(plugin.info for plugin in found)
    check_required(tuple(settings.require) if settings else (), infos)
    unmatched = tuple(name for name in disabled if not any(info.answers_to(name) for info in infos))
    return LoadedPlugins(attributes, declared_by, augmentations, manager, unmatched, tuple(found), tuple(usable))


def _asked(plugins: Sequence[Plugin], hook: str, attribute: str) -> list[Plugin]:
    """Return who is asked a hook about an attribute, in order: its own plugin, then those without attributes."""
    own = [plugin for plugin in plugins if attribute in plugin.info.attributes]
    # A plugin with attributes of its own is not asked about another's: one that forgets to look at
    # `attribute.name` would put its head on every branch of the tree.
    general = [plugin for plugin in plugins if not plugin.declared]
    return [plugin for plugin in (*own, *general) if hook in plugin.impls]


def _with_normalizers(plugins: Sequence[Plugin], attribute: Attribute) -> Attribute:
    """Return an attribute with who normalizes its texts: another version reads all that was said again."""
    asked = _asked(plugins, "attributree_normalize_label", attribute.name)
    return replace(attribute, normalized_by=", ".join(plugin.identity for plugin in asked))


def _ask_for_augmentations(plugins: Sequence[Plugin], attributes: Mapping[str, Attribute]) -> dict[str, Augmentation]:
    """Return what plugins allow to be done to images. One that fails is reported, and allows nothing."""
    found: dict[str, Augmentation] = {}
    hook = "attributree_augmentation"
    for name, attribute in attributes.items():
        for plugin in _asked(plugins, hook, name):
            try:
                answer = plugin.ask(hook, as_augmentation, f" for attribute {name!r}", attribute=attribute)
            except BrokenError as error:
                plugin.fail(f"{error}; it is trained without augmentation")
                answer = Augmentation(flip=False, crop=False)
            if answer is not None:
                found[name] = answer
                break
    return found


@contextmanager
def _named(plugin: Plugin) -> Iterator[None]:
    """Turn what is wrong with a plugin's answer into a PluginError that names it."""
    try:
        yield
    except BrokenError as error:
        raise PluginError(f"{plugin.info.label}: {error}") from error.__cause__


def _rows(plugin: Plugin, rows: Iterator[object], path: Path) -> Iterator[Mapping[str, object]]:
    """Yield a plugin's rows, each checked. Raises PluginError naming plugin, file and row."""
    for number in count(1):
        with _named(plugin):
            doing = f"in attributree_catalog_source at row {number} of {path}"
            row = attempt(doing, lambda: next(rows, _END))
            if row is _END:
                return
            checked = attempt(doing, partial(as_row, row))
        yield checked
