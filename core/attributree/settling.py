"""Settling who declares what, and whether all plugins that must work do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .asking import Plugin, PluginInfo
from .errors import PluginError
from .schema import Attribute, fold


def owner(info: PluginInfo) -> str:
    """Return what an attribute's declaring plugin is called: its distribution, or its name."""
    return info.distribution or info.name


def settle_names(plugins: Sequence[Plugin]) -> tuple[dict[str, Attribute], dict[str, str]]:
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
            attributes[attribute.name], declared_by[attribute.name] = attribute, owner(plugin.info)
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
