"""plugins: what is installed, and what is broken and why."""

from __future__ import annotations

import click

from ..errors import PluginError
from . import Globals, cli, pass_globals
from .extra import plugin_commands
from .output import print_json, print_table, say


@cli.group()
def plugins() -> None:
    """Look after the attribute plugins."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@pass_globals
def list_plugins(options: Globals, as_json: bool) -> None:
    """List the plugins with their attributes, and the reason for each that is left out."""
    from ..plugins import load_plugins
    from ..settings.file import load_settings

    settings = load_settings(options.config, database=options.database, required=options.config is not None)
    # A required plugin that is missing is what this list is looked at for: it must not end here.
    loaded = load_plugins(settings.plugins.model_copy(update={"require": ()}))
    _, clashes = plugin_commands(loaded, cli.commands)
    if as_json:
        print_json({"plugins": [info.to_json() for info in loaded.plugins]})
    elif not loaded.plugins:
        say("no plugin is installed; pip install one, or put one-file plugins into a folder of plugin_dirs")
    else:
        print_table(
            "plugins",
            ("plugin", "distribution", "version", "status", "attributes"),
            [(i.name, i.distribution, i.version, i.status, ", ".join(i.attributes)) for i in loaded.plugins],
        )
        for info in loaded.problems:
            say(f"{info.label}: {info.error}")
    for clash in clashes:
        say(f"warning: {clash}")
    if options.strict or settings.plugins.strict:
        loaded.require_healthy()
        if clashes:
            raise PluginError("\n".join(clashes))
