"""history and forget: all that is kept of one product, and its deletion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .group import Options, cli, json_option, pass_options
from .output import minute, print_json, print_table, say

if TYPE_CHECKING:
    from ..labels.records import ObservationRecord, ProductHistory


@cli.command()
@click.argument("sku")
@json_option
@pass_options
def history(options: Options, sku: str, as_json: bool) -> None:
    """Show all that was said of a product, by whom and when, what it means today, and what was predicted."""
    with options.workspace() as workspace:
        found = workspace.history(sku)
    if as_json:
        print_json(found)
    else:
        _show_history(found)


def _show_history(found: ProductHistory) -> None:
    title = f"{found.sku}: {found.article_type or 'no article type'}, split {found.split}, {found.title or 'no title'}"
    say(title, always=True)
    if found.observations:
        _show_said("of the product, and so of all its pictures", found.observations)
    for kept in found.images:
        state = "" if kept.image.state == "ok" else f" (quarantined: {kept.image.reason})"
        _show_said(f"{kept.image.path}{state}", kept.observations)
        rows = []
        for name in sorted({*kept.annotations, *kept.predictions}):
            known, guess = kept.annotations.get(name), kept.predictions.get(name)
            nothing = "none of them" if known and known.state == "labelled" else ""
            said = (known.state, " | ".join(known.values) or nothing) if known else ("unknown", None)
            if guess:
                by = f"version {guess.version}, branch {guess.branch_id}"
                rows.append((name, *said, " | ".join(guess.values), guess.decision, by))
            else:
                rows.append((name, *said, None, None, None))
        if rows:
            print_table("today", ("attribute", "state", "values", "predicted", "decision", "by"), rows)


def _show_said(title: str, said: Sequence[ObservationRecord]) -> None:
    print_table(
        title,
        ("when", "revision", "source", "annotator", "attribute", "said"),
        [(minute(o.created_at), o.revision, o.source, o.annotator, o.attribute, o.raw or "(withdrawn)") for o in said],
    )


@cli.command()
@click.argument("skus", metavar="SKU...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_options
def forget(options: Options, skus: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Delete products for good: labels, predictions, and what the caches hold of their images.

    Image files and label files are yours and stay; ingesting them again brings the product back. What a branch learnt
    from it stays learnt until the branch is retrained.
    """
    with options.workspace() as workspace:
        if not yes:
            counts = [len(workspace.history(sku).images) for sku in skus]
            click.confirm(f"delete {len(skus)} products with {sum(counts)} images for good?", abort=True, err=True)
        gone = workspace.forget(skus)
    if as_json:
        print_json(gone)
    else:
        say(
            f"deleted {gone.products} products, {gone.images} images, {gone.observations} observations, "
            f"{gone.annotations} annotations, {gone.predictions} predictions, {gone.records} cached records"
        )
