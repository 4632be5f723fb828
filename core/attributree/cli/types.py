"""types: what the shop calls its products, and what attributes make of that."""

from __future__ import annotations

from typing import Any

from .group import Options, cli, json_option, pass_options
from .output import emit, print_table, say

#: Unmapped types for which a line of plugins.toml is written.
_LINES = 20


@cli.command()
@json_option
@pass_options
def types(options: Options, as_json: bool) -> None:
    """Show the shop's article types: what they are, by which rule, and what is asked of them.

    A type is found by the shop's own table, [article_types] in plugins.toml, by the words that plugins know, or by its
    own name, whatever its case, plural, blanks and path. Of an unmapped one it is not known what to ask: images without
    a label stay unknown there, and are not predicted with the others.
    """
    with options.workspace() as workspace:
        document = {
            "types": workspace.types(),
            "without_type": workspace.labels.product_counts().get("", 0),
            "conflicts": workspace.article_types.conflicts(),
            "applied_to": sorted({word for a in workspace.declared.attributes.values() for word in a.applies_to}),
        }
    emit(document, as_json, _show_types)


def _show_types(document: dict[str, Any]) -> None:
    unmapped = [one for one in document["types"] if one["canonical"] is None]
    products = sum(one["products"] for one in document["types"])
    print_table(
        f"{len(document['types'])} article types of {products} products; {len(unmapped)} unmapped",
        ("article type", "products", "is a", "by", "labels", "attributes asked"),
        [
            (
                one["article_type"],
                one["products"],
                " < ".join((one["canonical"], *one["above"])) if one["canonical"] else "?",
                one["by"] or one["rule"],
                one["stated_labels"],
                ", ".join(one["attributes"]) or "none",
            )
            for one in document["types"]
        ],
    )
    if document["without_type"]:
        say(f"{document['without_type']} products have no article type: every attribute is asked of them")
    for conflict in document["conflicts"]:
        say(f"plugins disagree: {conflict}")
    if unmapped:
        _show_unmapped(unmapped, document["applied_to"])


def _show_unmapped(unmapped: list[dict[str, Any]], applied_to: list[str]) -> None:
    """Write what to put into plugins.toml."""
    say("unmapped types: a plugin may know such words, or write each under the type that it is, in plugins.toml:")
    say("  [article_types]")
    for one in unmapped[:_LINES]:
        line = one["setting"] or f"# ? = [{one['article_type']!r}]"
        products = f"{one['products']} product{'' if one['products'] == 1 else 's'}"
        say(f"  {line}  # {products}, {one['stated_labels']} labels stated")
    if len(unmapped) > _LINES:
        say(f"  # and {len(unmapped) - _LINES} more; see attributree types --json")
    say(f"attributes apply to: {', '.join(applied_to) or 'everything'}; write these, or types below them")
