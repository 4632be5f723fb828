"""Starting one plugin: importing it, collecting its hooks and asking what it declares."""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from functools import partial

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from . import hookspecs
from .answers import as_attributes
from .calls import HOOKS, BrokenError, Plugin, attempt, traced


def start(plugin: Plugin, manager: pluggy.PluginManager) -> None:
    """Import one plugin, register it and ask what it declares. Raises BrokenError and leaves no trace of it."""
    label = plugin.info.label
    attempt("on import", lambda: plugin.identity)  # of the content that is imported, whatever becomes of the file
    module = attempt("on import", partial(traced, label, "import", plugin.load))
    attempt("in attributree_api", partial(_check_api, label, module, manager))
    key = plugin.info.name if not manager.has_plugin(plugin.info.name) else plugin.info.label
    if any(other is module for _, other in manager.list_name_plugin()):
        raise BrokenError(f"the same object is already registered as plugin {manager.get_name(module)!r}")
    try:
        collecting = "when its hooks were collected"
        attempt(collecting, partial(manager.register, module, name=key))
        plugin.impls = attempt(collecting, partial(_hook_impls, module, manager))
        if "attributree_attributes" in plugin.impls:
            plugin.declared = plugin.ask("attributree_attributes", as_attributes)
    except BrokenError:
        if manager.has_plugin(key):
            manager.unregister(name=key)
        raise


def _check_api(label: str, module: object, manager: pluggy.PluginManager) -> None:
    """Raise BrokenError if the plugin says that it was written for another hook API."""
    # pluggy before 1.7 fails on a name that is not there.
    if "attributree_api" not in dir(module) or manager.parse_hookimpl_opts(module, "attributree_api") is None:
        return
    answer = traced(label, "attributree_api", module.attributree_api)  # type: ignore[attr-defined]
    try:
        supported = SpecifierSet(answer if isinstance(answer, str) else "a range is a string")
    except InvalidSpecifier:
        raise BrokenError(f"attributree_api returned {answer!r}; return a range such as '>=1,<2'") from None
    if supported.contains(hookspecs.API_VERSION, prereleases=True):
        return
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


def _hook_impls(module: object, manager: pluggy.PluginManager) -> dict[str, pluggy.HookImpl]:
    """Return the plugin's implementation of each hook. Raises BrokenError on a name that is no hook."""
    impls: dict[str, pluggy.HookImpl] = {}
    for caller in manager.get_hookcallers(module) or ():
        impl = next(impl for impl in caller.get_hookimpls() if impl.plugin is module)
        if caller.name in HOOKS:
            impls[caller.name] = impl
        elif not impl.optionalhook:
            near = get_close_matches(caller.name, HOOKS, n=1, cutoff=0.0)
            raise BrokenError(f"{caller.name} is not a hook; did you mean {near[0]}?")
        if impl.wrapper or impl.hookwrapper:
            raise BrokenError(f"{caller.name} is a hook wrapper, which attributree does not call; make it plain")
        if caller.name == "attributree_catalog_source" and inspect.isgeneratorfunction(impl.function):
            raise BrokenError(f"{caller.name} is a generator and cannot return None; return one of another function")
    for hook in HOOKS:
        if hook not in impls and callable(getattr(module, hook, None)):
            raise BrokenError(f"{hook} is not marked; put @attributree.hookimpl above it")
    if not impls.keys() - {"attributree_api"}:
        raise BrokenError("implements no hook; define attributree_attributes and put @attributree.hookimpl above it")
    return impls
