"""Finding plugins and asking them: one that is broken is reported with its reason, the others work.

    loaded = load_plugins(settings.plugins)
    loaded.attributes["shape"]          # what is declared
    loaded.problems                     # what is broken, and why

Plugins come from the entry-point group `attributree` and from `*.py` files in `plugin_dirs`. They are loaded and
asked in order of name. Nothing here is a singleton: each call of `load_plugins` makes a fresh manager.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar, cast

import pluggy
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from . import hookspecs
from .errors import PluginError, SchemaError
from .schema import Attribute, fold

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")
Status = Literal["ok", "disabled", "failed", "skipped"]

HOOKS: Final = ("attributree_api", "attributree_attributes", "attributree_branch_head")


class PluginSelection(Protocol):
    """Which plugins to load; `attributree.config.PluginSettings` is one."""

    @property
    def disabled(self) -> Sequence[str]: ...
    @property
    def require(self) -> Sequence[str]: ...
    @property
    def plugin_dirs(self) -> Sequence[Path]: ...


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


class _BrokenError(Exception):
    """A plugin cannot be used; the message is the reason."""

    def __init__(self, reason: str, status: Status = "failed") -> None:
        super().__init__(reason)
        self.status: Status = status


@dataclass(eq=False)
class _Plugin:
    """A plugin on its way from being found to being used."""

    info: PluginInfo
    load: Callable[[], object]
    declared: tuple[Attribute, ...] = ()
    impls: dict[str, pluggy.HookImpl] = field(default_factory=dict)  # hook -> implementation

    def fail(self, reason: str, status: Status = "failed") -> None:
        error = f"{self.info.error}; {reason}" if self.info.error else reason
        self.info = replace(self.info, status=status, error=error)

    def call(self, hook: str, **arguments: object) -> Any:
        """Call one hook of this plugin alone, so that nobody else's failure or wrapper comes between."""
        impl = self.impls[hook]
        # pluggy leaves out arguments that the plugin gave a default; here they are passed as well.
        wanted = (*impl.argnames, *impl.kwargnames)
        return impl.function(**{name: value for name, value in arguments.items() if name in wanted})


@dataclass(frozen=True, eq=False)
class LoadedPlugins:
    """The plugins of one process: what they declare, who declares it and what is broken."""

    attributes: dict[str, Attribute]  # in order of name
    declared_by: dict[str, str]  # attribute -> distribution (or the plugin's name if it has none)
    plugins: tuple[PluginInfo, ...]  # in order of name
    manager: pluggy.PluginManager
    unmatched: tuple[str, ...]  # names in `disabled` that no plugin answers to
    _usable: tuple[_Plugin, ...] = field(repr=False)

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
                head = _attempt(f"in attributree_branch_head for attribute {attribute.name!r}", ask)
                if head is not None:
                    return plugin.info, _module(head)
            except _BrokenError as error:
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
    found = [
        *(_installed() if entry_points is None else map(_from_entry_point, entry_points)),
        *(plugin for folder in dict.fromkeys(map(Path.resolve, _folders(settings))) for plugin in _from_folder(folder)),
        *(_Plugin(PluginInfo(name), partial(_itself, plugin)) for name, plugin in (extra or {}).items()),
    ]
    found.sort(key=lambda plugin: (plugin.info.name, plugin.info.distribution or ""))

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    usable: list[_Plugin] = []
    for plugin in found:
        if any(plugin.info.answers_to(name) for name in disabled):
            plugin.info = replace(plugin.info, status="disabled")
            continue
        try:
            _start(plugin, manager)
        except _BrokenError as error:
            plugin.fail(str(error), error.status)
        else:
            usable.append(plugin)

    attributes, declared_by = _settle_names(usable)
    infos = tuple(plugin.info for plugin in found)
    _check_required(tuple(settings.require) if settings else (), infos)
    unmatched = tuple(name for name in disabled if not any(info.answers_to(name) for info in infos))
    return LoadedPlugins(attributes, declared_by, infos, manager, unmatched, tuple(usable))


# --- finding -----------------------------------------------------------------------------------------------------


def _installed() -> Iterator[_Plugin]:
    """Yield the plugins of the installed distributions.

    `importlib.metadata.entry_points()` is not used: one malformed entry_points.txt anywhere makes it raise.
    """
    seen: set[str] = set()
    for distribution in metadata.distributions():
        if f"[{hookspecs.PROJECT}]" not in (distribution.read_text("entry_points.txt") or ""):
            continue
        name, version = _identity(distribution)
        if name is not None and canonicalize_name(name) in seen:  # shadowed by one earlier on sys.path
            continue
        seen.add(canonicalize_name(name or ""))
        try:
            chosen = [point for point in distribution.entry_points if point.group == hookspecs.PROJECT]
        except Exception as error:  # whatever the parser stumbles over
            reason = f"its entry_points.txt is malformed ({error}); reinstall it"
            yield _Plugin(PluginInfo(name or "?", name, version), _raiser(reason))
        else:
            yield from map(_from_entry_point, chosen)


def _identity(distribution: metadata.Distribution | None) -> tuple[str | None, str | None]:
    """Return name and version of a distribution, None where its metadata lack them."""
    if distribution is None:
        return None, None
    fields = dict(distribution.metadata.items())  # type: ignore[attr-defined]  # an email.message.Message
    return fields.get("Name") or None, fields.get("Version") or None


def _from_entry_point(point: metadata.EntryPoint) -> _Plugin:
    name, version = _identity(point.dist)
    return _Plugin(PluginInfo(point.name, name, version), point.load)


def _folders(settings: PluginSelection | None) -> Iterable[Path]:
    return map(Path, settings.plugin_dirs) if settings else ()


def _from_folder(folder: Path) -> Iterator[_Plugin]:
    """Yield the one-file plugins of `folder`: every *.py that does not begin with an underscore."""
    if not folder.is_dir():
        reason = "no such folder; mend plugin_dirs in the [plugins] section"
        yield _Plugin(PluginInfo(folder.name, str(folder)), _raiser(reason))
        return
    for path in folder.glob("*.py"):
        if not path.name.startswith("_"):
            yield _Plugin(PluginInfo(path.stem, str(path)), partial(_import_file, path))


def _itself(module: object) -> object:
    return module


def _raiser(reason: str) -> Callable[[], object]:
    """Return a loader for what cannot be loaded."""

    def load() -> object:
        raise _BrokenError(reason)

    return load


def _import_file(path: Path) -> object:
    """Import one file under a private module name, so that it can shadow nothing."""
    name = f"attributree_plugin_dir_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # a *.py path always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


# --- asking ------------------------------------------------------------------------------------------------------


def _attempt(doing: str, call: Callable[[], T]) -> T:
    """Return `call()`; whatever a plugin raises, `sys.exit` included, becomes a _BrokenError with the reason.

    What it prints goes to stderr: stdout belongs to the command, which may be writing JSON.
    """
    try:
        with redirect_stdout(sys.stderr):
            return call()
    except (KeyboardInterrupt, GeneratorExit, _BrokenError):
        raise
    except BaseException as error:
        if os.environ.get("ATTRIBUTREE_TRACE_PLUGINS"):
            traceback.print_exception(error, file=sys.stderr)
        raise _BrokenError(_reason(error, doing)) from error


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


def _start(plugin: _Plugin, manager: pluggy.PluginManager) -> None:
    """Import one plugin, register it and ask what it declares. Raises _BrokenError and leaves no trace of it."""
    module = _attempt("on import", plugin.load)
    _attempt("in attributree_api", partial(_check_api, module, manager))
    key = plugin.info.name if not manager.has_plugin(plugin.info.name) else plugin.info.label
    if any(other is module for _, other in manager.list_name_plugin()):
        raise _BrokenError(f"the same object is already registered as plugin {manager.get_name(module)!r}")
    try:
        collecting = "when its hooks were collected"
        _attempt(collecting, partial(manager.register, module, name=key))
        plugin.impls = _attempt(collecting, partial(_hook_impls, module, manager))
        if "attributree_attributes" in plugin.impls:
            doing = "in attributree_attributes"
            plugin.declared = _attempt(doing, lambda: _declared(plugin.call("attributree_attributes")))
    except _BrokenError:
        if manager.has_plugin(key):
            manager.unregister(name=key)
        raise


def _check_api(module: object, manager: pluggy.PluginManager) -> None:
    """Raise _BrokenError if the plugin says that it was written for another hook API."""
    if manager.parse_hookimpl_opts(module, "attributree_api") is None:
        return
    answer = module.attributree_api()  # type: ignore[attr-defined]
    try:
        supported = SpecifierSet(answer if isinstance(answer, str) else "a range is a string")
    except InvalidSpecifier:
        raise _BrokenError(f"attributree_api returned {answer!r}; return a range such as '>=1,<2'") from None
    if supported.contains(hookspecs.API_VERSION, prereleases=True):
        return
    upgrade = "attributree" if _wants_newer(supported) else "the plugin"
    raise _BrokenError(
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
    """Return the plugin's implementation of each hook. Raises _BrokenError on a name that is no hook."""
    impls: dict[str, pluggy.HookImpl] = {}
    for caller in manager.get_hookcallers(module) or ():
        impl = next(impl for impl in caller.get_hookimpls() if impl.plugin is module)
        if caller.name in HOOKS:
            impls[caller.name] = impl
        elif not impl.optionalhook:
            near = get_close_matches(caller.name, HOOKS, n=1, cutoff=0.0)
            raise _BrokenError(f"{caller.name} is not a hook; did you mean {near[0]}?")
        if impl.wrapper or impl.hookwrapper:
            raise _BrokenError(f"{caller.name} is a hook wrapper, which attributree does not call; make it plain")
    for hook in HOOKS:
        if hook not in impls and callable(getattr(module, hook, None)):
            raise _BrokenError(f"{hook} is not marked; put @attributree.hookimpl above it")
    if not impls.keys() - {"attributree_api"}:
        raise _BrokenError("implements no hook; define attributree_attributes and put @attributree.hookimpl above it")
    return impls


def _declared(answer: object) -> tuple[Attribute, ...]:
    """Return a plugin's answer as attributes. Raises _BrokenError if it is anything else."""
    if isinstance(answer, Attribute):
        raise _BrokenError("attributree_attributes returned one Attribute; return a list: [Attribute(...)]")
    if isinstance(answer, (str, bytes, Mapping)) or not isinstance(answer, Iterable):
        raise _BrokenError(f"attributree_attributes returned {type(answer).__name__}, not a list of Attribute")
    attributes = tuple(answer)
    for attribute in attributes:
        if not isinstance(attribute, Attribute):
            raise _BrokenError(f"attributree_attributes returned a list that holds {attribute!r}, not an Attribute")
    return attributes


def _module(head: object) -> nn.Module:
    """Return `head` if it is a torch module. Raises _BrokenError; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(head, torch.nn.Module):
        raise _BrokenError(f"attributree_branch_head returned {type(head).__name__}, not a torch.nn.Module")
    return cast("nn.Module", head)


# --- deciding ----------------------------------------------------------------------------------------------------


def _owner(info: PluginInfo) -> str:
    return info.distribution or info.name


def _settle_names(plugins: Sequence[_Plugin]) -> tuple[dict[str, Attribute], dict[str, str]]:
    """Return the attributes and who declares each. A name that is declared twice is given to nobody.

    A former name counts as declared: its column belongs to the attribute that had it. Names are compared without regard
    to case and underscores: people could not tell such columns apart.
    """
    claims: dict[str, list[tuple[_Plugin, Attribute]]] = {}
    for plugin in plugins:
        for attribute in plugin.declared:
            for column in dict.fromkeys(map(fold, attribute.columns)):
                claims.setdefault(column, []).append((plugin, attribute))
    attributes: dict[str, Attribute] = {}
    declared_by: dict[str, str] = {}
    contested = [claim for claim in claims.values() if len(claim) > 1]
    refused = {id(attribute) for claim in contested for _, attribute in claim}
    for plugin in plugins:
        for attribute in plugin.declared:
            if id(attribute) not in refused:
                attributes[attribute.name], declared_by[attribute.name] = attribute, _owner(plugin.info)
    for claim in contested:
        for plugin, attribute in claim:
            others = [f"{rival.info.label} as {_called(other)}" for rival, other in claim if rival is not plugin]
            if others:
                plugin.fail(
                    f"attribute {_called(attribute)} is also declared by {' and '.join(others)}; none of them is used: "
                    "name the others in `disabled` in the [plugins] section"
                )
            else:
                plugin.fail(f"attribute {_called(attribute)} is declared more than once; none of them is used")
    for plugin in plugins:
        names = tuple(a.name for a in plugin.declared if attributes.get(a.name) is a)
        plugin.info = replace(plugin.info, attributes=names)
    return dict(sorted(attributes.items())), dict(sorted(declared_by.items()))


def _called(attribute: Attribute) -> str:
    """Return an attribute's name, with its former ones."""
    return f"{attribute.name!r}" + "".join(f" (formerly {former!r})" for former in attribute.formerly)


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
