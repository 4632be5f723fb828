"""The group `attributree`, the options before its commands, and the commands that plugins add.

A command is a function marked with `@cli.command()` in a module beside this one, and registered by the import of that
module in `__init__.py`. Nothing heavy is imported at the top of these modules: `--help` is instant and without torch.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import __version__
from ..errors import AttributreeError
from .output import say
from .streams import own_stdout

if TYPE_CHECKING:
    from ..plugins import LoadedPlugins
    from ..settings.models import Settings
    from ..workspace import Workspace

#: Done, but something was quarantined, blocked or gated, and --strict was given.
EXIT_HELD_BACK = 3

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
attributes_option = click.option(
    "--attribute", "attributes", metavar="ATTR", multiple=True, help="Only this attribute; repeatable."
)


@dataclass(frozen=True)
class Options:
    """The options before the command."""

    config: Path | None = None
    database: str | None = field(default=None, repr=False)  # may hold a password
    strict: bool = False
    quiet: bool = False

    def workspace(self) -> Workspace:
        """Open the workspace that the options name, and tell of broken plugins."""
        from ..workspace import Workspace

        workspace = Workspace.open(self.config, database=self.database, strict=self.strict)
        if not self.quiet:
            for info in workspace.plugins.problems:
                say(f"warning: {info.label} is left out: {info.error}")
            for name in workspace.plugins.unmatched:
                say(f"warning: plugins -> disabled: no plugin answers to {name!r}")
            declared = workspace.plugins.attributes
            for name in workspace.settings.attributes.keys() - declared.keys():
                # A plugin that is not installed just now may keep its settings; a misspelt name is worth a word.
                for near in get_close_matches(name, declared, n=1, cutoff=0.8):
                    say(f"warning: attributes -> {name}: no plugin declares it; did you mean {near}?")
        return workspace

    def settings(self, *, required: bool = False) -> Settings:
        """Return the settings that the options name; without a configuration the defaults, unless it is `required`."""
        from ..settings.file import load_settings

        return load_settings(self.config, database=self.database, required=required or self.config is not None)

    def held_back(self, something: bool) -> None:
        """End with exit code 3 if `something` was quarantined, blocked or gated and --strict was given."""
        if something and self.strict:
            raise click.exceptions.Exit(EXIT_HELD_BACK)


pass_options = click.make_pass_decorator(Options)


class ExtendedGroup(click.Group):
    """A group whose own commands start without any plugin; plugins' commands stand beside them, never before.

    Plugins are loaded when a name is none of its own, and for `--help`.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._added(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or self._added(ctx).get(cmd_name)

    def _added(self, ctx: click.Context) -> dict[str, click.Command]:
        """Return the commands of plugins. What is wrong with plugins is said, and never keeps help away."""
        from ..plugins import load_plugins

        found: dict[str, click.Command] | None = ctx.meta.get(__name__)
        if found is None:
            found = {}
            try:
                loaded = load_plugins(Options(ctx.params.get("config")).settings().plugins)
                found, problems = plugin_commands(loaded, self.commands)
                problems += [f"{info.label} is left out: {info.error}" for info in loaded.problems]
            except AttributreeError as error:
                problems = [f"the commands of plugins are left out: {error}"]
            for problem in problems:
                say(f"warning: {problem}")
            ctx.meta[__name__] = found
        return found


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


@click.group(cls=ExtendedGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="attributree")
@click.option(
    "--config",
    is_eager=True,  # before --help, which lists what plugins add
    type=click.Path(path_type=Path),
    help="Configuration file.  [default: $ATTRIBUTREE_CONFIG, then ./plugins.toml]",
)
@click.option("--database", metavar="URL", help="Catalogue to use instead of the configured one.")
@click.option("--strict", is_flag=True, help="Fail on broken plugins; exit 3 if anything was held back.")
@click.option("-v", "--verbose", count=True, help="Say more; twice for debugging.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors and results.")
@click.pass_context
def cli(
    context: click.Context, config: Path | None, database: str | None, strict: bool, verbose: int, quiet: bool
) -> None:
    """Fill the attributes of a partially labelled catalogue.

    Install an attribute plugin, run `attributree sync-catalog`, and the catalogue has a new trained,
    calibrated, versioned attribute, while every attribute it already had answers exactly as before.
    """
    level = [logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)]
    logging.basicConfig(level=logging.ERROR if quiet else level, format="%(name)s: %(message)s", stream=sys.stderr)
    context.obj = Options(config, database, strict, quiet)


def main() -> None:
    """Run the command line; an AttributreeError becomes one line and exit code 1."""
    try:
        with own_stdout():
            cli(standalone_mode=True)
    except AttributreeError as error:
        say(f"error: {error}", always=True)
        sys.exit(1)
