"""The commands: what is typed, and what is told of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from attributree.cli.output import Reporter, print_json, say

if TYPE_CHECKING:
    from attributree.cli.group import Options

    from .reviews import ReviewSummary


@click.group("label-studio")
def label_studio() -> None:
    """Exchange tasks and reviews with Label Studio."""


@label_studio.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--attribute", "attributes", metavar="ATTR", multiple=True, help="Only this attribute; repeatable.")
@click.option("--only-review", is_flag=True, help="Only images with a prediction that waits for review.")
@click.option("--prefix", metavar="URL", help="Goes before the path of each image.  [default: /data/local-files/?d=]")
@click.option("--reviews", metavar="SOURCE", help="Also write what this source said, as annotations.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def export_command(
    options: Options,
    file: Path,
    attributes: tuple[str, ...],
    only_review: bool,
    prefix: str | None,
    reviews: str | None,
    as_json: bool,
) -> None:
    """Write tasks with predictions, to be imported into a project of Label Studio.

    The project needs the configuration that `label-studio config` prints.
    """
    from .tasks import LOCAL_FILES, TaskOptions, export_tasks

    with options.workspace() as workspace, Reporter() as reporter:
        prefix = LOCAL_FILES if prefix is None else prefix
        wanted = TaskOptions(attributes=attributes, only_review=only_review, prefix=prefix, reviews=reviews)
        tell = partial(reporter.count, f"{file}, tasks")
        summary = export_tasks(workspace, file, wanted, progress=tell)
    if as_json:
        print_json(summary)
    else:
        more = f", {summary.annotations} annotations" if reviews else ""
        say(f"{file}: {summary.tasks} tasks with {summary.predictions} predicted answers{more}")


@label_studio.command("config")
@click.option("--attribute", "attributes", metavar="ATTR", multiple=True, help="Only this attribute; repeatable.")
@click.pass_obj
def config_command(options: Options, attributes: tuple[str, ...]) -> None:
    """Print the labelling configuration of the declared attributes, in XML."""
    from .tasks import declared_attributes, labelling_config

    with options.workspace() as workspace:
        click.echo(labelling_config(declared_attributes(workspace, attributes)), nl=False)


@label_studio.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--source", metavar="NAME", default="review", show_default=True, help="Who says what annotators chose.")
@click.option(
    "--attribute",
    "attributes",
    metavar="ATTR",
    multiple=True,
    help="What the project asks; repeatable.  [the files']",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def import_command(
    options: Options, files: tuple[Path, ...], source: str, attributes: tuple[str, ...], as_json: bool
) -> None:
    """Store what annotators chose: exports of Label Studio in JSON or JSON-MIN.

    Each annotation keeps its annotator and its ids; see them with `history`. A review outranks all other sources.
    What was submitted without a choice says "none of them" of each multi-label attribute that the project asks.
    """
    from .reviews import import_reviews

    summaries = []
    with options.workspace() as workspace, Reporter() as reporter:
        for file in files:
            tell = partial(reporter.count, f"{file.name}, tasks")
            summaries.append(import_reviews(workspace, file, source=source, attributes=attributes, progress=tell))
    if as_json:
        print_json({"files": summaries})
    else:
        for summary in summaries:
            _tell(summary)
    options.held_back(any(summary.unknown_images for summary in summaries))


def _tell(summary: ReviewSummary, most: int = 10) -> None:
    who = ", ".join(f"{name or 'nobody named'} {count}" for name, count in summary.annotators.items())
    older = f", {summary.observations_older} older than what is known" if summary.observations_older else ""
    say(
        f"{summary.file}: {summary.annotations} annotations in {summary.tasks} tasks, {summary.skipped} skipped; "
        f"{summary.observations_new} new observations, {summary.observations_same} known already{older} "
        f"(source {summary.source}, revision {summary.revision})"
    )
    if who:
        say(f"  by {who}")
    for column, count in summary.undeclared.items():
        say(f"  {column}: {count} answers kept; no plugin declares it yet")
    for name, count in summary.without_choice.items():
        say(f"  {name}: none of them, in {count} annotations that were submitted without a choice")
    for control, count in summary.unread.items():
        say(f"  {control}: {count} answers that are no choices were not read")
    for unknown in summary.unknown_values:
        near = f"; the nearest is {unknown.nearest}" if unknown.nearest else ""
        say(f"  {unknown.attribute}: {unknown.text!r} is no known value ({unknown.count} answers kept){near}")
    for task in summary.unknown_images[:most]:
        say(f"  {task}: no such image in the catalogue; left out")
    if len(summary.unknown_images) > most:
        say(f"  and {len(summary.unknown_images) - most} more tasks of unknown images; see --json")
