"""Loading plugins: one that is broken is reported with its reason, the others work.

    loaded = load_plugins(settings.plugins)
    loaded.attributes["neckline"]       # what is declared
    loaded.problems                     # what is broken, and why

Plugins come from the entry-point group `attributree` and from `*.py` files in `plugin_dirs` (`finding`). They are
started (`starting`) and asked (`asking`) in order of name. Nothing is a singleton: each call makes a fresh manager.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pluggy

from . import hookspecs
from .asking import HOOKS, BrokenError, Plugin, PluginInfo, as_module, attempt
from .errors import PluginError
from .finding import from_entry_point, from_folder, given, installed
from .schema import Attribute, fold
from .starting import start

if TYPE_CHECKING:
    from torch import nn

__all__ = ["HOOKS", "LoadedPlugins", "PluginInfo", "PluginSelection", "load_plugins"]


class PluginSelection(Protocol):
    """Which plugins to load; `attributree.config.PluginSettings` is one."""

    @property
    def disabled(self) -> Sequence[str]: ...
    @property
    def require(self) -> Sequence[str]: ...
    @property
    def plugin_dirs(self) -> Sequence[Path]: ...


@dataclass(frozen=True, eq=False)
class LoadedPlugins:
    """The plugins of one process: what they declare, who declares it and what is broken."""

    attributes: dict[str, Attribute]  # in order of name
    declared_by: dict[str, str]  # attribute -> distribution (or the plugin's name if it has none)
    plugins: tuple[PluginInfo, ...]  # in order of name
    manager: pluggy.PluginManager
    unmatched: tuple[str, ...]  # names in `disabled` that no plugin answers to
    _usable: tuple[Plugin, ...] = field(repr=False)

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
        answer = self._ask_for_head(attribute, in_features)
        return answer[1] if answer else None

    def head_owner(self, attribute: Attribute, in_features: int = 512) -> str | None:
        """Return the distribution (or name) of the plugin whose head `branch_head` returns, or None.

        Builds the head to find out, which imports torch and draws random numbers: ask before seeding.
        """
        answer = self._ask_for_head(attribute, in_features)
        return _owner(answer[0]) if answer else None

    def _ask_for_head(self, attribute: Attribute, in_features: int) -> tuple[PluginInfo, nn.Module] | None:
        own = [plugin for plugin in self._usable if attribute.name in plugin.info.attributes]
        # A plugin with attributes of its own is not asked about another's: one that forgets to look at
        # `attribute.name` would put its head on every branch of the tree.
        general = [plugin for plugin in self._usable if not plugin.declared]
        for plugin in (*own, *general):
            if "attributree_branch_head" not in plugin.impls:
                continue
            try:
                ask = partial(plugin.call, "attributree_branch_head", attribute=attribute, in_features=in_features)
                head = attempt(f"in attributree_branch_head for attribute {attribute.name!r}", ask)
                if head is not None:
                    return plugin.info, as_module(head)
            except BrokenError as error:
                raise PluginError(f"{plugin.info.label}: {error}") from error.__cause__
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
    disabled = tuple(settings.disabled) if settings else ()
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
            start(plugin, manager)
        except BrokenError as error:
            plugin.fail(str(error), error.status)
        else:
            usable.append(plugin)

    attributes, declared_by = _settle_names(usable)
    infos = tuple(plugin.info for plugin in found)
    _check_required(tuple(settings.require) if settings else (), infos)
    unmatched = tuple(name for name in disabled if not any(info.answers_to(name) for info in infos))
    return LoadedPlugins(attributes, declared_by, infos, manager, unmatched, tuple(usable))


def _owner(info: PluginInfo) -> str:
    return info.distribution or info.name


def _settle_names(plugins: Sequence[Plugin]) -> tuple[dict[str, Attribute], dict[str, str]]:
    """Return the attributes and who declares each. A name that is declared twice is given to nobody.

    Names are compared without regard to case and underscores: people could not tell such columns apart.
    """
    claims: dict[str, list[tuple[Plugin, Attribute]]] = {}
    for plugin in plugins:
        for attribute in plugin.declared:
            claims.setdefault(fold(attribute.name), []).append((plugin, attribute))
    attributes: dict[str, Attribute] = {}
    declared_by: dict[str, str] = {}
    for claim in claims.values():
        if len(claim) == 1:
            ((plugin, attribute),) = claim
            attributes[attribute.name], declared_by[attribute.name] = attribute, _owner(plugin.info)
            continue
        for plugin, attribute in claim:
            others = [f"{rival.info.label} as {name.name!r}" for rival, name in claim if rival is not plugin]
            if others:
                plugin.fail(
                    f"attribute {attribute.name!r} is also declared by {' and '.join(others)}; none of them is used: "
                    "name the others in `disabled` in the [plugins] section"
                )
            else:
                plugin.fail(f"attribute {attribute.name!r} is declared more than once; none of them is used")
    for plugin in plugins:
        names = tuple(a.name for a in plugin.declared if attributes.get(a.name) is a)
        plugin.info = replace(plugin.info, attributes=names)
    return dict(sorted(attributes.items())), dict(sorted(declared_by.items()))


def _check_required(required: Sequence[str], infos: Sequence[PluginInfo]) -> None:
    """Raise PluginError naming every required plugin that is missing, disabled or broken."""
    lines: list[str] = []
    for name in required:
        matching = [info for info in infos if info.answers_to(name)]
        if not matching:
            lines.append(f"required plugin {name!r} is not there; install it or take it out of `require`")
        lines += [
            f"required plugin {name!r}: {info.label} is {info.status}{f': {info.error}' if info.error else ''}"
            for info in matching
            if info.status != "ok"
        ]
    if lines:
        raise PluginError("\n".join(lines))
