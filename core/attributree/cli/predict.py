"""predict and evaluate: the live tree's answers and how good they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click

from ..schema import SPLITS
from . import Globals, cli, pass_globals
from .output import Reporter, print_json, print_table, say


@cli.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--missing", is_flag=True, help="Predict and store every gap of the catalogue.")
@click.option("--attribute", "attributes", metavar="ATTR", multiple=True, help="Only this attribute; repeatable.")
@click.option("--sheet", metavar="PNG", type=click.Path(path_type=Path), help="Also write a contact sheet to look at.")
@click.option("--article-type", metavar="T", help="Article type of the images, if the catalogue does not know them.")
@pass_globals
def predict(
    options: Globals,
    images: tuple[Path, ...],
    missing: bool,
    attributes: tuple[str, ...],
    sheet: Path | None,
    article_type: str | None,
) -> None:
    """Print one JSON line per image and attribute."""
    if bool(images) == missing:
        raise click.UsageError("give image files, or --missing for the catalogue's gaps")
    if missing and article_type:
        raise click.UsageError("--article-type is for image files; --missing takes the catalogue's article types")
    decisions: Counter[str] = Counter()
    with options.workspace() as workspace, Reporter(quiet=options.quiet) as reporter:
        live = workspace.live(reporter)
        found = live.predict_missing(attributes) if missing else live.predict_files(images, attributes, article_type)
        shown = []
        for prediction in found:
            decisions[prediction.decision] += 1
            click.echo(json.dumps(prediction.to_json(), ensure_ascii=False))
            if sheet:
                shown.append(prediction)
        if sheet:
            from ..inference.sheet import write_sheet

            count = write_sheet(sheet, shown, live.files(shown))
            reporter.line(f"{sheet}: {count} images with their predictions")
    if missing and not options.quiet:
        said = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
        say(f"{decisions.total()} gaps: {said or 'none'}")
    options.held_back(bool(decisions["error"]))


@cli.command()
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which products.")
@click.option("--attribute", "attributes", metavar="ATTR", multiple=True, help="Only this attribute; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@pass_globals
def evaluate(options: Globals, split: str, attributes: tuple[str, ...], as_json: bool) -> None:
    """Score the live tree on held-out labels."""
    with options.workspace() as workspace, Reporter(quiet=options.quiet) as reporter:
        document = workspace.live(reporter).evaluate(split, attributes)
    unanswered = any("error" in scores for scores in document["attributes"].values())
    if as_json:
        print_json(document)
        options.held_back(unanswered)
        return
    columns = ("n", "accuracy", "macro_f1", "ece", "coverage", "accepted_accuracy")
    print_table(
        f"tree version {document['version']} on the {split} split",
        ("attribute", "n", "accuracy", "macro-F1", "ECE", "accepted", "right of accepted"),
        [(name, *(scores.get(key) for key in columns)) for name, scores in document["attributes"].items()],
    )
    for name, scores in document["attributes"].items():
        if "error" in scores:
            say(f"{name}: {scores['error']}")
    options.held_back(unanswered)
