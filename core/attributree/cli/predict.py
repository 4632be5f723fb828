"""predict and evaluate: the live tree's answers and how good they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import ImageError
from ..jsonable import jsonable, printable
from ..schema import SPLITS
from .group import Options, attributes_option, cli, json_option, pass_options
from .output import Reporter, emit, print_table, say

if TYPE_CHECKING:
    from ..inference.live import LiveTree
    from ..inference.predict import Prediction


@cli.command()
@click.argument("images", metavar="[IMAGE|URL|SKU]...", nargs=-1)
@click.option("--missing", is_flag=True, help="Predict and store every gap of the catalogue.")
@click.option("--by-product", is_flag=True, help="One line a product and attribute, pooled over its pictures.")
@attributes_option
@click.option("--sheet", metavar="PNG", type=click.Path(path_type=Path), help="Also write a contact sheet to look at.")
@click.option("--article-type", metavar="T", help="Article type of the images, if the catalogue does not know them.")
@pass_options
def predict(
    options: Options,
    images: tuple[str, ...],
    missing: bool,
    by_product: bool,
    attributes: tuple[str, ...],
    sheet: Path | None,
    article_type: str | None,
) -> None:
    """Print one JSON line per image and attribute; images are files or URLs.

    One that cannot be answered has the decision "error" and a reason; if none can be, the exit code is 1.

    With --by-product what is named are products of the catalogue, by SKU, and --missing fills the gaps of products.
    """
    if bool(images) == missing:
        what = "SKUs" if by_product else "image files or URLs"
        raise click.UsageError(f"give {what}, or --missing for the catalogue's gaps")
    if (missing or by_product) and article_type:
        raise click.UsageError("--article-type is for images that are named; what is in the catalogue has its own")
    if by_product and sheet:
        raise click.UsageError("--sheet shows images; leave --by-product out")
    decisions: Counter[str] = Counter()
    first: Prediction | None = None
    with options.workspace() as workspace, Reporter() as reporter:
        live = workspace.live(reporter)
        shown = []
        for prediction in _predictions(live, images, missing, by_product, attributes, article_type):
            first = first or prediction
            decisions[prediction.decision] += 1
            click.echo(json.dumps(jsonable(prediction), ensure_ascii=False))
            if sheet:
                shown.append(prediction)
        if sheet:
            from ..inference.sheet import write_sheet

            count = write_sheet(sheet, shown, live.files(shown), live.remote.file)
            reporter.line(f"{sheet}: {count} images with their predictions")
        asked = live.names(attributes)
        left = [one for one in workspace.unmapped_types() if not set(asked) <= set(one.attributes)] if missing else []
    if missing:
        said = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
        say(f"{decisions.total()} gaps{' of products' if by_product else ''}: {said or 'none'}")
    if left:
        products = sum(one.products for one in left)
        say(
            f"left out, but for what is stated there: {products} product{'' if products == 1 else 's'} of {len(left)} "
            f"unmapped article type{'' if len(left) == 1 else 's'}; see attributree types"
        )
    if first is not None and decisions.keys() == {first.decision} == {"error"}:
        raise ImageError(f"nothing could be answered; {printable(first.image or str(first.sku))}: {first.reason}")
    options.held_back(bool(decisions["error"]))


def _predictions(
    live: LiveTree,
    named: tuple[str, ...],
    missing: bool,
    by_product: bool,
    attributes: tuple[str, ...],
    article_type: str | None,
) -> Iterable[Any]:
    if by_product:
        from ..inference.products import predict_missing_products, predict_products

        return predict_missing_products(live, attributes) if missing else predict_products(live, named, attributes)
    return live.predict_missing(attributes) if missing else live.predict_files(named, attributes, article_type)


@cli.command()
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Which products.")
@click.option("--by-product", is_flag=True, help="Also score what the pictures of each product say together.")
@attributes_option
@json_option
@pass_options
def evaluate(options: Options, split: str, by_product: bool, attributes: tuple[str, ...], as_json: bool) -> None:
    """Score the live tree on held-out labels."""
    with options.workspace() as workspace, Reporter() as reporter:
        live = workspace.live(reporter)
        document = live.evaluate(split, attributes)
        if by_product:
            from ..inference.products import evaluate_products

            document["products"] = evaluate_products(live, split, attributes)
    emit(document, as_json, _show_scores)
    options.held_back(any("error" in scores for scores in document["attributes"].values()))


def _show_scores(document: dict[str, Any]) -> None:
    columns = {"n": "n", "accuracy": "accuracy", "macro_f1": "macro-F1", "ece": "ECE", "coverage": "accepted"}
    columns |= {"accepted_accuracy": "right of accepted"}
    title = f"tree version {document['version']} on the {document['split']} split"
    _show_table(f"{title}, by picture" if "products" in document else title, columns, document["attributes"])
    if "products" in document:
        _show_table(f"{title}, by product", columns | {"pictures": "pictures each"}, document["products"])
    for name, scores in document["attributes"].items():
        if "error" in scores:
            say(f"{name}: {scores['error']}", always=True)


def _show_table(title: str, columns: dict[str, str], scored: dict[str, Any]) -> None:
    rows = [(name, *(scores.get(key) for key in columns)) for name, scores in scored.items()]
    print_table(title, ("attribute", *columns.values()), rows)
