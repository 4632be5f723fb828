"""plugins doctor: what is wrong with the plugins, before a sync finds out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import click

from . import Globals, pass_globals
from .output import print_json, say
from .plugins import plugins


@plugins.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@pass_globals
def doctor(options: Globals, as_json: bool) -> None:
    """Look for what is broken in plugins, settings and labels, and say what to type.

    Tries every attribute's head on the configured backbone, without its weights. Works without a configuration
    and without a catalogue. Ends with 1 if there is an error, and with --strict with 3 if there is a warning.
    """
    from ..doctor import ERROR, WARNING, diagnose, examine
    from ..errors import PluginError
    from ..settings.file import load_settings
    from ..workspace import Workspace

    settings = load_settings(options.config, database=options.database, required=options.config is not None)
    # What is required and missing, and what is broken, are findings here and not the end.
    lenient = settings.plugins.model_copy(update={"require": (), "strict": False})
    with Workspace(settings.model_copy(update={"plugins": lenient})) as workspace:
        findings = diagnose(replace(examine(workspace), settings=settings))
        looked_at = len(workspace.plugins.plugins)
    counts = Counter(finding.severity for finding in findings)
    if as_json:
        print_json({"plugins": looked_at, "findings": [finding.to_json() for finding in findings]})
    for finding in () if as_json else findings:
        click.echo(f"{finding.severity}: {finding.where}: {finding.what}\n    {finding.do}")
    if not options.quiet:
        told = ", ".join(f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counts.items())
        say(f"{looked_at} plugin{'' if looked_at == 1 else 's'} looked at: {told or 'all is well'}")
    if counts[ERROR]:
        raise PluginError(f"{counts[ERROR]} of the findings {'is an error' if counts[ERROR] == 1 else 'are errors'}")
    options.held_back(bool(counts[WARNING]))
