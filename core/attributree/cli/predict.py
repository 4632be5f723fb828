"""predict and evaluate: the live tree's answers and how good they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from ..jsonable import jsonable
from ..schema import SPLITS
from .group import Options, attributes_option, cli, json_option, pass_options
from .output import Reporter, emit, print_table, say


@cli.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1)
@click.option("--missing", is_flag=True, help="Predict and store every gap of the catalogue.")
@attributes_option
@click.option("--sheet", metavar="PNG", type=click.Path(path_type=Path), help="Also write a contact sheet to look at.")
@click.option("--article-type", metavar="T", help="Article type of the images, if the catalogue does not know them.")
@pass_options
def predict(
    options: Options,
    images: tuple[str, ...],
    missing: bool,
    attributes: tuple[str, ...],
    sheet: Path | None,
    article_type: str | None,
) -> None:
    """Print one JSON line per image and attribute; images are files or URLs."""
    if bool(images) == missing:
        raise click.UsageError("give image files or URLs, or --missing for the catalogue's gaps")
    if missing and article_type:
        raise click.UsageError(
            "--article-type is for images that are named; --missing takes the catalogue's article types"
        )
    decisions: Counter[str] = Counter()
    with options.workspace() as workspace, Reporter() as reporter:
        live = workspace.live(reporter)
        found = live.predict_missing(attributes) if missing else live.predict_files(images, attributes, article_type)
        shown = []
        for prediction in found:
            decisions[prediction.decision] += 1
            click.echo(json.dumps(jsonable(prediction), ensure_ascii=False))
            if sheet:
                shown.append(prediction)
        if sheet:
            from ..inference.sheet import write_sheet

            count = write_sheet(sheet, shown, live.files(shown), live.remote.file)
            reporter.line(f"{sheet}: {count} images with their predictions")
    if missing:
        said = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
        say(f"{decisions.total()} gaps: {said or 'none'}")
    options.held_back(bool(decisions["error"]))


@cli.command()
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which products.")
@attributes_option
@json_option
@pass_options
def evaluate(options: Options, split: str, attributes: tuple[str, ...], as_json: bool) -> None:
    """Score the live tree on held-out labels."""
    with options.workspace() as workspace, Reporter() as reporter:
        document = workspace.live(reporter).evaluate(split, attributes)
    emit(document, as_json, _show_scores)
    options.held_back(any("error" in scores for scores in document["attributes"].values()))


def _show_scores(document: dict[str, Any]) -> None:
    columns = ("n", "accuracy", "macro_f1", "ece", "coverage", "accepted_accuracy")
    print_table(
        f"tree version {document['version']} on the {document['split']} split",
        ("attribute", "n", "accuracy", "macro-F1", "ECE", "accepted", "right of accepted"),
        [(name, *(scores.get(key) for key in columns)) for name, scores in document["attributes"].items()],
    )
    for name, scores in document["attributes"].items():
        if "error" in scores:
            say(f"{name}: {scores['error']}", always=True)
