"""plugins: what is installed, what is broken and what to type, and a new plugin to start from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from ..errors import PluginError, SchemaError, UnknownNameError
from ..schema import KINDS, Attribute, MultiLabel, SingleLabel, Value
from .group import Options, cli, json_option, pass_options, plugin_commands
from .output import print_json, print_table, say

#: Values of a new plugin for which none were given.
PLACEHOLDERS = ("this", "that")
#: A column with more values than this is free text.
_MOST_VALUES = 60


@cli.group()
def plugins() -> None:
    """Look after the attribute plugins."""


@plugins.command("list")
@json_option
@pass_options
def list_plugins(options: Options, as_json: bool) -> None:
    """List the plugins with their attributes, and the reason for each that is left out."""
    from ..plugins import load_plugins

    settings = options.settings()
    # A required plugin that is missing is what this list is looked at for: it must not end here.
    loaded = load_plugins(settings.plugins.model_copy(update={"require": ()}))
    _, clashes = plugin_commands(loaded, cli.commands)
    if as_json:
        print_json({"plugins": loaded.plugins})
    elif not loaded.plugins:
        say("no plugin is installed; pip install one, or put one-file plugins into a folder of plugin_dirs")
    else:
        print_table(
            "plugins",
            ("plugin", "distribution", "version", "status", "attributes"),
            [(i.name, i.distribution, i.version, i.status, ", ".join(i.attributes)) for i in loaded.plugins],
        )
        for info in loaded.problems:
            say(f"{info.label}: {info.error}", always=True)
    for clash in clashes:
        say(f"warning: {clash}", always=True)
    if options.strict or settings.plugins.strict:
        loaded.require_healthy()
        if clashes:
            raise PluginError("\n".join(clashes))


@plugins.command()
@json_option
@pass_options
def doctor(options: Options, as_json: bool) -> None:
    """Look for what is broken in plugins, settings and labels, and say what to type.

    Tries every attribute's head on the configured backbone, without its weights. Works without a configuration
    and without a catalogue. Ends with 1 if there is an error, and with --strict with 3 if there is a warning.
    """
    from ..doctor import ERROR, WARNING, diagnose, examine
    from ..workspace import Workspace

    settings = options.settings()
    # What is required and missing, and what is broken, are findings here and not the end.
    lenient = settings.plugins.model_copy(update={"require": (), "strict": False})
    with Workspace(settings.model_copy(update={"plugins": lenient})) as workspace:
        findings = diagnose(replace(examine(workspace), settings=settings))
        looked_at = len(workspace.plugins.plugins)
    counts = Counter(finding.severity for finding in findings)
    if as_json:
        print_json({"plugins": looked_at, "findings": findings})
    for finding in () if as_json else findings:
        click.echo(f"{finding.severity}: {finding.where}: {finding.what}\n    {finding.do}")
    told = ", ".join(f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counts.items())
    say(f"{looked_at} plugin{'' if looked_at == 1 else 's'} looked at: {told or 'all is well'}")
    if counts[ERROR]:
        raise PluginError(f"{counts[ERROR]} of the findings {'is an error' if counts[ERROR] == 1 else 'are errors'}")
    options.held_back(bool(counts[WARNING]))


@plugins.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(tuple(KINDS)), help="How values hold.  [single]")
@click.option("--value", "values", metavar="KEY", multiple=True, help="A value, or KEY=SYNONYM|SYNONYM; repeatable.")
@click.option("--applies-to", metavar="TYPE", multiple=True, help="An article type it is asked of; repeatable.  [all]")
@click.option("--head", is_flag=True, help="Bring a head of one's own, ready to be changed.")
@click.option(
    "--from-catalog",
    "column",
    metavar="[COLUMN]",
    is_flag=False,
    flag_value="",
    help="Take values, synonyms and article types from a column of the catalogue.  [NAME]",
)
@click.option("--one-file", is_flag=True, help="Write NAME.py for a folder of plugin_dirs, and no distribution.")
@click.option(
    "--into", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), default=".", help="Where to write."
)
@pass_options
def new(
    options: Options,
    name: str,
    kind: str | None,
    values: tuple[str, ...],
    applies_to: tuple[str, ...],
    head: bool,
    column: str | None,
    one_file: bool,
    into: Path,
) -> None:
    """Write a complete plugin distribution: attributree-NAME, with tests.

    It installs and passes its tests as it is. Nothing is ever overwritten, and no network is needed.
    """
    from ..plugins.scaffold import Draft, plugin_name, read_value, write_distribution, write_one_file

    if column is not None and values:
        raise click.UsageError("--value and --from-catalog cannot be given together")
    name = plugin_name(name)
    counts: Mapping[str, int] = {}
    if column is not None:
        attribute, counts = _catalogued(options, column or name)
    else:
        attribute = Attribute(name, SingleLabel(tuple(map(read_value, values or PLACEHOLDERS))))
    if kind:
        attribute = replace(attribute, labels=KINDS[kind](attribute.labels.values))
    if applies_to:
        attribute = replace(attribute, applies_to=applies_to)
    draft = Draft(name, attribute, head=head, counts=counts)
    path = (write_one_file if one_file else write_distribution)(draft, into)
    say(f"wrote {path}")
    module = path if one_file else path / "src" / draft.package / "__init__.py"
    if column is None and not values:
        say(f"its values {' and '.join(PLACEHOLDERS)} stand in for yours: edit {module}")
    elif kind == "ordinal" and counts:
        say(f"its values are in order of frequency; put them from least to most in {module}")
    if one_file:
        say("next: list its folder in plugin_dirs, in the [plugins] section of plugins.toml")
    else:
        say(f"next: pip install -e {path}, pytest {path}, attributree sync-catalog")


def _catalogued(options: Options, column: str) -> tuple[Attribute, Mapping[str, int]]:
    """Return an attribute for a column that no plugin declares, and on how many images its values stand.

    One that is registered already, by the catalogue itself or by a plugin that is gone, is taken as it is. Raises
    UnknownNameError if there is no such column, SchemaError if its cells are no values.
    """
    from ..text.suggest import suggest

    with options.workspace() as workspace:
        declared = workspace.plugins.declared_by
        if column in declared:
            raise UnknownNameError(f"column {column!r} is declared already, by {declared[column]}")
        registered = workspace.labels.attributes()
        if column in registered:
            return registered[column].schema, {}
        columns = suggest(workspace.labels, workspace.plugins.attributes, limit=_MOST_VALUES + 1).columns
    found = next((one for one in columns if one.column == column), None)
    if found is None:
        known = ", ".join(one.column for one in columns) or "none at all"
        raise UnknownNameError(f"the catalogue has no undeclared column {column!r}; it has {known}")
    if len(found.values) > _MOST_VALUES:
        raise SchemaError(f"column {column!r} has more than {_MOST_VALUES} values: it is free text, and no attribute")
    values = tuple(Value(value.key, value.title, value.synonyms) for value in found.values)
    labels = MultiLabel(values) if found.multi else SingleLabel(values)
    counts = {value.key: value.count for value in found.values}
    return Attribute(column, labels, applies_to=found.article_types), counts
