"""mine and suggest: what titles and descriptions say, and what could be declared."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from .group import Options, cli, json_option, pass_options
from .output import Reporter, emit, print_table, say


@cli.command()
@click.option("--attribute", metavar="ATTR", multiple=True, help="Mine this attribute only; repeatable.")
@click.option("--dry-run", is_flag=True, help="Show what would be stored, with examples, and store nothing.")
@json_option
@pass_options
def mine(options: Options, attribute: tuple[str, ...], dry_run: bool, as_json: bool) -> None:
    """Read labels off titles and descriptions.

    A value is found by its spellings, unless it is negated or could mean something else. What is found is stored as
    said by the source "text": it fills gaps with a low weight, and what a label file or a reviewer says counts
    instead. Mining again stores only what changed, and withdraws what texts do not say any more.
    """
    from ..text.mine import mine as run

    with options.workspace() as workspace, Reporter() as reporter:
        summary = run(
            workspace.labels,
            workspace.declared.attributes,
            attribute or None,
            languages=workspace.settings.catalog.languages,
            dry_run=dry_run,
            progress=partial(reporter.count, "products"),
        )
    if as_json or not options.quiet:
        emit(summary, as_json, _show_mined)


def _show_mined(summary: dict[str, Any]) -> None:
    if not summary["attributes"]:
        say("no attribute is declared; install a plugin, or set auto_attributes under [catalog]")
        return
    print_table(
        f"found in the texts of {summary['products']} products",
        ("attribute", "products", "ambiguous", "values"),
        [
            (
                name,
                mined["products"],
                mined["ambiguous"],
                ", ".join(f"{key} {n}" for key, n in sorted(mined["values"].items(), key=lambda item: -item[1])),
            )
            for name, mined in summary["attributes"].items()
        ],
    )
    for name, mined in summary["attributes"].items():
        for example in mined["examples"] if summary["dry_run"] else ():
            text = " / ".join(filter(None, (example["title"], example["description"])))
            say(f"{name}: {example['raw']} ({example['sku']}: {text})")
    verb = "would be stored" if summary["dry_run"] else "stored"
    say(
        f"{summary['observations_new']} observations {verb}, {summary['observations_same']} known already, "
        f"{summary['withdrawn']} withdrawn"
    )


@cli.command()
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="Most suggestions of a kind.")
@json_option
@pass_options
def suggest(options: Options, limit: int, as_json: bool) -> None:
    """Propose what could be declared, and change nothing.

    Columns that no plugin declares, with values and their misspellings; phrases of titles and descriptions that no
    schema knows; cells of declared attributes that no value spells.
    """
    from ..text.suggest import suggest as run

    with options.workspace() as workspace:
        document = run(workspace.labels, workspace.declared.attributes, limit=limit)
    emit(document, as_json, _show_suggestions)


def _show_suggestions(document: dict[str, Any]) -> None:
    for column in document["columns"]:
        kind = "several values a cell" if column["multi"] else "one value a cell"
        where = ", ".join(column["article_types"]) or "all article types"
        print_table(
            f"column {column['column']}: {column['images']} cells, {kind}, {where}",
            ("value", "title", "cells", "synonyms"),
            [(v["key"], v["title"], v["count"], ", ".join(v["synonyms"])) for v in column["values"]],
        )
    if document["phrases"]:
        print_table(
            "phrases that no schema knows",
            ("phrase", "value of", "products", "unevenness", "article types"),
            [
                (p["text"], p["attribute"] or "?", p["products"], p["unevenness"], ", ".join(p["article_types"]))
                for p in document["phrases"]
            ],
        )
    if document["unreadable"]:
        print_table(
            "cells that no value spells",
            ("attribute", "text", "cells", "nearest"),
            [(u["attribute"], u["text"], u["count"], u["nearest"]) for u in document["unreadable"]],
        )
    if not any(document.values()):
        say("nothing to suggest")
