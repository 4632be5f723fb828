"""export: the catalogue as files."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import click

from .group import Options, cli, json_option, pass_options
from .output import Reporter, print_json, say

#: Characters of a file that go to stdout at once.
_BLOCK = 1 << 20


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(("csv", "jsonl", "parquet")), help="Format.  [by FILE's suffix]")
@click.option("--attribute", "attributes", metavar="ATTR", multiple=True, help="Only this column; repeatable.")
@click.option(
    "--images", metavar="ROOT", type=click.Path(path_type=Path), help="Only images below this images root, and URLs."
)
@click.option("--observations", is_flag=True, help="What each source said, verbatim, instead of what is known.")
@click.option("--predictions", is_flag=True, help="Add what was predicted for the gaps, in columns beside them.")
@click.option("--by-product", is_flag=True, help="One row a product: what is known of it from all its pictures.")
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
    by_product: bool,
    no_provenance: bool,
    as_json: bool,
) -> None:
    """Write the catalogue as a label file that ingest reads back to the same: CSV, JSONL or Parquet.

    One row an image, and another for each source where sources disagree; what was said of a product that no image shows
    has a row without one. FILE is - for stdout, with --format.
    """
    from ..labels.export import ExportOptions
    from ..labels.writers import format_of
    from ..registry.predictions import load as load_predictions
    from ..registry.predictions import load_products

    if observations and predictions:
        raise click.UsageError("--predictions go beside what is known; leave --observations out")
    if by_product and (observations or images):
        raise click.UsageError("--by-product is what is known of whole products; leave --observations and --images out")
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
                predictions=load_predictions if predictions and not by_product else None,
                by_product=by_product,
                product_predictions=load_products if predictions and by_product else None,
            ),
            progress=partial(reporter.count, f"{file}, {'products' if by_product else 'images'}"),
        )
        if to_stdout:
            _copy_to_stdout(Path(folder) / "stdout")
    if as_json:
        print_json(summary)
    else:
        more = f", {summary.predicted} predictions" if predictions else ""
        count = f"{summary.products} products" if by_product else f"{summary.images} images"
        say(f"{file}: {count} in {summary.rows} rows{more} (revision {summary.revision})")
        if summary.disputed and by_product:
            say(f"  {summary.disputed} products have a further row for what counts less than a label")
        elif summary.disputed:
            say(f"  {summary.disputed} images have a further row for each source that they are disputed between")
        if len(summary.roots) > 1:
            say(f"  the images lie under {len(summary.roots)} roots; ingest wants one: export each with --images ROOT")


def _copy_to_stdout(file: Path) -> None:
    """Write a text file to stdout: all was read before the first byte goes out, however slowly it is taken."""
    with file.open(encoding="utf-8", newline="") as opened:
        while block := opened.read(_BLOCK):
            click.echo(block, nl=False)
