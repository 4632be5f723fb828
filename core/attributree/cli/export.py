"""export and label-studio: the catalogue as files, and reviews on their way back."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .group import Options, attributes_option, cli, json_option, pass_options
from .output import Reporter, print_json, say

if TYPE_CHECKING:
    from ..labels.records import ReviewSummary

#: Characters of a file that go to stdout at once.
_BLOCK = 1 << 20


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(("csv", "jsonl", "parquet")), help="Format.  [by FILE's suffix]")
@click.option("--attribute", "attributes", metavar="ATTR", multiple=True, help="Only this column; repeatable.")
@click.option("--images", metavar="ROOT", type=click.Path(path_type=Path), help="Only images below this images root.")
@click.option("--observations", is_flag=True, help="What each source said, verbatim, instead of what is known.")
@click.option("--predictions", is_flag=True, help="Add what was predicted for the gaps, in columns beside them.")
@click.option("--no-provenance", is_flag=True, help="Leave state, source, annotator and revision out.")
@json_option
@pass_options
def export(
    options: Options,
    file: Path,
    form: str | None,
    attributes: tuple[str, ...],
    images: Path | None,
    observations: bool,
    predictions: bool,
    no_provenance: bool,
    as_json: bool,
) -> None:
    """Write the catalogue as a label file that ingest reads back to the same: CSV, JSONL or Parquet.

    One row an image, and another for each source where sources disagree. FILE is - for stdout, with --format.
    """
    from ..labels.export import ExportOptions
    from ..labels.writers import format_of
    from ..registry.predictions import load as load_predictions

    if observations and predictions:
        raise click.UsageError("--predictions go beside what is known; leave --observations out")
    to_stdout = str(file) == "-"
    if to_stdout and form not in ("csv", "jsonl"):
        raise click.UsageError("stdout needs --format csv or --format jsonl")
    if to_stdout and as_json:
        raise click.UsageError("stdout holds either the file or --json")
    with (
        options.workspace() as workspace,
        Reporter() as reporter,
        tempfile.TemporaryDirectory() as folder,
    ):
        summary = workspace.labels.export(
            Path(folder) / "stdout" if to_stdout else file,
            form or format_of(file),
            ExportOptions(
                attributes=attributes,
                images=images,
                observations=observations,
                provenance=not no_provenance,
                predictions=load_predictions if predictions else None,
            ),
            progress=partial(reporter.count, f"{file}, images"),
        )
        if to_stdout:
            _copy_to_stdout(Path(folder) / "stdout")
    if as_json:
        print_json(summary)
    else:
        more = f", {summary.predicted} predictions" if predictions else ""
        say(f"{file}: {summary.images} images in {summary.rows} rows{more} (revision {summary.revision})")
        if summary.disputed:
            say(f"  {summary.disputed} images have a further row for each source that they are disputed between")
        if len(summary.roots) > 1:
            say(f"  the images lie under {len(summary.roots)} roots; ingest wants one: export each with --images ROOT")


def _copy_to_stdout(file: Path) -> None:
    """Write a text file to stdout: all was read before the first byte goes out, however slowly it is taken."""
    with file.open(encoding="utf-8", newline="") as opened:
        while block := opened.read(_BLOCK):
            click.echo(block, nl=False)


@cli.group("label-studio")
def label_studio() -> None:
    """Exchange tasks and reviews with Label Studio."""


@label_studio.command("export")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@attributes_option
@click.option("--only-review", is_flag=True, help="Only images with a prediction that waits for review.")
@click.option("--prefix", metavar="URL", help="Goes before the path of each image.  [default: /data/local-files/?d=]")
@click.option("--reviews", metavar="SOURCE", help="Also write what this source said, as annotations.")
@json_option
@pass_options
def export_tasks(
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
    from ..label_studio.tasks import LOCAL_FILES, TaskOptions
    from ..label_studio.tasks import export_tasks as write_tasks

    with options.workspace() as workspace, Reporter() as reporter:
        prefix = LOCAL_FILES if prefix is None else prefix
        wanted = TaskOptions(attributes=attributes, only_review=only_review, prefix=prefix, reviews=reviews)
        tell = partial(reporter.count, f"{file}, tasks")
        summary = write_tasks(workspace.catalog, file, wanted, progress=tell)
    if as_json:
        print_json(summary)
    elif not options.quiet:
        more = f", {summary.annotations} annotations" if reviews else ""
        say(f"{file}: {summary.tasks} tasks with {summary.predictions} predicted answers{more}")


@label_studio.command("config")
@attributes_option
@pass_options
def labelling_config(options: Options, attributes: tuple[str, ...]) -> None:
    """Print the labelling configuration of the declared attributes, in XML."""
    from ..label_studio.tasks import asked
    from ..label_studio.tasks import labelling_config as describe

    with options.workspace() as workspace:
        click.echo(describe(asked(workspace.catalog, attributes)), nl=False)


@label_studio.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--source", metavar="NAME", default="review", show_default=True, help="Who says what annotators chose.")
@json_option
@pass_options
def import_reviews(options: Options, files: tuple[Path, ...], source: str, as_json: bool) -> None:
    """Store what annotators chose: exports of Label Studio in JSON or JSON-MIN.

    Each annotation keeps its annotator and its ids; see them with `history`. A review outranks all other sources.
    """
    from ..label_studio.reviews import import_reviews as read_reviews

    summaries = []
    with options.workspace() as workspace, Reporter() as reporter:
        for file in files:
            tell = partial(reporter.count, f"{file.name}, tasks")
            summary = read_reviews(workspace.catalog, file, source=source, progress=tell)
            summaries.append(replace(summary, undeclared=workspace.only_undeclared(summary.undeclared)))
    if as_json:
        print_json({"files": summaries})
    elif not options.quiet:
        for summary in summaries:
            _show_reviews(summary)
    options.held_back(any(summary.unknown_images for summary in summaries))


def _show_reviews(summary: ReviewSummary, most: int = 10) -> None:
    who = ", ".join(f"{name or 'nobody named'} {count}" for name, count in summary.annotators.items())
    say(
        f"{summary.file}: {summary.annotations} annotations in {summary.tasks} tasks, {summary.skipped} skipped; "
        f"{summary.observations_new} new observations, {summary.observations_same} known already "
        f"(source {summary.source}, revision {summary.revision})"
    )
    if who:
        say(f"  by {who}")
    for column, count in summary.undeclared.items():
        say(f"  {column}: {count} answers kept; no plugin declares it yet")
    for unknown in summary.unknown_values:
        near = f"; the nearest is {unknown.nearest}" if unknown.nearest else ""
        say(f"  {unknown.attribute}: {unknown.text!r} is no known value ({unknown.count} answers kept){near}")
    for task in summary.unknown_images[:most]:
        say(f"  {task}: no such image in the catalogue; left out")
    if len(summary.unknown_images) > most:
        say(f"  and {len(summary.unknown_images) - most} more tasks of unknown images; see --json")
