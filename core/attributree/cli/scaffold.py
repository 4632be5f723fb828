"""plugins new: a plugin distribution to start from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import Globals, pass_globals
from .output import say
from .plugins import plugins

if TYPE_CHECKING:
    from ..schema import Attribute

#: Values that stand in for those that nobody has named yet.
PLACEHOLDERS = ("this", "that")
#: A column with more values than this is free text.
_MOST_VALUES = 60


@plugins.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(["single", "multi", "ordinal"]), help="How values hold.  [single]")
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
@pass_globals
def new(
    options: Globals,
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
    from ..schema import KINDS, Attribute, SingleLabel

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
    if options.quiet:
        return
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


def _catalogued(options: Globals, column: str) -> tuple[Attribute, Mapping[str, int]]:
    """Return an attribute for a column that no plugin declares, and on how many images its values stand.

    One that is registered already, by the catalogue itself or by a plugin that is gone, is taken as it is. Raises
    UnknownNameError if there is no such column, SchemaError if its cells are no values.
    """
    from ..errors import SchemaError, UnknownNameError
    from ..schema import Attribute, MultiLabel, SingleLabel, Value
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
