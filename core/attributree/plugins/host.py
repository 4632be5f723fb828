"""Loading plugins and asking them: one that is broken is reported with its reason, the others work.

    loaded = load_plugins(settings.plugins)
    loaded.attributes["shape"]                                      # what is declared
    loaded.first(attributree_loss, loaded.attributes["shape"])      # what plugins answer
    loaded.problems                                                 # what is broken, and why

Plugins come from the entry-point group `attributree` and from `*.py` files in `plugin_dirs` (discovery.py). They are
started and asked in order of name. Nothing is a singleton: each call makes a fresh manager.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from itertools import count
from pathlib import Path
from typing import Final, Protocol, TypeVar

import pluggy
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from ..errors import PluginError
from ..schema import ArticleType, Attribute
from . import hookspecs
from .calls import Answer, BrokenError, Plugin, PluginInfo, attempt, traced
from .claims import check_required, settle_names
from .discovery import from_entry_point, from_folder, installed, refusal
from .hookspecs import HOOKS, Augmentation

T = TypeVar("T")

_END: Final = object()


class PluginSelection(Protocol):
    """Which plugins to load; `settings.models.PluginSettings` is one."""

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
    article_types: dict[str, tuple[ArticleType, ...]]  # what plugins know and their attributes name, by owner
    unmatched: tuple[str, ...]  # names in `disabled` that no plugin answers to
    _found: tuple[Plugin, ...] = field(repr=False)  # in order of name
    _usable: tuple[Plugin, ...] = field(repr=False)

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

    def first(self, hook: Callable[..., T | None], attribute: Attribute, **arguments: object) -> Answer[T] | None:
        """Return the first answer to a hook about `attribute` that is not None, or None if there is none.

        `hook` is a specification of hookspecs.py, `arguments` the others that it names. Raises PluginError naming the
        plugin if it fails or returns something else than the hook promises.
        """
        for plugin in _asked(self._usable, hook, attribute.name):
            try:
                value = plugin.ask(hook, f" for attribute {attribute.name!r}", attribute=attribute, **arguments)
            except BrokenError as error:
                raise plugin.error(error) from error.__cause__
            if value is not None:
                return Answer(plugin.info, value)
        return None

    def each(self, hook: Callable[..., T], doing: str = "", **arguments: object) -> tuple[list[Answer[T]], list[str]]:
        """Return what all plugins answer to `hook`, and what went wrong in others: one line each.

        Each plugin gets its own copy of `arguments`. `doing` goes into what is said of a failure.
        """
        answers, problems = [], []
        for plugin in self._usable:
            if hook.__name__ in plugin.hooks:
                try:
                    answers.append(Answer(plugin.info, plugin.ask(hook, doing, **copy.deepcopy(arguments))))
                except BrokenError as error:
                    problems.append(str(plugin.error(error)))
        return answers, problems

    def who_is_asked(self, hook: Callable[..., object], attribute: str) -> str:
        """Return the plugins, with their versions, that a hook about an attribute is asked of; "" if there is none.

        Calls none of them: as long as this text stays the same, so does the answer.
        """
        return _names(_asked(self._usable, hook, attribute))

    def catalog_rows(self, path: Path) -> Iterator[Mapping[str, object]] | None:
        """Return the rows of a label file that a plugin reads, columns to cells, or None if no plugin reads it.

        Raises PluginError if one fails or yields something else, or several answer.
        """
        answers, problems = self.each(hookspecs.attributree_catalog_source, f" for {path}", path=path)
        if problems:
            raise PluginError("\n".join(problems))
        readers = [(answer.plugin.label, answer.value) for answer in answers if answer.value is not None]
        if len(readers) > 1:
            names = " and ".join(label for label, _ in readers)
            raise PluginError(f"{path} is read by {names}; name one of them in `disabled` in the [plugins] section")
        return _rows(*readers[0], path) if readers else None

    def with_attributes(self, own: Mapping[str, Attribute], declared_by: str) -> LoadedPlugins:
        """Return the plugins with attributes that none of them declares, so that they answer for those too."""
        return replace(
            self,
            attributes=dict(sorted({**own, **self.attributes}.items())),
            declared_by={**dict.fromkeys(own, declared_by), **self.declared_by},
            augmentations={**_ask_for_augmentations(self._usable, own), **self.augmentations},
        )


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
        *(Plugin(PluginInfo(name), partial(_same, plugin)) for name, plugin in (extra or {}).items()),
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
            _start(plugin, manager)
        except BrokenError as error:
            plugin.fail(str(error), error.status)
        else:
            usable.append(plugin)

    attributes, declared_by = settle_names(usable)
    for name, attribute in attributes.items():
        # Part of the schema: another version of a plugin that normalizes reads all observations again.
        asked = _names(_asked(usable, hookspecs.attributree_normalize_label, name))
        attributes[name] = replace(attribute, normalized_by=asked)
    augmentations = _ask_for_augmentations(usable, attributes)
    article_types = _ask_for_article_types(usable, attributes)
    infos = tuple(plugin.info for plugin in found)
    check_required(tuple(settings.require) if settings else (), infos)
    unmatched = tuple(name for name in disabled if not any(info.answers_to(name) for info in infos))
    return LoadedPlugins(
        attributes, declared_by, augmentations, manager, article_types, unmatched, tuple(found), tuple(usable)
    )


def _same(plugin: object) -> object:
    return plugin


# -- starting one ----------------------------------------------------------------------------------


def _start(plugin: Plugin, manager: pluggy.PluginManager) -> None:
    """Import one plugin, register it and ask what it declares. Raises BrokenError and leaves no trace of it."""
    attempt("on import", lambda: plugin.identity)  # of the content that is imported, even if the file changes
    module = attempt("on import", partial(traced, plugin.info.label, "import", plugin.load))
    attempt("in attributree_api", partial(_require_api, plugin, module, manager))
    key = plugin.info.name if not manager.has_plugin(plugin.info.name) else plugin.info.label
    if any(other is module for _, other in manager.list_name_plugin()):
        raise BrokenError(f"the same object is already registered as plugin {manager.get_name(module)!r}")
    try:
        attempt("when its hooks were collected", partial(manager.register, module, name=key))
        attempt("when its hooks were collected", partial(_collect_hooks, plugin, module, manager))
        if hookspecs.attributree_attributes.__name__ in plugin.hooks:
            plugin.declared = tuple(plugin.ask(hookspecs.attributree_attributes))
    except BrokenError:
        if manager.has_plugin(key):
            manager.unregister(name=key)
        raise


def _require_api(plugin: Plugin, module: object, manager: pluggy.PluginManager) -> None:
    """Raise BrokenError if the plugin says that it was written for another hook API.

    This comes before registration: a plugin for a later API may have hooks and arguments that are unknown here.
    """
    hook = hookspecs.attributree_api
    # pluggy before 1.7 fails on a name that is not there.
    if hook.__name__ not in dir(module) or manager.parse_hookimpl_opts(module, hook.__name__) is None:
        return
    plugin.hooks[hook.__name__] = getattr(module, hook.__name__), ()
    supported = SpecifierSet(plugin.ask(hook))
    if not supported.contains(hookspecs.API_VERSION, prereleases=True):
        upgrade = "attributree" if _wants_newer(supported) else "the plugin"
        raise BrokenError(
            f"supports hook API {str(supported)!r}, this attributree has {hookspecs.API_VERSION}; upgrade {upgrade}",
            status="skipped",
        )


def _wants_newer(supported: SpecifierSet) -> bool:
    """Return whether the range lies above our hook API."""
    for part in supported:
        try:
            version = Version(part.version.removesuffix(".*"))
        except InvalidVersion:  # "===anything"
            continue
        if part.operator in (">=", ">", "~=", "==", "===") and version >= Version(hookspecs.API_VERSION):
            return True
    return False


def _collect_hooks(plugin: Plugin, module: object, manager: pluggy.PluginManager) -> None:
    """Keep the plugin's implementation of each hook. Raises BrokenError on one that would not be called as written."""
    for caller in manager.get_hookcallers(module) or ():
        name, impl = caller.name, next(impl for impl in caller.get_hookimpls() if impl.plugin is module)
        if name not in HOOKS and not impl.optionalhook:
            (near,) = get_close_matches(name, HOOKS, n=1, cutoff=0.0)
            raise BrokenError(f"{name} is not a hook; did you mean {near}?")
        if impl.wrapper or impl.hookwrapper:
            raise BrokenError(f"{name} is a hook wrapper, which attributree does not call; make it plain")
        if caller.spec and caller.spec.opts.get("firstresult") and inspect.isgeneratorfunction(impl.function):
            raise BrokenError(f"{name} is a generator and cannot return None; return one of another function")
        if name in HOOKS:
            # pluggy leaves out arguments that the plugin gave a default; they are passed here as well.
            plugin.hooks[name] = impl.function, (*impl.argnames, *impl.kwargnames)
    for name in HOOKS:
        if name not in plugin.hooks and callable(getattr(module, name, None)):
            raise BrokenError(f"{name} is not marked; put @attributree.hookimpl above it")
    if not plugin.hooks.keys() - {hookspecs.attributree_api.__name__}:
        raise BrokenError("implements no hook; define attributree_attributes and put @attributree.hookimpl above it")


# -- asking several --------------------------------------------------------------------------------


def _asked(plugins: Sequence[Plugin], hook: Callable[..., object], attribute: str) -> list[Plugin]:
    """Return who is asked a hook about an attribute, in order: its own plugin, then those without attributes."""
    own = [plugin for plugin in plugins if attribute in plugin.info.attributes]
    # A plugin with attributes of its own is not asked about another's: one that forgets to look at
    # `attribute.name` would put its head on every branch of the tree.
    general = [plugin for plugin in plugins if not plugin.declared]
    return [plugin for plugin in (*own, *general) if hook.__name__ in plugin.hooks]


def _names(plugins: Iterable[Plugin]) -> str:
    return ", ".join(plugin.identity for plugin in plugins)


def _ask_for_augmentations(plugins: Sequence[Plugin], attributes: Mapping[str, Attribute]) -> dict[str, Augmentation]:
    """Return what plugins allow to be done to images. One that fails is reported, and allows nothing."""
    found: dict[str, Augmentation] = {}
    hook = hookspecs.attributree_augmentation
    for name, attribute in attributes.items():
        for plugin in _asked(plugins, hook, name):
            try:
                answer = plugin.ask(hook, f" for attribute {name!r}", attribute=attribute)
            except BrokenError as error:
                plugin.fail(f"{error}; it is trained without augmentation")
                answer = Augmentation(flip=False, crop=False)
            if answer is not None:
                found[name] = answer
                break
    return found


def _ask_for_article_types(
    plugins: Sequence[Plugin], attributes: Mapping[str, Attribute]
) -> dict[str, tuple[ArticleType, ...]]:
    """Return the types that plugins know and those that their attributes name, by owner.

    A plugin that fails is reported, and only its attributes' types are known.
    """
    found: dict[str, tuple[ArticleType, ...]] = {}
    hook = hookspecs.attributree_article_types
    for plugin in plugins:
        types: dict[ArticleType, None] = {}
        if hook.__name__ in plugin.hooks:
            try:
                types = dict.fromkeys(plugin.ask(hook))
            except BrokenError as error:
                plugin.fail(f"{error}; its words for article types are not used")
        named = (word for name in plugin.info.attributes for word in attributes[name].applies_to)
        types |= dict.fromkeys(map(ArticleType, named))
        if types:
            # Not a file's path: workers that share a catalogue may have the same file in different folders.
            owner = plugin.info.name if plugin.file else plugin.info.owner
            found[owner] = (*found.get(owner, ()), *types)
    return found


def _rows(label: str, rows: Iterable[Mapping[str, object]], path: Path) -> Iterator[Mapping[str, object]]:
    """Yield a plugin's rows. Raises PluginError naming plugin, file and row."""
    remaining = iter(rows)
    for number in count(1):
        doing = f"in attributree_catalog_source at row {number} of {path}"
        try:
            row = attempt(doing, lambda: next(remaining, _END))
        except BrokenError as error:
            raise PluginError(f"{label}: {error}") from error.__cause__
        if not isinstance(row, Mapping):
            return
        yield row
