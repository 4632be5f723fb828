"""predict and evaluate: the live tree's answers and how good they are."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ImageError
from ..jsonable import jsonable, printable
from ..schema import SPLITS
from .group import Options, attributes_option, cli, json_option, pass_options
from .output import Reporter, emit, print_table, say

if TYPE_CHECKING:
    from ..inference.predict import Prediction


@cli.command()
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--missing", is_flag=True, help="Predict and store every gap of the catalogue.")
@attributes_option
@click.option("--sheet", metavar="PNG", type=click.Path(path_type=Path), help="Also write a contact sheet to look at.")
@click.option("--article-type", metavar="T", help="Article type of the images, if the catalogue does not know them.")
@pass_options
def predict(
    options: Options,
    images: tuple[Path, ...],
    missing: bool,
    attributes: tuple[str, ...],
    sheet: Path | None,
    article_type: str | None,
) -> None:
    """Print one JSON line per image and attribute.

    One that cannot be answered has the decision "error" and a reason; if none can be, the exit code is 1.
    """
    if bool(images) == missing:
        raise click.UsageError("give image files, or --missing for the catalogue's gaps")
    if missing and article_type:
        raise click.UsageError("--article-type is for image files; --missing takes the catalogue's article types")
    decisions: Counter[str] = Counter()
    first: Prediction | None = None
    with options.workspace() as workspace, Reporter() as reporter:
        live = workspace.live(reporter)
        found = live.predict_missing(attributes) if missing else live.predict_files(images, attributes, article_type)
        shown = []
        for prediction in found:
            first = first or prediction
            decisions[prediction.decision] += 1
            click.echo(json.dumps(jsonable(prediction), ensure_ascii=False))
            if sheet:
                shown.append(prediction)
        if sheet:
            from ..inference.sheet import write_sheet

            count = write_sheet(sheet, shown, live.files(shown))
            reporter.line(f"{sheet}: {count} images with their predictions")
        asked = live.names(attributes)
        left = [one for one in workspace.unmapped_types() if not set(asked) <= set(one.attributes)] if missing else []
    if missing:
        said = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
        say(f"{decisions.total()} gaps: {said or 'none'}")
    if left:
        products = sum(one.products for one in left)
        say(
            f"left out, but for what is stated there: {products} product{'' if products == 1 else 's'} of {len(left)} "
            f"unmapped article type{'' if len(left) == 1 else 's'}; see attributree types"
        )
    if first is not None and decisions.keys() == {first.decision} == {"error"}:
        raise ImageError(f"nothing could be answered; {printable(first.image)}: {first.reason}")
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
