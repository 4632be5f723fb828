"""The command line. Its modules import nothing heavy until a command runs: `--help` is instant and without torch."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import __version__
from ..errors import AttributreeError
from .extra import ExtendedGroup

if TYPE_CHECKING:
    from ..workspace import Workspace

#: Done, but something was quarantined, blocked or gated, and --strict was given.
EXIT_HELD_BACK = 3


@dataclass
class Globals:
    """The options before the command."""

    config: Path | None
    database: str | None
    strict: bool
    verbosity: int

    def workspace(self) -> Workspace:
        """Open the workspace that the options name, and tell of broken plugins."""
        from ..workspace import Workspace
        from .output import say

        workspace = Workspace.open(self.config, database=self.database, strict=self.strict)
        if self.verbosity >= 0:
            for info in workspace.plugins.problems:
                say(f"warning: {info.label} is left out: {info.error}")
            for name in workspace.plugins.unmatched:
                say(f"warning: plugins -> disabled: no plugin answers to {name!r}")
            declared = workspace.plugins.attributes
            for name in workspace.settings.attributes.keys() - declared.keys():
                # A plugin that is not installed just now may keep its settings; a slip of the pen is worth a word.
                for near in get_close_matches(name, declared, n=1, cutoff=0.8):
                    say(f"warning: attributes -> {name}: no plugin declares it; did you mean {near}?")
        return workspace

    @property
    def quiet(self) -> bool:
        """Whether only errors and results are wanted."""
        return self.verbosity < 0

    def held_back(self, something: bool) -> None:
        """End with exit code 3 if `something` was quarantined, blocked or gated and --strict was given."""
        if something and self.strict:
            raise click.exceptions.Exit(EXIT_HELD_BACK)


pass_globals = click.make_pass_decorator(Globals)


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
    context.obj = Globals(config, database, strict, -1 if quiet else verbose)


def main() -> None:
    """Run the command line; an AttributreeError becomes one line and exit code 1."""
    try:
        cli(standalone_mode=True)
    except AttributreeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


from . import (  # noqa: E402, F401  # they register their commands
    catalog,
    compare,
    doctor,
    export,
    plugins,
    predict,
    pretrain,
    product,
    registry,
    scaffold,
    sync,
    text,
    watch,
)
