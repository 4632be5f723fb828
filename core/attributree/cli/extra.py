"""The commands that plugins add: looked for when a name is none of attributree's own, and for `--help`."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import click

from ..errors import AttributreeError

if TYPE_CHECKING:
    from ..plugins import LoadedPlugins


class ExtendedGroup(click.Group):
    """A group whose own commands start without any plugin; plugins' commands stand beside them, never before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._added(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self._added(ctx).get(cmd_name)

    def _added(self, ctx: click.Context) -> dict[str, click.Command]:
        """Return the commands of plugins. What is wrong with plugins is said, and never keeps help away."""
        from .output import say

        found: dict[str, click.Command] | None = ctx.meta.get(__name__)
        if found is None:
            found = {}
            try:
                loaded = load(ctx)
                found, problems = plugin_commands(loaded, self.commands)
                problems += [f"{info.label} is left out: {info.error}" for info in loaded.problems]
            except AttributreeError as error:
                problems = [f"the commands of plugins are left out: {error}"]
            for problem in () if ctx.params.get("quiet") else problems:
                say(f"warning: {problem}")
            ctx.meta[__name__] = found
        return found


def load(ctx: click.Context) -> LoadedPlugins:
    """Load the plugins that the options before the command select."""
    from ..plugins import load_plugins
    from ..settings.file import load_settings

    config = ctx.params.get("config")
    return load_plugins(load_settings(config, required=config is not None).plugins)


def plugin_commands(plugins: LoadedPlugins, own: Collection[str]) -> tuple[dict[str, click.Command], list[str]]:
    """Return the commands that plugins add, by name, and what is wrong with others: one line each.

    `own` are the names of attributree's commands; of two plugins' commands of one name neither is returned.
    """
    from ..plugins.hookspecs import attributree_commands

    answers, problems = plugins.each(attributree_commands)
    claims: dict[str, list[tuple[str, click.Command]]] = {}
    for answer in answers:
        for command in answer.value:
            claims.setdefault(str(command.name), []).append((answer.plugin.label, command))
    free = {}
    for name, claim in sorted(claims.items()):
        labels = " and ".join(dict.fromkeys(label for label, _ in claim))
        if name in own:
            problems.append(f"{labels}: the command {name!r} is attributree's own; theirs is left out")
        elif len(claim) > 1:
            problems.append(f"{labels}: the command {name!r} is there more than once; none of them is used")
        else:
            free[name] = claim[0][1]
    return free, problems
