"""Who declares what, and whether all plugins that must work do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import PluginError
from ..schema import Attribute, fold
from .calls import Plugin, PluginInfo


def settle_names(plugins: Sequence[Plugin]) -> tuple[dict[str, Attribute], dict[str, str]]:
    """Return the attributes and the owner of each. A name that is declared twice is given to no plugin.

    A former name counts as declared: its column belongs to the attribute that had it. Names are compared without regard
    to case and underscores: people could not tell such columns apart.
    """
    claims: dict[str, list[tuple[Plugin, Attribute]]] = {}
    for plugin in plugins:
        for attribute in plugin.declared:
            for column in dict.fromkeys(map(fold, attribute.columns)):
                claims.setdefault(column, []).append((plugin, attribute))
    contested = [claim for claim in claims.values() if len(claim) > 1]
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
    refused = {id(attribute) for claim in contested for _, attribute in claim}
    settled: dict[str, tuple[Attribute, str]] = {}
    for plugin in plugins:
        own = {attribute.name: attribute for attribute in plugin.declared if id(attribute) not in refused}
        settled |= {name: (attribute, plugin.info.owner) for name, attribute in own.items()}
        plugin.info = replace(plugin.info, attributes=tuple(own))
    names = sorted(settled)
    return {name: settled[name][0] for name in names}, {name: settled[name][1] for name in names}


def _called(attribute: Attribute) -> str:
    """Return an attribute's name, with its former ones."""
    return f"{attribute.name!r}" + "".join(f" (formerly {former!r})" for former in attribute.formerly)


def check_required(required: Sequence[str], infos: Sequence[PluginInfo]) -> None:
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
